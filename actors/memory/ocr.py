"""Memory estimate of an OCR model: two networks, for pages (detection) and lines (recognition)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from actors.config.ocr import OcrModel
from actors.memory.estimate import CUDA_CONTEXT, MemoryEstimate
from actors.memory.fraction import fits, largest, refusal

# Peak of onnxruntime's arena for the networks that rapidocr ships (PP-OCRv6 small), over the memory
# layouts that it uses. Per pixel of a page, whatever its size: 212 bytes in blocks of 16 channels
# (AVX-512), 160 in blocks of 8 (AVX2), 156 without blocks, as on a GPU. Per column of a line 48
# pixels high: 29,500 in blocks of 16, 31,400 without; plus 10 MB. So the estimate holds on every
# processor and depends on none. Other models of the family are assumed to be alike.
_PAGE_PIXEL, _LINE_COLUMN, _BESIDE_LINES = 213, 31_400, 10_200_000
_GRID = 32  # page sides are rounded up to a multiple
# cuDNN's workspace per network: its own limit if the search for the fastest convolution is not
# given all remaining GPU memory.
_WORKSPACE = 32 * 2**20


@dataclass(frozen=True, slots=True)
class OcrNetworkFiles:
    """Bytes of the two networks' files."""

    detector: int
    recognizer: int


def read_ocr(detector: Path, recognizer: Path) -> OcrNetworkFiles:
    """Read the file sizes; raises FileNotFoundError if one is missing."""
    return OcrNetworkFiles(detector.stat().st_size, recognizer.stat().st_size)


def ocr_parts(files: OcrNetworkFiles, model: OcrModel) -> tuple[int, int]:
    """Bytes of each network: its weights, the activations of its largest input (a square page of
    ``max_side``, lines of ``batch_pixels``), and cuDNN's workspace."""
    page = _PAGE_PIXEL * (model.detection.max_side + _GRID) ** 2
    lines = _LINE_COLUMN * model.batch_pixels + _BESIDE_LINES
    return files.detector + page + _WORKSPACE, files.recognizer + lines + _WORKSPACE


def estimate_ocr(files: OcrNetworkFiles, model: OcrModel) -> MemoryEstimate:
    """Estimate the memory of an OCR model. A single line longer than ``batch_pixels`` needs more;
    if it does not fit in the share, its page fails."""
    detector, recognizer = ocr_parts(files, model)
    parts = {"pages": detector, "lines": recognizer, "CUDA context": CUDA_CONTEXT}
    return MemoryEstimate(parts, 2 * (files.detector + files.recognizer), exact=False)


def check_ocr(files: OcrNetworkFiles, model: OcrModel, share: float, gpu_total: int) -> None:
    """Raise ConfigError, with the numbers and what would fit, if the share is too small."""
    need, budget = estimate_ocr(files, model), share * gpu_total
    if fits(need, budget):
        return

    def side(blocks: int) -> bool:
        detection = model.detection.model_copy(update={"max_side": blocks * _GRID})
        return fits(estimate_ocr(files, model.model_copy(update={"detection": detection})), budget)

    ways = []
    if blocks := largest(320 // _GRID, model.detection.max_side // _GRID, side):
        ways.append(f"detection.max_side: {blocks * _GRID} (small print may be missed)")
    raise refusal(model.name, need, share, gpu_total, ways)
