"""Whether a model answers: a document, and a picture, that nobody sent."""

from __future__ import annotations

import io
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import cache

from actors.pages import Reading
from actors.spans import Document, Failure, Status
from pipelines.serve.service import Event, ModelFacts, Models, Printed

# Not a patient's text, and every model has something to say about it.
_PROBE = Document(id="probe", text="Metformin 500 mg twice daily for type 2 diabetes.")
_ASKED = "Which drug is it?"
_PAPER = 480, 80
PROBE_PIXELS = 1_000_000
"""What a picture that is a probe may have, decoded."""


def probe_of(facts: ModelFacts) -> Document:
    """The document that shows whether a model reads. Where documents may bring prompts it has one:
    the model file may have no instruction, so that each must."""
    return replace(_PROBE, prompt=_ASKED) if facts.prompts else _PROBE


@cache
def picture_probe() -> Document:
    """A line of print, which shows whether pictures are read."""
    from PIL import Image, ImageDraw, ImageFont  # here: a server of texts may be without

    image = Image.new("L", _PAPER, 255)
    font = ImageFont.load_default(32)
    ImageDraw.Draw(image).text((20, 20), "Metformin 500 mg", fill=0, font=font)
    file = io.BytesIO()
    image.save(file, "PNG")
    return Document(id="probe", image=file.getvalue())


async def says_well(stream: AsyncGenerator[list[Event]]) -> bool:
    """Whether a model that reads one document prints anything, or ends well. The rest of what it
    would print, which may take minutes, is not waited for."""
    async with aclosing(stream) as batches:
        async for batch in batches:
            for event in batch:
                return isinstance(event, Printed) or event[1].status is not Status.FAILED
    return False


def read_well(readings: Sequence[Reading | Failure]) -> bool:
    """Whether every picture was read, and had any text."""
    return all(isinstance(one, Reading) and one.words for one in readings)


async def probe(models: Models, model: str) -> bool:
    """Whether the model reads a document now."""
    return await says_well(models.stream(model, [probe_of(await models.facts(model))]))


async def probe_reader(models: Models) -> bool:
    """Whether a picture is read now."""
    return read_well(await models.read([picture_probe()], PROBE_PIXELS))
