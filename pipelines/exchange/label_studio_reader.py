"""Reading Label Studio's JSON export as gold.

Where several people annotated a task, all of them are kept, and the entities are those of the
annotation marked as ground truth, or else of the one that was updated last.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.evaluate import GoldDocument, GoldError, GoldSpan
from pipelines.evaluate.statements import ATTRIBUTES, GoldRelation, GoldStatus, Statements
from pipelines.exchange.anchoring import Place, Quoted, anchored
from pipelines.offsets import OffsetUnit

# Label Studio stores code points since version 1.7; before, UTF-16 code units.
_UNITS: tuple[OffsetUnit, ...] = ("code_points", "utf16")
_LABELS = ("labels", "hypertextlabels")
_STATUS = frozenset({*ATTRIBUTES, "family", "other"})


@dataclass(frozen=True)
class _Annotation:
    """One person's work on a task."""

    annotator: str
    spans: tuple[GoldSpan, ...]
    statements: Statements


def read_label_studio(content: bytes, name: str, notes: Counter[str]) -> Iterator[GoldDocument]:
    """Read an export in the format JSON, of which ``name`` tells errors.

    Tasks that nobody annotated are counted in ``notes``. Raises GoldError.
    """
    try:
        tasks = json.loads(content)
    except UnicodeDecodeError as error:
        raise GoldError(f"{name}: not UTF-8, at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise GoldError(f"{name}: not JSON, line {error.lineno}: {error.msg}") from None
    if not isinstance(tasks, list):
        raise GoldError(f"{name}: expected an array of tasks")
    for number, task in enumerate(tasks):
        where = f"{name}, task {number}"
        if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
            raise GoldError(f"{where}: no 'data'; export as JSON, not as JSON-MIN")
        done = [one for one in task.get("annotations") or () if not one.get("was_cancelled")]
        if done:
            yield _document(task, done, where)
        else:
            notes["tasks that nobody annotated, not read"] += 1


def _document(task: Mapping[str, Any], done: list[dict[str, Any]], where: str) -> GoldDocument:
    data = task["data"]
    text = data.get("text")
    if not isinstance(text, str):
        raise GoldError(f"{where}: no string 'text' in its data")
    found = data.get("doc_id", data.get("id", task.get("id")))
    if found is None:
        raise GoldError(f"{where}: no 'doc_id' in its data, and no id")
    ordered = sorted(done, key=lambda one: (not one.get("ground_truth"), _older(one)))
    read = [_annotation(one, text, f"{where}, annotation {n}") for n, one in enumerate(ordered)]
    copies = {copy for copy, _ in read}
    if len(copies) > 1:
        raise GoldError(f"{where}: its annotations refer to different copies of the text")
    first = read[0][1]
    annotators: dict[str, tuple[GoldSpan, ...]] = {}
    for _, one in read:
        annotators.setdefault(one.annotator, one.spans)
    return GoldDocument(
        str(found),
        copies.pop(),
        first.spans,
        first.statements,
        annotators if len(annotators) > 1 else {},
    )


def _older(annotation: Mapping[str, Any]) -> tuple[int, ...]:
    """Sorts the annotation that was updated last first."""
    when = str(annotation.get("updated_at") or annotation.get("created_at") or "")
    return tuple(-ord(character) for character in when)


def _annotation(annotation: Mapping[str, Any], text: str, where: str) -> tuple[str, _Annotation]:
    labels: dict[str, list[str]] = {}
    quoted: dict[str, Quoted] = {}
    choices: dict[str, frozenset[str]] = {}
    links: list[tuple[str, str, str]] = []
    for number, one in enumerate(annotation.get("result") or ()):
        at = f"{where}, result {number}"
        kind, value = one.get("type"), one.get("value") or {}
        if kind in _LABELS:
            id_ = str(one.get("id"))
            quoted[id_] = _quoted(value, at)
            labels.setdefault(id_, []).extend(map(str, value.get(kind) or ()))
        elif kind == "choices":
            words = frozenset(map(str, value.get("choices") or ()))
            choices[str(one.get("id"))] = words & _STATUS
        elif kind == "relation":
            for type_ in one.get("labels") or ("related",):
                links.append((str(type_), str(one.get("from_id")), str(one.get("to_id"))))
    found = anchored(text, list(quoted.values()), _UNITS)
    if found is None:
        raise GoldError(f"{where}: the marked words differ from the text at their offsets")
    places: dict[str, Place] = {
        id_: (fragments[0][0], fragments[-1][1])
        for id_, fragments in zip(quoted, found.spans, strict=True)
    }
    spans = tuple(GoldSpan(*places[id_], label) for id_, names in labels.items() for label in names)
    status = tuple(
        GoldStatus(*places[id_], label, choices.get(id_, frozenset()))
        for id_, names in labels.items()
        for label in names
    )
    relations = tuple(
        GoldRelation(type_, places[head], places[tail])
        for type_, head, tail in links
        if head in places and tail in places
    )
    who = annotation.get("completed_by")
    person = str(who.get("email") or who.get("id")) if isinstance(who, dict) else str(who)
    return found.text, _Annotation(
        person, spans, Statements(status if choices else None, relations or None)
    )


def _quoted(value: Mapping[str, Any], where: str) -> Quoted:
    # Of HyperText, ``start`` and ``end`` are XPaths, and the offsets stand beside.
    value = value.get("globalOffsets") or value
    start, end, words = value.get("start"), value.get("end"), value.get("text")
    if not isinstance(start, int) or not isinstance(end, int):
        raise GoldError(f"{where}: 'start' and 'end' must be integers; annotate plain text")
    return Quoted(((start, end),), words if isinstance(words, str) else None)
