"""Estimate the memory that a model needs on a device, from its file alone. Nothing is loaded."""

from __future__ import annotations

from actors.memory.auto_context import has_auto_context, resolve_gguf_context, with_default_context
from actors.memory.cuda import onnx_cuda_problem
from actors.memory.device import (
    cores,
    gpu_memory,
    gpu_memory_used,
    main_memory_used,
    memory_by_place,
    memory_growth,
)
from actors.memory.encoder import encoder_main_memory
from actors.memory.estimate import (
    CUDA_CONTEXT,
    GgufFile,
    MemoryEstimate,
    OnnxFile,
    estimate_gguf,
    estimate_onnx,
    read_gguf,
    read_gliner,
    read_onnx,
)
from actors.memory.fraction import (
    check_gguf,
    check_onnx,
    fill_gguf,
    fill_onnx,
    fraction_for,
    parse_gpu,
)
from actors.memory.header import GgufFacts, Header, gguf_facts, open_header, read_header
from actors.memory.image_encoder import EncoderMemory, encoder_memory, largest_picture
from actors.memory.llama import LlamaMemory, llama_memory
from actors.memory.ocr import (
    OPEN_FILES,
    OcrNetworkFiles,
    check_ocr,
    estimate_ocr,
    ocr_main_memory,
    ocr_parts,
    read_ocr,
    reading_workers,
    wave_pixels,
)
from actors.memory.shape import output_rows

__all__ = [
    "CUDA_CONTEXT",
    "OPEN_FILES",
    "EncoderMemory",
    "GgufFacts",
    "GgufFile",
    "Header",
    "LlamaMemory",
    "MemoryEstimate",
    "OcrNetworkFiles",
    "OnnxFile",
    "check_gguf",
    "check_ocr",
    "check_onnx",
    "cores",
    "encoder_main_memory",
    "encoder_memory",
    "estimate_gguf",
    "estimate_ocr",
    "estimate_onnx",
    "fill_gguf",
    "fill_onnx",
    "fraction_for",
    "gguf_facts",
    "gpu_memory",
    "gpu_memory_used",
    "has_auto_context",
    "largest_picture",
    "llama_memory",
    "main_memory_used",
    "memory_by_place",
    "memory_growth",
    "ocr_main_memory",
    "ocr_parts",
    "onnx_cuda_problem",
    "open_header",
    "output_rows",
    "parse_gpu",
    "read_gguf",
    "read_gliner",
    "read_header",
    "read_ocr",
    "read_onnx",
    "reading_workers",
    "resolve_gguf_context",
    "wave_pixels",
    "with_default_context",
]
