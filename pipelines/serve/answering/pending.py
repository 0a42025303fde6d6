"""The state of a document during a request, and the response built from it.

The merge is the same as in batch and comes first. The request's filters then hide entities, so a
response is always a subset of what batch would write with the same guideline.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from typing import TypeVar

from actors.pages import OcrResult
from actors.spans import Document, Entity, Extraction, Failure, Relation, Status, worst
from pipelines.offset_units import OffsetUnit, converted
from pipelines.refine import annotate, refiner
from pipelines.serve.catalogue import Target
from pipelines.serve.wire.requests import RequestOptions
from pipelines.serve.wire.responses import (
    CellOut,
    CueOut,
    DeidentifiedOut,
    DocumentOut,
    EntityOut,
    FailureOut,
    FormFieldOut,
    MarkOut,
    PageOut,
    RelationOut,
    SectionOut,
    StatedSectionOut,
    StepOut,
    TableOut,
)

_Span = TypeVar("_Span", EntityOut, SectionOut, StatedSectionOut, CueOut, CellOut, FormFieldOut)
_Section = TypeVar("_Section", SectionOut, StatedSectionOut)
_Answer = TypeVar("_Answer", DocumentOut, DeidentifiedOut)


@dataclass(slots=True)
class PendingDocument:
    """A document being processed.

    ``reading``: the OCR result, if it is an image. ``unseen``: the client does not
    have its text. ``steps``: the
    Extraction of each model by name.
    """

    document: Document
    unseen: bool = False
    reading: OcrResult | None = None
    failure: Failure | None = None
    steps: dict[str, Extraction] = field(default_factory=dict)
    sheets: list[bytes] = field(default_factory=list)

    @property
    def characters(self) -> int:
        """Length of its text."""
        return len(self.document.text or "")


def document_out(pending: PendingDocument, target: Target, options: RequestOptions) -> DocumentOut:
    """The response for a document that all models of the target have processed, or that failed."""
    reading, failure = pending.reading, pending.failure
    steps = [pending.steps[name] for name in target.models] if failure is None else []
    text = pending.document.text
    refine, stated = refiner(target.refining), pending.document.sections
    found = annotate(text, steps, target.merge, refine, stated, reading)
    entities = found.entities
    shown = [at for at, entity in enumerate(entities) if _passes_filter(options, entity)]
    status = worst(step.status for step in steps) if failure is None else Status.FAILED
    unknown = failure is None and (reading is not None or pending.unseen)
    answer = DocumentOut(
        id=pending.document.id,
        status=status.value,
        error=None if failure is None else FailureOut(type=failure.type, message=failure.message),
        text=text if unknown else None,
        pages=_pages(reading, pending.sheets) if reading is not None else [],
        problems=[*pending.document.problems, *(reading.problems if reading is not None else ())],
        tables=[TableOut.of(table) for table in found.tables],
        fields=[FormFieldOut.of(field) for field in found.fields],
        marks=[MarkOut.of(mark) for mark in reading.marks] if reading is not None else [],
        entities=[EntityOut.of(entities[at]) for at in shown],
        sections=[SectionOut.of(section) for section in found.sections],
        stated_sections=[StatedSectionOut.of(section) for section in stated],
        relations=relations_out(found.relations, shown),
        abbreviations=dict(found.abbreviations),
        steps=[StepOut.of(extraction, options.explain) for extraction in steps],
    )
    return with_offset_unit(answer, text or "", options.offsets)


def relations_out(relations: Sequence[Relation], shown: Sequence[int]) -> list[RelationOut]:
    """Relations between shown entities, re-indexed to their list."""
    place_of = {old: new for new, old in enumerate(shown)}
    return [
        RelationOut(
            head=place_of[one.head],
            tail=place_of[one.tail],
            type=one.type,
            score=one.score,
            how=one.how,
            attributes=dict(one.attributes),
        )
        for one in relations
        if one.head in place_of and one.tail in place_of
    ]


def with_offset_unit(answer: _Answer, text: str, unit: OffsetUnit) -> _Answer:
    """Convert all offsets of an answer in ``text`` to ``unit``."""
    if unit == "code_points" or text.isascii():
        return answer
    tables: list[TableOut] = answer.tables if isinstance(answer, DocumentOut) else []
    fields: list[FormFieldOut] = answer.fields if isinstance(answer, DocumentOut) else []
    spans: list[EntityOut | SectionOut | CueOut | CellOut | FormFieldOut] = [
        *answer.entities,
        *answer.sections,
        *fields,
        *(cue for one in answer.entities if one.assertion for cue in one.assertion.cues),
        *(cell for table in tables for cell in table.cells),
    ]
    stated: list[StatedSectionOut] = (
        answer.stated_sections if isinstance(answer, DocumentOut) else []
    )
    sections: list[SectionOut | StatedSectionOut] = [*answer.sections, *stated]
    others = chain(
        (one.heading_end for one in sections),
        (end for one in fields for end in (one.label_start, one.label_end)),
    )
    ends = chain((end for one in [*spans, *stated] for end in (one.start, one.end)), others)
    places = converted(text, [end for end in ends if end is not None], unit)

    def converted_span(span: _Span, *further: str) -> _Span:
        ends = {name: getattr(span, name) for name in ("start", "end", *further)}
        return span.model_copy(
            update={name: places[end] for name, end in ends.items() if end is not None}
        )

    def entity(one: EntityOut) -> EntityOut:
        assertion = one.assertion
        if assertion is not None:
            assertion = assertion.model_copy(
                update={"cues": [converted_span(cue) for cue in assertion.cues]}
            )
        return converted_span(one).model_copy(update={"assertion": assertion})

    def section(one: _Section) -> _Section:
        return converted_span(one, "heading_end")

    changes: dict[str, object] = {
        "entities": [entity(one) for one in answer.entities],
        "sections": [section(one) for one in answer.sections],
    }
    if isinstance(answer, DocumentOut):
        cells = ([converted_span(cell) for cell in table.cells] for table in tables)
        changes["tables"] = [
            table.model_copy(update={"cells": c}) for table, c in zip(tables, cells, strict=True)
        ]
        changes["fields"] = [converted_span(one, "label_start", "label_end") for one in fields]
        changes["stated_sections"] = [section(one) for one in stated]
    return answer.model_copy(update=changes)


def _pages(reading: OcrResult, sheets: Sequence[bytes]) -> list[PageOut]:
    pictures = [b64encode(sheet).decode() for sheet in sheets]
    return [
        PageOut(width=page.width, height=page.height, turn=page.turn, picture=picture)
        for page, picture in zip_longest(reading.pages, pictures[: len(reading.pages)])
    ]


def _passes_filter(options: RequestOptions, entity: Entity) -> bool:
    if options.labels is not None and entity.label not in options.labels:
        return False
    minimum = options.thresholds.get(entity.label, options.threshold)
    return entity.score is None or entity.score >= minimum
