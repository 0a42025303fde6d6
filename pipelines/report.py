"""The HTML report of a run: entities in their texts, statistics and failures.

It is independent of storage: the caller supplies a ReportRun and ReportDocuments.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

from actors.spans import Box, Code, Entity, Grounding, Relation, Section, Status
from pipelines.markup.colours import looks
from pipelines.markup.left_out import left_out
from pipelines.markup.numbers import rate
from pipelines.markup.page_image import MarkedBox, Sheet
from pipelines.markup.page_structure import Structure
from pipelines.markup.reader_page import Item, LegendEntry, Reader, Reading, render_page, save
from pipelines.markup.status_words import status_facts, status_words

_Document = TypeVar("_Document")
_MOST_PROBLEMS = 12  # sentences shown of a document


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportStep:
    """One step of the run. ``pool`` is a display text; ``seconds``: total model seconds."""

    model: str
    fingerprint: str = ""
    pool: str = ""
    documents_failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRun:
    """The run as a whole. Its counts cover all documents, even if the page shows a sample.

    ``shows``: which documents these are, in words. ``seconds`` is wall-clock time. ``config`` is
    shown verbatim: mask secrets first.
    """

    name: str
    run_id: str
    shows: str = "the documents of this run"
    started: datetime
    seconds: float
    documents_ok: int = 0
    documents_truncated: int = 0
    documents_failed: int = 0
    entity_counts: Mapping[str, int] = field(default_factory=dict)
    entities_ungrounded: int = 0
    steps: Sequence[ReportStep] = ()
    source: str = ""
    sink: str = ""
    vocabularies: Sequence[str] = ()
    config: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportDocument:
    """One document with its entities, or its failure.

    ``relations`` refer to their entities by index in ``entities``.
    """

    doc_id: str
    status: Status
    text: str | None
    entities: Sequence[Entity] = ()
    sections: Sequence[Section] = ()
    relations: Sequence[Relation] = ()
    error_type: str = ""
    error_message: str = ""
    problems: Sequence[tuple[str, str]] = ()
    """The steps that say that something was left out or is doubtful, each with its sentence."""
    structure: Structure | None = None
    """Tables, form fields and marks of its pages."""
    sheets: Callable[[], Sequence[Sheet]] | None = None
    """Loads the page images; only called for documents that are shown."""


def render_report(run: ReportRun, documents: Iterable[ReportDocument], *, limit: int = 200) -> str:
    """Render the report. ``documents`` is consumed once and sampled down to ``limit``."""
    chosen = sample(documents, limit, has_problem)
    total = run.documents_ok + run.documents_truncated + run.documents_failed
    labels = {entity.label for document in chosen for entity in document.entities}
    look = looks({*labels, *run.entity_counts})
    # Most frequent first; labels missing from the run's counts come last.
    ranked = sorted(labels, key=lambda label: (-run.entity_counts.get(label, 0), label))
    number = {label: i for i, label in enumerate(ranked)}
    keys = [LegendEntry(label, look[label], run.entity_counts.get(label, 0)) for label in ranked]
    counts = sorted(run.entity_counts.items(), key=lambda pair: (-pair[1], pair[0]))
    most = max(run.entity_counts.values(), default=1) or 1
    return render_page(
        "report.html",
        Reader(keys, [_reading(d, number) for d in chosen], ("entity", "entities")),
        run=run,
        total=total,
        entities=sum(run.entity_counts.values()),
        rate=rate(total, run.seconds),
        zone=f" {run.started:%Z}".rstrip(),
        split=_split(run, total),
        names=[label for label, _ in counts],
        bars=[(number.get(label), count, round(100 * count / most, 1)) for label, count in counts],
        sampled=len(chosen) < total,
        statuses=_statuses(chosen),
        scored=any(e.score is not None for document in chosen for e in document.entities),
        plain_status="ok",
        key_word="label",
        empty="The run has no documents.",
    )


def write(
    path: str, run: ReportRun, documents: Iterable[ReportDocument], *, limit: int = 200
) -> None:
    """Render a report to a path or any fsspec URL."""
    save(path, render_report(run, documents, limit=limit))


def sample(
    documents: Iterable[_Document],
    limit: int,
    problem: Callable[[_Document], bool],
    *,
    seed: int = 0,
) -> list[_Document]:
    """Sample at most ``limit`` documents in one pass, deterministically and in their order.

    Up to a quarter of the sample is reserved for documents with a problem: readers look for them,
    and a uniform sample would contain few.
    """
    chance = random.Random(seed)
    kept: dict[bool, list[tuple[int, _Document]]] = {True: [], False: []}
    seen = {True: 0, False: 0}
    for i, document in enumerate(documents):
        bad = problem(document)
        seen[bad] += 1
        if len(kept[bad]) < limit:
            kept[bad].append((i, document))
        elif (place := chance.randrange(seen[bad])) < limit:
            kept[bad][place] = (i, document)
    problems = min(len(kept[True]), max(limit // 4, limit - len(kept[False])))
    # A reservoir that never overflowed is still in order, so sample from it instead of slicing.
    drawn = [
        *chance.sample(kept[True], problems),
        *chance.sample(kept[False], min(len(kept[False]), limit - problems)),
    ]
    return [document for _, document in sorted(drawn, key=lambda pair: pair[0])]


def has_problem(document: ReportDocument) -> bool:
    """True if it failed, was truncated, has problems or ungrounded entities."""
    return (
        document.status is not Status.OK
        or bool(document.problems)
        or any(e.start is None for e in document.entities)
    )


def _reading(document: ReportDocument, number: Mapping[str, int]) -> Reading:
    notices = []
    if document.status is Status.FAILED:
        reason = ": ".join(part for part in (document.error_type, document.error_message) if part)
        notices.append(("bad", f"This document failed. {reason}".strip()))
    elif document.status is Status.TRUNCATED:
        notices.append(
            ("warn", "The model's output was truncated at its limit: entities may be missing.")
        )
    notices += [
        ("warn", f"{step}: {problem}") for step, problem in document.problems[:_MOST_PROBLEMS]
    ]
    if len(document.problems) > _MOST_PROBLEMS:
        notices.append(("warn", f"{len(document.problems) - _MOST_PROBLEMS:,} more problems"))
    sheets = document.sheets() if document.sheets is not None else ()
    unread = left_out(problem for _, problem in document.problems)
    related = _related(document)
    return Reading(
        doc_id=document.doc_id,
        status=str(document.status),
        text=document.text,
        items=[
            _item(entity, number, document.text, related.get(i, ()))
            for i, entity in enumerate(document.entities)
        ],
        notices=tuple(notices),
        sheets=[_marked(sheet, document.entities, number, unread) for sheet in sheets],
        links=[(one.head, one.tail) for one in document.relations],
        structure=document.structure,
        sections=list(dict.fromkeys(one.name.replace("_", " ") for one in document.sections)),
    )


def _marked(
    sheet: Sheet, entities: Sequence[Entity], number: Mapping[str, int], unread: Sequence[Box]
) -> Sheet:
    places = tuple(
        MarkedBox(i, number[entity.label], box.x0, box.y0, box.x1, box.y1)
        for i, entity in enumerate(entities)
        for box in entity.boxes
        if box.page == sheet.number
    )
    own = tuple(box for box in unread if box.page == sheet.number)
    return replace(sheet, places=places, unread=own)


def _item(
    entity: Entity,
    number: Mapping[str, int],
    text: str | None,
    related: Sequence[tuple[str, str]],
) -> Item:
    facts = [*status_facts(entity, text), *(("code", _code(code)) for code in entity.codes)]
    facts += related
    if entity.section:
        facts.append(("section", entity.section.replace("_", " ")))
    facts.append(("grounding", str(entity.grounding)))
    if entity.model:
        facts.append(("model", entity.model))
    if entity.ocr_confidence is not None:
        facts.append(("OCR confidence", f"{entity.ocr_confidence:.2f}"))
    if entity.boxes:
        facts.append(
            ("page", ", ".join(str(page + 1) for page in sorted({b.page for b in entity.boxes})))
        )
    facts += entity.attributes.items()
    return Item(
        key=number[entity.label],
        text=entity.text if entity.grounding is Grounding.UNGROUNDED else "",
        start=entity.start,
        end=entity.end,
        score=entity.score,
        facts=tuple(facts),
        status=tuple(status_words(entity)),
    )


def _code(code: Code) -> str:
    above = f"; below {', '.join(code.parents)}" if code.parents else ""
    return f"{code.system} {code.code}, {code.term} ({code.how}, {code.score:.2f}{above})"


def _related(document: ReportDocument) -> dict[int, list[tuple[str, str]]]:
    """Map the index of an entity to its relations: type, and the other entity's text and value."""
    found: dict[int, list[tuple[str, str]]] = {}
    for one in document.relations:
        head, tail = (" ".join(document.entities[i].text.split()) for i in (one.head, one.tail))
        reading = ", ".join(f"{name} {value}" for name, value in one.attributes.items())
        words = f"{tail} ({reading})" if reading else tail
        found.setdefault(one.head, []).append((one.type, words))
        found.setdefault(one.tail, []).append((f"{one.type} of", head))
    return found


def _statuses(documents: Sequence[ReportDocument]) -> list[tuple[str, int]]:
    counts = [(str(s), sum(d.status is s for d in documents)) for s in Status]
    unplaced = sum(any(e.start is None for e in d.entities) for d in documents)
    return [pair for pair in [*counts, ("not found", unplaced)] if pair[1]]


def _split(run: ReportRun, total: int) -> list[tuple[str, float, float]]:
    x, bars = 0.0, []
    for tone, count in (
        ("ok", run.documents_ok),
        ("truncated", run.documents_truncated),
        ("failed", run.documents_failed),
    ):
        width = round(100 * count / total, 2) if total else 0.0
        bars.append((tone, round(x, 2), width))
        x += width
    return bars
