"""A document on its way through a request, and what is sent of it in the end.

The merge is that of batch and comes first; the request's filter then hides entities, so an answer
is always a part of what batch would write with the same guideline.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from actors.merge import merge
from actors.pages import Reading, place
from actors.spans import Document, Entity, Extraction, Failure, Status
from pipelines.serve.asked import Options
from pipelines.serve.catalogue import Target
from pipelines.serve.offsets import OffsetUnit, converted
from pipelines.serve.schema import DocumentOut, EntityOut, FailureOut, PageOut, StepOut


@dataclass(slots=True)
class Told:
    """A document on its way; ``reading`` is of one that came as a picture. ``fetched``: whether it
    came by an address. ``steps``: what each model said of it, by the model's name."""

    document: Document
    fetched: bool = False
    reading: Reading | None = None
    failure: Failure | None = None
    steps: dict[str, Extraction] = field(default_factory=dict)
    sheets: list[bytes] = field(default_factory=list)

    @property
    def characters(self) -> int:
        """Of its text."""
        return len(self.document.text or "")


def document_out(told: Told, target: Target, options: Options) -> DocumentOut:
    """The answer to a document that all models of the target have read, or that has failed."""
    policy, reading, failure = target.merge, told.reading, told.failure
    steps = [told.steps[name] for name in target.models] if failure is None else []
    entities = merge([step.entities for step in steps], policy.overlaps, policy.priority)
    if reading is not None:
        entities = place(entities, reading)
    statuses = [step.status for step in steps] if failure is None else [Status.FAILED]
    wanted = [EntityOut.of(entity) for entity in entities if _wanted(options, entity)]
    unknown = failure is None and (reading is not None or told.fetched)
    return DocumentOut(
        id=told.document.id,
        status=max(statuses, key=lambda status: status.severity).value,
        error=None if failure is None else FailureOut(type=failure.type, message=failure.message),
        text=told.document.text if unknown else None,
        pages=_pages(reading, told.sheets) if reading is not None else [],
        entities=_counted(wanted, told.document.text or "", options.offsets),
        steps=[StepOut.of(extraction, options.explain) for extraction in steps],
    )


def _counted(entities: list[EntityOut], text: str, unit: OffsetUnit) -> list[EntityOut]:
    """The entities with offsets in this unit."""
    if unit == "code_points" or text.isascii():
        return entities
    ends = (end for one in entities for end in (one.start, one.end) if end is not None)
    places = converted(text, ends, unit)
    return [
        one
        if one.start is None or one.end is None
        else one.model_copy(update={"start": places[one.start], "end": places[one.end]})
        for one in entities
    ]


def _pages(reading: Reading, sheets: Sequence[bytes]) -> list[PageOut]:
    pictures = [b64encode(sheet).decode() for sheet in sheets]
    return [
        PageOut(width=page.width, height=page.height, turn=page.turn, picture=picture)
        for page, picture in zip_longest(reading.pages, pictures[: len(reading.pages)])
    ]


def _wanted(options: Options, entity: Entity) -> bool:
    if options.labels is not None and entity.label not in options.labels:
        return False
    least = options.thresholds.get(entity.label, options.threshold)
    return entity.score is None or entity.score >= least
