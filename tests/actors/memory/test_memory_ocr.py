"""Main memory of an OCR actor: its pages, those of files that wait for their turn included."""

from __future__ import annotations

from actors.config.ocr import OcrModel, PageLimits
from actors.memory import OPEN_FILES, OcrNetworkFiles, ocr_main_memory, wave_pixels
from actors.memory.ocr import _HELD

FILES = OcrNetworkFiles(10_000_000, 20_000_000)


def _model(megapixels: float = 60.0, memory_mb: float = 2000.0) -> OcrModel:
    limits = PageLimits(max_megapixels=megapixels, page_memory_mb=memory_mb)
    return OcrModel(name="scans", kind="ocr", pages=limits)


def test_every_open_file_has_a_page_and_a_process() -> None:
    parts = ocr_main_memory(FILES, _model(), 1, on_gpu=True)
    assert set(parts) == {"decoding", "pages"}
    page = 60_000_000
    held = parts["decoding"] - 2_000_000_000
    assert held >= (OPEN_FILES - 1) * _HELD * page
    assert parts["pages"] >= 3 * (OPEN_FILES * page + wave_pixels(1, on_gpu=True))


def test_lower_limits_lower_it() -> None:
    full = ocr_main_memory(FILES, _model(), 4, on_gpu=False)
    small = ocr_main_memory(FILES, _model(12, 500), 4, on_gpu=False)
    assert small["decoding"] < full["decoding"] / 3
    assert small["pages"] < full["pages"] / 2
    assert small["networks"] == full["networks"]


def test_each_worker_has_a_page_and_activations_of_its_own() -> None:
    one, four = (ocr_main_memory(FILES, _model(4), n, on_gpu=False) for n in (1, 4))
    assert four["pages"] > 2 * one["pages"]
    assert four["networks"] > 3 * one["networks"]
    assert four["decoding"] == one["decoding"]
