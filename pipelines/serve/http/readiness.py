"""Readiness probes: a synthetic document and a synthetic image."""

from __future__ import annotations

import io
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from functools import cache

from actors.pages import OcrResult
from actors.spans import Document, Status
from pipelines.serve.answering.models import (
    Event,
    ModelFacts,
    Models,
    OcrEvent,
    PagesRead,
    TextDelta,
)

# No patient's text, and every model finds something in it.
_PROBE = Document(id="probe", text="Metformin 500 mg twice daily for type 2 diabetes.")
_PROMPT = "Which drug is it?"
_PAPER = 480, 80
PROBE_PIXELS = 1_000_000
"""Pixel budget of the probe image."""


def probe_of(facts: ModelFacts) -> Document:
    """The probe document. If documents may carry prompts it has one, because the model file may
    have no instruction of its own."""
    return replace(_PROBE, prompt=_PROMPT) if facts.prompts else _PROBE


@cache
def picture_probe() -> Document:
    """The probe image: one printed line."""
    from PIL import Image, ImageDraw, ImageFont  # imported here: a text-only server lacks it

    image = Image.new("L", _PAPER, 255)
    font = ImageFont.load_default(32)
    ImageDraw.Draw(image).text((20, 20), "Metformin 500 mg", fill=0, font=font)
    file = io.BytesIO()
    image.save(file, "PNG")
    return Document(id="probe", image=file.getvalue())


async def answers_probe(stream: AsyncGenerator[list[Event]]) -> bool:
    """True once the model prints anything or finishes without a failure. The rest of its output,
    which may take minutes, is not awaited."""
    async with aclosing(stream) as batches:
        async for batch in batches:
            for event in batch:
                return isinstance(event, TextDelta) or event[1].status is not Status.FAILED
    return False


async def reads_probe(stream: AsyncGenerator[list[OcrEvent]]) -> bool:
    """True if OCR found text in the image."""
    async with aclosing(stream) as batches:
        async for batch in batches:
            for event in batch:
                if not isinstance(event, PagesRead):
                    return isinstance(event[1], OcrResult) and bool(event[1].words)
    return False


async def probe(models: Models, model: str) -> bool:
    """Probe a model."""
    return await answers_probe(models.stream(model, [probe_of(await models.facts(model))]))


async def probe_reader(models: Models) -> bool:
    """Probe the OCR stage."""
    return await reads_probe(models.read([picture_probe()], PROBE_PIXELS))
