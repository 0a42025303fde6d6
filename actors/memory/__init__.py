"""Estimate the memory that a model needs on a device, from its file alone. Nothing is loaded."""

from __future__ import annotations

from actors.memory.choose import is_open, settled_gguf, usual_gguf
from actors.memory.cuda import onnx_cuda_problem
from actors.memory.device import (
    card_memory,
    card_used,
    cores,
    main_memory_used,
    memory_held,
    taken_since,
)
from actors.memory.fraction import (
    card_bytes,
    check_gguf,
    check_onnx,
    filled_gguf,
    filled_onnx,
    fraction_for,
)
from actors.memory.header import GgufFacts, Header, facts, open_header, read_header
from actors.memory.llama import LlamaTake, llama_take
from actors.memory.need import (
    CUDA_CONTEXT,
    GgufFile,
    Need,
    OnnxFile,
    gguf_need,
    onnx_need,
    read_gguf,
    read_gliner,
    read_onnx,
)
from actors.memory.pictures import EncoderTake, encoder_take, largest_picture
from actors.memory.readers import OcrFiles, check_ocr, ocr_need, ocr_parts, read_ocr
from actors.memory.shape import output_rows

__all__ = [
    "CUDA_CONTEXT",
    "EncoderTake",
    "GgufFacts",
    "GgufFile",
    "Header",
    "LlamaTake",
    "Need",
    "OcrFiles",
    "OnnxFile",
    "card_bytes",
    "card_memory",
    "card_used",
    "check_gguf",
    "check_ocr",
    "check_onnx",
    "cores",
    "encoder_take",
    "facts",
    "filled_gguf",
    "filled_onnx",
    "fraction_for",
    "gguf_need",
    "is_open",
    "largest_picture",
    "llama_take",
    "main_memory_used",
    "memory_held",
    "ocr_need",
    "ocr_parts",
    "onnx_cuda_problem",
    "onnx_need",
    "open_header",
    "output_rows",
    "read_gguf",
    "read_gliner",
    "read_header",
    "read_ocr",
    "read_onnx",
    "settled_gguf",
    "taken_since",
    "usual_gguf",
]
