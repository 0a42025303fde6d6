"""Documents with everything that an exchange format could lose, and exports of them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from actors.graphemes import is_break
from actors.spans import (
    Assertion,
    Code,
    Entity,
    Experiencer,
    Grounding,
    Relation,
    Section,
    spanning,
)
from pipelines.exchange.export import export_documents
from pipelines.exchange.exporter import ExportOptions, Lost
from pipelines.exchange.formats import ExportFormat
from pipelines.offset_units import OffsetUnit
from pipelines.runs.results import Result

WRITTEN = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
STEPS = [{"model": "tagger", "fingerprint": "f00d"}]
# Emoji, a family of emoji, letters with marks, Hangul in jamo, line ends, blanks of other kinds.
PIECES = [
    *("Metformin", " ", "500", "mg", ".", "-", "\n", "\r\n", "\t", "  ", "a\u0301", "é", "💊"),
    *("👩‍👩‍👧", "각", "\u1100\u1161\u11a8", "\u2003", "\u00a0", "Đường", '"', "#", "<b>", "\\n"),
]


def document(text: str, entities: Iterable[Entity], **fields: Any) -> Result:
    """A document of a run."""
    more = {"finished_at": WRITTEN, "steps": STEPS} | fields.pop("more", {})
    known: dict[str, Any] = {
        "doc_id": "n1",
        "source": "file:///notes",
        "source_row": 0,
        "status": "ok",
        "error_type": "",
        "error_message": "",
        "page_sizes": (),
    }
    return Result(text=text, entities=tuple(entities), more=more, **known | fields)


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Texts of hard pieces that begin with a visible character."""
    return "x" + "".join(draw(st.lists(st.sampled_from(PIECES), max_size=25)))


@st.composite
def documents(draw: st.DrawFn, overlapping: bool = True) -> Result:
    """A document with status and relations; its entities may nest and cross. No entity begins or
    ends in white space or within a grapheme cluster, as no entity of a model does."""
    text = draw(texts())
    visible = [i for i, c in enumerate(text) if not c.isspace()]
    entities: list[Entity] = []
    for _ in range(draw(st.integers(0, 6))):
        start, last = sorted(draw(st.tuples(st.sampled_from(visible), st.sampled_from(visible))))
        end = last + 1
        if not (is_break(text, start) and is_break(text, end)):
            continue
        if not overlapping and any(start < e.end and e.start < end for e in entities):  # type: ignore[operator]
            continue
        label = draw(st.sampled_from(["Drug", "Disease"]))
        if any((e.start, e.end, e.label) == (start, end, label) for e in entities):
            continue
        said = draw(st.none() | _assertions())
        entities.append(
            spanning(text, start, end, label, score=0.5, model="tagger", assertion=said)
        )
    pairs = [(a, b) for a in range(len(entities)) for b in range(len(entities)) if a != b]
    links = draw(st.lists(st.sampled_from(pairs), max_size=2, unique=True)) if pairs else []
    relations = tuple(Relation(a, b, "dose") for a, b in links)
    return document(text, entities, relations=relations)


@st.composite
def _assertions(draw: st.DrawFn) -> Assertion:
    names = ("negated", "uncertain", "hypothetical", "historical", "conditional")
    said: dict[str, Any] = {name: draw(st.booleans()) for name in names}
    return Assertion(**said, experiencer=draw(st.sampled_from(Experiencer)))


NOTE = (
    "Plan: Metformin 500 mg twice daily. No evidence of glaucoma. Mother had asthma.\nHbA1c 7.2 %"
)


def note() -> Result:
    """A note with an entity of every kind that matters: codes, status, relations, ungrounded."""

    def entity(words: str, label: str, **fields: Any) -> Entity:
        start = NOTE.index(words)
        defaults = {"score": 0.9, "model": "tagger", "assertion": Assertion()}
        return spanning(NOTE, start, start + len(words), label, **defaults | fields)

    entities = [
        entity(
            "Metformin",
            "Drug",
            section="plan",
            codes=(Code("rxnorm", "6809", "metformin", 0.99, "exact"),),
        ),
        entity("500 mg", "Dose"),
        entity("twice daily", "Frequency"),
        entity(
            "glaucoma",
            "Disease",
            assertion=Assertion(negated=True),
            codes=(Code("doid", "DOID:1686", "glaucoma", 0.9, "exact"),),
        ),
        entity("asthma", "Disease", assertion=Assertion(experiencer=Experiencer.FAMILY)),
        entity("HbA1c", "LabTest"),
        entity("7.2 %", "LabValue"),
        Entity("Disease", "cough", None, None, 0.4, Grounding.UNGROUNDED, model="tagger"),
    ]
    return document(
        NOTE,
        entities,
        sections=(Section("plan", 0, 79, 5, "18776-5"),),
        relations=(
            Relation(0, 1, "dose", 0.8, "line", {"value": "500", "unit": "mg"}),
            Relation(0, 2, "frequency", 0.8, "line", {"per_day": "2"}),
            Relation(5, 6, "value", 0.8, "line", {"value": "7.2", "unit": "%"}),
            Relation(0, 7, "reason"),
        ),
    )


def exported(
    path: Path,
    format_: ExportFormat,
    *results: Result,
    unit: OffsetUnit | None = None,
    **options: Any,
) -> Lost:
    """Export documents; what had no place."""
    lost = Lost()
    export_documents(
        results, format_, str(path), ExportOptions(unit=format_.unit(unit), **options), lost
    )
    return lost
