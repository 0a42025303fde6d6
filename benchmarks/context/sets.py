"""Corpora with negation, uncertainty, time and experiencer, or relations, as one kind of case.

Each reader says what a gold entity is in its corpus, and which of its marks stand for which
attribute; the same entities go to us and to every peer.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Row = dict[str, Any]
Span = tuple[int, int]

_WORD = re.compile(r"[A-Za-z][A-Za-z-]{3,}")


@dataclass(frozen=True, slots=True)
class StatusCase:
    """A document with its gold entities: ``gold[attribute][i]`` belongs to ``spans[i]``."""

    text: str
    spans: tuple[Span, ...]
    gold: dict[str, tuple[bool, ...]]


@dataclass(frozen=True, slots=True)
class StatusSet:
    """A corpus for status: its language and how a row becomes a case."""

    name: str
    language: str
    read: Callable[[Row], StatusCase]


def rows(folder: Path, name: str, part: str) -> list[Row] | None:
    """The rows of ``<folder>/<name>/<part>.jsonl[.gz]``; None where there is no such file."""
    for ending in (".jsonl", ".jsonl.gz"):
        path = folder / name / (part + ending)
        if path.exists():
            content = path.read_bytes()
            if ending.endswith("gz"):
                content = gzip.decompress(content)
            return [json.loads(line) for line in content.decode().split("\n") if line]
    return None


def _negex(row: Row) -> StatusCase:
    """One concept a sentence. "Not particular" in time is what may come: hypothetical."""
    entities = row["entities"]
    return StatusCase(
        row["text"],
        _spans(entities),
        {
            "negated": tuple(e["negation"] == "negated" for e in entities),
            "historical": tuple(e["temporality"] == "historical" for e in entities),
            "hypothetical": tuple(e["temporality"] == "not particular" for e in entities),
            "family": tuple(e["experiencer"] != "patient" for e in entities),
        },
    )


def _bioscope(row: Row) -> StatusCase:
    """Each word of four letters or more is an entity, cues aside: true where a scope holds it."""
    by_label: dict[str, list[Span]] = {}
    for e in row["entities"]:
        by_label.setdefault(e["label"], []).append((e["start"], e["end"]))
    cues = [*by_label.get("negation_cue", ()), *by_label.get("speculation_cue", ())]
    spans = tuple(
        match.span()
        for match in _WORD.finditer(row["text"])
        if not any(match.start() < end and start < match.end() for start, end in cues)
    )
    return StatusCase(
        row["text"],
        spans,
        {
            "negated": _inside(spans, by_label.get("negation_scope", ())),
            "uncertain": _inside(spans, by_label.get("speculation_scope", ())),
        },
    )


def _nubes(row: Row) -> StatusCase:
    """Findings, procedures and substances: true where the scope of a marker holds them."""
    by_id = {e["id"]: e for e in row["entities"]}
    scopes: dict[str, list[Span]] = {"Neg": [], "Unc": []}
    for relation in row["relations"]:
        head, tail = by_id.get(relation["head"]), by_id.get(relation["tail"])
        if relation["type"] in ("Scope", "DiscScope") and head and tail:
            scopes.setdefault(head["label"][:3], []).append((tail["start"], tail["end"]))
    entities = [e for e in row["entities"] if e["label"] in ("DISO", "PROC", "SUBS")]
    spans = _spans(entities)
    return StatusCase(
        row["text"],
        spans,
        {"negated": _inside(spans, scopes["Neg"]), "uncertain": _inside(spans, scopes["Unc"])},
    )


def _e3c(row: Row) -> StatusCase:
    """Events with polarity and contextual modality."""
    entities = [e for e in row["entities"] if e["label"] == "EVENT" and "attributes" in e]
    marks = [e["attributes"] for e in entities]
    return StatusCase(
        row["text"],
        _spans(entities),
        {
            "negated": tuple(m.get("polarity") == "NEG" for m in marks),
            "uncertain": tuple(m.get("contextualModality") == "HEDGED" for m in marks),
            "hypothetical": tuple(
                str(m.get("contextualModality")).startswith("HYPOTHETICAL") for m in marks
            ),
        },
    )


def _maccrobat(row: Row) -> StatusCase:
    """Signs, symptoms and diseases with their polarity."""
    entities = [e for e in row["entities"] if e["label"] in ("Sign_symptom", "Disease_disorder")]
    polarity = [(e.get("attributes") or {}).get("POLARITY") for e in entities]
    return StatusCase(
        row["text"],
        _spans(entities),
        {
            "negated": tuple(one == "NEG" for one in polarity),
            "uncertain": tuple(one in ("UNCERTAIN", "MAYBE_POS", "MAYBE_NEG") for one in polarity),
        },
    )


STATUS_SETS = (
    StatusSet("negex_120", "en", _negex),
    StatusSet("bioscope", "en", _bioscope),
    StatusSet("maccrobat2020", "en", _maccrobat),
    StatusSet("e3c_en", "en", _e3c),
    StatusSet("e3c_fr", "fr", _e3c),
    StatusSet("e3c_es", "es", _e3c),
    StatusSet("nubes", "es", _nubes),
)


@dataclass(frozen=True, slots=True)
class RelationSet:
    """A corpus for relations: its gold as (type, head, tail), and the rules for its labels."""

    name: str
    rules: tuple[dict[str, Any], ...]
    gold: Callable[[Row], Iterator[tuple[str, int, int]]]


def _directed(
    kinds: dict[tuple[str, str, str], tuple[str, bool]],
) -> Callable[[Row], Iterator[tuple[str, int, int]]]:
    """Gold relations by (type, label of head, label of tail) to our type, and whether to turn."""

    def gold(row: Row) -> Iterator[tuple[str, int, int]]:
        place = {e["id"]: i for i, e in enumerate(row["entities"])}
        for relation in row["relations"]:
            head, tail = place.get(relation["head"]), place.get(relation["tail"])
            if head is None or tail is None:
                continue
            labels = (row["entities"][head]["label"], row["entities"][tail]["label"])
            kind = kinds.get((relation["type"], *labels))
            if kind is not None:
                yield (kind[0], tail, head) if kind[1] else (kind[0], head, tail)

    return gold


SHIPPED = ("dose", "route", "frequency", "duration", "value", "body_part")
"""The types of the shipped rules that MACCROBAT has gold for: measured as they ship."""

RELATION_SETS = (
    RelationSet(
        "maccrobat2020",
        (),
        _directed(
            {
                ("MODIFY", "Dosage", "Medication"): ("dose", True),
                ("MODIFY", "Administration", "Medication"): ("route", True),
                ("MODIFY", "Frequency", "Medication"): ("frequency", True),
                ("MODIFY", "Duration", "Medication"): ("duration", True),
                ("MODIFY", "Lab_value", "Diagnostic_procedure"): ("value", True),
                ("MODIFY", "Biological_structure", "Sign_symptom"): ("body_part", True),
                ("MODIFY", "Biological_structure", "Disease_disorder"): ("body_part", True),
            }
        ),
    ),
    RelationSet(
        "ade_v2",
        (
            {
                "type": "drug-effect",
                "head": ["Drug"],
                "tail": ["AdverseEffect"],
                "pick": "all",
                "reach": 60,
                "side": "either",
            },
            {"type": "drug-dose", "head": ["Drug"], "tail": ["Dose"]},
        ),
        _directed(
            {
                ("drug-effect", "Drug", "AdverseEffect"): ("drug-effect", False),
                ("drug-dose", "Drug", "Dose"): ("drug-dose", False),
            }
        ),
    ),
    RelationSet(
        "chia_without_scope",
        (
            {
                "type": "Has_value",
                "head": ["Measurement", "Person"],
                "tail": ["Value"],
                "within": "line",
                "enumerated": True,
            },
        ),
        _directed(
            {
                ("Has_value", "Measurement", "Value"): ("Has_value", False),
                ("Has_value", "Person", "Value"): ("Has_value", False),
            }
        ),
    ),
)


def _spans(entities: Sequence[Row]) -> tuple[Span, ...]:
    return tuple((e["start"], e["end"]) for e in entities)


def _inside(spans: Sequence[Span], scopes: Sequence[Span]) -> tuple[bool, ...]:
    return tuple(any(s <= start and end <= e for s, e in scopes) for start, end in spans)
