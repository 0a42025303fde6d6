"""The configuration of a reader of pictures (kind ocr)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, TypeAdapter

from actors.config.base import Section, Weights
from actors.config.load import read_yaml, resolve, starter_file, validate


class PageLimits(Section):
    """What a file may ask for before it is refused as a failed row."""

    dpi: int = Field(
        200,
        ge=36,
        le=600,
        description="Resolution at which PDF pages without text are rendered; "
        "boxes on PDF pages are in its pixels.",
    )
    text_layer: bool = Field(
        True,
        description="Take a PDF page's own text where it has one; false: read every page by "
        "looking at it, for archives whose text layers are bad.",
    )
    max_pages: int = Field(
        500, ge=1, description="A file with more pages or frames fails before any is read."
    )
    max_megapixels: float = Field(
        60.0,
        gt=0,
        description="A picture with more fails before it is decoded; a PDF page is "
        "rendered coarser instead.",
    )
    page_seconds: float = Field(
        10.0,
        gt=0,
        description="A file fails (TooSlow) when decoding or rendering one of its pages takes more "
        "CPU seconds; by the clock it may take six times as long.",
    )
    page_memory_mb: float = Field(
        2000.0,
        ge=100,
        description="A file fails (TooLarge) when decoding or rendering one of its pages takes "
        "more memory; 60 megapixels take up to 1,500. Watched on Linux only.",
    )


class Detection(Section):
    """How lines of text are found on a page."""

    min_side: int = Field(736, ge=32, description="A page with a shorter side is enlarged to it.")
    max_side: int = Field(
        2000,
        ge=320,
        description="A page with a longer side is reduced to it; "
        "lines are read at the page's own resolution all the same.",
    )
    threshold: float = Field(0.5, gt=0, lt=1, description="Least score of a line's place.")


class OcrModel(Section):
    """A model file of kind ocr: PP-OCR detection and recognition, as rapidocr ships them."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    kind: Literal["ocr"]
    weights: Weights | None = Field(
        None,
        description="A folder with detector.onnx and recognizer.onnx; without it the models "
        "in the rapidocr package are used.",
    )
    pages: PageLimits = PageLimits()
    detection: Detection = Detection()
    min_confidence: float = Field(
        0.5, ge=0, le=1, description="A line that is read with less is left out: it is rarely text."
    )
    rotation: bool = Field(
        True, description="Find pages that lie on a side or upside down, and read them upright."
    )
    batch_pixels: int = Field(
        4096,
        ge=320,
        description="Width of a recognition batch: lines of like length, of whatever "
        "pages, are read together up to this sum of widths at a height of 48.",
    )
    wave_pages: int = Field(
        8, ge=1, description="Pages whose lines are read together, and most pages in memory twice."
    )

    RUNNING = frozenset({"batch_pixels", "wave_pages"})


_OCR = TypeAdapter(OcrModel)


def load_ocr(reference: str | Path) -> OcrModel:
    """The model of kind ocr named by a YAML file's path or by ``starter:<name>``.

    Raises ConfigError, which names the file and every wrong key.
    """
    named = str(reference).startswith("starter:")
    path = starter_file(str(reference)) if named else Path(reference)
    model = validate(_OCR, read_yaml(path), path)
    if model.weights is None:
        return model
    weights = model.weights.model_copy(update={"model": resolve(model.weights.model, path)})
    return model.model_copy(update={"weights": weights})
