"""What a reader of pictures (kind ocr) takes of a card: two networks that see pages and lines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from actors.config.ocr import OcrModel
from actors.memory.fraction import fits, largest, refusal
from actors.memory.need import CUDA_CONTEXT, Need

# The most that onnxruntime's arena took for the networks that rapidocr brings (PP-OCRv6 small),
# over the layouts that it computes in. A pixel of a page, whatever its size: 212 bytes in blocks of
# 16 channels (AVX-512), 160 in blocks of 8 (AVX2), 156 without blocks, as on a card. A column of a
# line 48 pixels high: 29,500 in blocks of 16, 31,400 without; and 10 MB beside them. So the
# estimate holds on any processor and depends on none. Others of the family are taken for these.
_PAGE_PIXEL, _LINE_COLUMN, _BESIDE_LINES = 213, 31_400, 10_200_000
_GRID = 32  # a page's sides are rounded to it
# cuDNN's room to compute in, for each network: its own bound where the search for the fastest
# convolution is not given all that is left of the card.
_WORKSPACE = 32 * 2**20


@dataclass(frozen=True, slots=True)
class OcrFiles:
    """Bytes of the two networks' files."""

    detector: int
    recognizer: int


def read_ocr(detector: Path, recognizer: Path) -> OcrFiles:
    """The sizes of the files; raises FileNotFoundError where one is missing."""
    return OcrFiles(detector.stat().st_size, recognizer.stat().st_size)


def ocr_parts(files: OcrFiles, model: OcrModel) -> tuple[int, int]:
    """Bytes that each network takes: its weights, what its largest input makes (a square page of
    ``max_side``, lines of ``batch_pixels``), and cuDNN's workspace."""
    page = _PAGE_PIXEL * (model.detection.max_side + _GRID) ** 2
    lines = _LINE_COLUMN * model.batch_pixels + _BESIDE_LINES
    return files.detector + page + _WORKSPACE, files.recognizer + lines + _WORKSPACE


def ocr_need(files: OcrFiles, model: OcrModel) -> Need:
    """What a reader needs. A single line longer than ``batch_pixels`` takes more; where the share
    has no room for it, its page fails."""
    detector, recognizer = ocr_parts(files, model)
    parts = {"pages": detector, "lines": recognizer, "CUDA context": CUDA_CONTEXT}
    return Need(parts, 2 * (files.detector + files.recognizer), exact=False)


def check_ocr(files: OcrFiles, model: OcrModel, share: float, card: int) -> None:
    """Raise ConfigError, with the numbers and with what would fit, where the share is too small."""
    need, room = ocr_need(files, model), share * card
    if fits(need, room):
        return

    def side(blocks: int) -> bool:
        detection = model.detection.model_copy(update={"max_side": blocks * _GRID})
        return fits(ocr_need(files, model.model_copy(update={"detection": detection})), room)

    ways = []
    if blocks := largest(320 // _GRID, model.detection.max_side // _GRID, side):
        ways.append(f"detection.max_side: {blocks * _GRID} (small print may be missed)")
    raise refusal(model.name, need, share, card, ways)
