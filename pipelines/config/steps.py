"""The sections ``ocr`` and ``steps``: which models a pipeline runs."""

from __future__ import annotations

from pydantic import Field

from actors.config import ConfigSection
from pipelines.pool import Pool


class Step(ConfigSection):
    """One model applied to every document."""

    model: str = Field(description="A model file, or starter:<name>.")
    pool: Pool = Pool()


class Ocr(ConfigSection):
    """OCR of image documents, before the steps."""

    model: str = Field("starter:ocr", description="A model file of kind ocr, or starter:ocr.")
    pool: Pool = Pool()
