"""The response for a document that is de-identified, as batch would write it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

from actors.spans import Extraction, Failure, Status, worst
from pipelines.offset_units import OffsetUnit, converted
from pipelines.refine import annotate, refiner
from pipelines.release import Release, Releaser
from pipelines.serve.answering.covered_pages import CoveredDocument
from pipelines.serve.answering.pending import PendingDocument, relations_out, with_offset_unit
from pipelines.serve.catalogue import Target
from pipelines.serve.wire.responses import (
    CountOut,
    DeidentifiedOut,
    EditOut,
    EntityOut,
    FailureOut,
    ResidueOut,
    SectionOut,
)

if TYPE_CHECKING:
    from actors.deidentify import Deidentified


@dataclass(frozen=True, slots=True)
class KnownPatient:
    """A document's patient, from the request. ``id``: the patient's id, else the document's."""

    id: str | None = None
    names: tuple[str, ...] = ()


def released(
    pending: PendingDocument, target: Target, releaser: Releaser, known: KnownPatient
) -> Release:
    """De-identify a document that all models of the target have processed, or that failed.

    Without an id of the patient or the document surrogates and shift follow from the content: the
    document's index in its request would give strangers the same ones.
    """
    status, failure, steps = _outcome(pending, target)
    text = pending.document.text
    patient = known.id or hashlib.sha256((text or "").encode()).hexdigest()
    stated = pending.document.sections
    refine = refiner(target.refining)
    found = annotate(text, steps, target.merge, refine, stated, pending.reading)
    error_type = failure.type if failure else ""
    return releaser.release(text, status, error_type, found, patient, known.names, pending.reading)


def deidentified_out(
    pending: PendingDocument,
    target: Target,
    release: Release,
    covered: CoveredDocument | None,
    unit: OffsetUnit,
) -> DeidentifiedOut:
    """The response for a document, its release, and its covered pages if they were asked for."""
    _, failure, _ = _outcome(pending, target)
    if failure is None and release.error_type:
        failure = Failure(release.error_type, "the document may contain names that were not found")
    done = release.done
    entities, relations = done.annotations.entities, done.annotations.relations
    edits, residue = _places(pending.document.text or "", done, unit)
    residue += [
        ResidueOut(start=None, end=None, category=one.category, by=one.by)
        for one in release.on_page
    ]
    answer = DeidentifiedOut(
        id=pending.document.id,
        status=release.status.value,
        error=None if failure is None else FailureOut(type=failure.type, message=failure.message),
        text=done.text,
        edits=edits,
        counts=[
            CountOut(category=category, policy=policy, count=count)
            for (category, policy), count in sorted(done.counts.items())
        ],
        residue=residue,
        file=None if covered is None or done.text is None else covered.out,
        # Boxes are of pages that still show what was replaced, as the tables have none either.
        entities=[EntityOut.of(replace(entity, boxes=())) for entity in entities],
        sections=[SectionOut.of(section) for section in done.annotations.sections],
        relations=relations_out(relations, range(len(entities))),
    )
    return with_offset_unit(answer, done.text or "", unit)


def _outcome(
    pending: PendingDocument, target: Target
) -> tuple[Status, Failure | None, list[Extraction]]:
    """Return a document's status, its failure, and the models' extractions."""
    if pending.failure is not None:
        return Status.FAILED, pending.failure, []
    steps = [pending.steps[name] for name in target.models]
    failed = next((step for step in steps if step.failure is not None), None)
    if failed is None or failed.failure is None:
        return worst(step.status for step in steps), None, steps
    message = f"{failed.model}: {failed.failure.message}"
    return Status.FAILED, Failure(failed.failure.type, message), steps


def _places(
    text: str, done: Deidentified, unit: OffsetUnit
) -> tuple[list[EditOut], list[ResidueOut]]:
    """Edits, none if no text comes out, and residue, with offsets in ``unit``."""
    edits = () if done.text is None else done.map.edits
    spans = [(one.start, one.end) for one in edits]
    spans += [(one.start, one.end) for one in done.residue_in_original]
    new_spans = [(one.new_start, one.new_end) for one in edits]
    old = converted(text, chain.from_iterable(spans), unit)
    new = converted(done.text or "", chain.from_iterable(new_spans), unit)
    return [
        EditOut(
            start=old[one.start],
            end=old[one.end],
            new_start=new[one.new_start],
            new_end=new[one.new_end],
            category=one.category,
            policy=one.policy,
        )
        for one in edits
    ], [
        ResidueOut(start=old[one.start], end=old[one.end], category=one.category, by=one.by)
        for one in done.residue_in_original
    ]
