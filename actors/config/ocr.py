"""Configuration of an OCR model (kind ocr)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, TypeAdapter, model_validator

from actors.config.base import ConfigSection, Weights
from actors.config.languages import LANGUAGES
from actors.config.load import read_yaml, resolve, starter_file, validate


class PageLimits(ConfigSection):
    """Limits on a file; one that exceeds them becomes a failed row."""

    dpi: int = Field(
        200,
        ge=36,
        le=600,
        description="Resolution at which PDF pages without text are rendered; boxes on PDF pages "
        "are in pixels at this resolution.",
    )
    text_layer: bool = Field(
        True,
        description="Use a PDF's text layer where it matches the page; false: always use OCR.",
    )
    max_pages: int = Field(
        500, ge=1, description="A file with more pages or frames fails before any page is read."
    )
    max_megapixels: float = Field(
        60.0,
        gt=0,
        description="An image with more fails before it is decoded; a PDF page is rendered at a "
        "lower resolution instead.",
    )
    page_seconds: float = Field(
        10.0,
        gt=0,
        description="CPU seconds to decode or render one page before the file fails (TooSlow); the "
        "wall-clock limit is six times as long.",
    )
    page_memory_mb: float = Field(
        2000.0,
        ge=100,
        description="Memory to decode or render one page before the file fails (TooLarge); 60 "
        "megapixels take up to 1,500. Enforced on Linux only.",
    )


class Detection(ConfigSection):
    """Detection of text lines on a page."""

    max_side: int = Field(
        2000,
        ge=320,
        description="Downscale pages for detection so that the longer side has this length; "
        "recognition still uses the page's own resolution.",
    )
    threshold: float = Field(0.5, gt=0, lt=1, description="Minimum detection score of a line.")


class OcrModel(ConfigSection):
    """A model file of kind ocr: PP-OCR detection and recognition, as shipped by rapidocr, or
    Tesseract's recognition."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    kind: Literal["ocr"]
    weights: Weights | None = Field(
        None,
        description="A folder with detector.onnx and recognizer.onnx; default: the models in the "
        "rapidocr package.",
    )
    language: str | None = Field(
        None,
        description="Language of the pages, such as en, de or vi (ISO 639-1). Loading fails if the "
        "recogniser's alphabet lacks letters of it: it would leave them out without a sign.",
    )
    recognizer: Literal["onnx", "tesseract"] = Field(
        "onnx",
        description="onnx: recognizer.onnx of the weights; that of the rapidocr package writes "
        "Latin, Chinese and Japanese script, but not Vietnamese, Greek, Cyrillic or Korean. "
        "tesseract: the program tesseract, which must be installed with the data of `language`.",
    )
    pages: PageLimits = PageLimits()
    detection: Detection = Detection()
    min_confidence: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Leave out lines recognised with less confidence, the mean probability of "
        "their characters: specks and lines under a stamp. The step's problems give their number "
        "and boxes. 0 keeps every line with characters.",
    )
    batch_pixels: int = Field(
        4096,
        ge=320,
        description="Width budget of a recognition batch: lines of similar length, from any pages, "
        "are recognised together up to this total width at a height of 48.",
    )

    RUNNING = frozenset({"batch_pixels"})

    @model_validator(mode="after")
    def _check(self) -> OcrModel:
        if self.language is not None and self.language not in LANGUAGES:
            known = ", ".join(LANGUAGES)
            raise ValueError(f"unknown language {self.language!r}; known: {known}")
        if self.recognizer == "tesseract" and self.language is None:
            raise ValueError("recognizer: tesseract needs language")
        return self


_OCR = TypeAdapter(OcrModel)


def load_ocr(reference: str | Path) -> OcrModel:
    """Load the OCR model from a YAML file or from ``starter:<name>``.

    Raises ConfigError, which names the file and every wrong key.
    """
    named = str(reference).startswith("starter:")
    path = starter_file(str(reference)) if named else Path(reference)
    model = validate(_OCR, read_yaml(path), path)
    if model.weights is None:
        return model
    weights = model.weights.model_copy(update={"model": resolve(model.weights.model, path)})
    return model.model_copy(update={"weights": weights})
