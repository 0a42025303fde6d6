"""Memory estimate of an OCR model: two networks, for pages (detection) and lines (recognition), and
the pages themselves, which are in main memory."""

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

OPEN_FILES = 3
"""Files that a reader decodes in turns: each has a decoding process and may have a page waiting."""
_MOST_WORKERS = 4
_WAVE_PIXELS = 64_000_000  # bounds the decoded pixels: large pages make smaller waves
# A page that has just come waits for the wave before it. Pages of a worker, at 150 dpi.
_WORKER_PIXELS = 2_000_000
# Bytes for a pixel of a page, measured on pages of 12 megapixels. A decoding process peaks at 26
# (WebP), which the limit bounds; between two pages of its file it has 2 to 16, and may not have
# given the rest back. A page that is read: its picture, that turned upright, and the search for
# boxes of forms.
_HELD, _PICTURE, _READ = 26, 3, 3 + 3 + 17
_PROCESS = 85_000_000  # bytes of a decoding process with its libraries


@dataclass(frozen=True, slots=True)
class OcrNetworkFiles:
    """Bytes of the two networks' files."""

    detector: int
    recognizer: int


def reading_workers(threads: int, on_gpu: bool) -> int:
    """Return the number of threads that read pages or lines. On CPUs several with few threads each:
    boxes and letters are decoded in Python, and meanwhile another one uses the CPUs."""
    return 1 if on_gpu else min(threads, _MOST_WORKERS)


def wave_pixels(workers: int, on_gpu: bool) -> int:
    """Return the pixels of pages that are enough to be read together; the last page of a wave may
    go beyond."""
    # A wave on CPUs has a page for each worker, of large pages fewer.
    share = _WORKER_PIXELS * workers * (2 if workers > 1 else 1)
    return _WAVE_PIXELS if on_gpu else min(_WAVE_PIXELS, share)


def read_ocr(detector: Path, recognizer: Path) -> OcrNetworkFiles:
    """Read the file sizes; raises FileNotFoundError if one is missing."""
    return OcrNetworkFiles(detector.stat().st_size, recognizer.stat().st_size)


def ocr_main_memory(
    files: OcrNetworkFiles, model: OcrModel, threads: int, on_gpu: bool
) -> dict[str, int]:
    """Return the most bytes of main memory that an actor and its decoding processes take, by
    purpose: pages as large as the limits allow in as many files as it reads at once, beside the
    files themselves. ``networks``: only where they are not on a GPU."""
    workers = reading_workers(threads, on_gpu)
    page = int(model.pages.max_megapixels * 1e6)
    decoding = int(model.pages.page_memory_mb * 1e6)  # one at a time; the others hold their page
    held = (OPEN_FILES - 1) * min(decoding, _HELD * page)
    wave = wave_pixels(workers, on_gpu) + page
    parts = {
        "decoding": decoding + held + OPEN_FILES * _PROCESS,
        "pages": _PICTURE * (OPEN_FILES * page + wave)
        + (_READ - _PICTURE) * min(wave, workers * page),
    }
    if not on_gpu:
        activations = sum(ocr_parts(files, model)) - files.detector - files.recognizer
        parts["networks"] = files.detector + files.recognizer + workers * activations
    return parts


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
