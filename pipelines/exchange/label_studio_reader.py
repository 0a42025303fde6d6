"""Reading Label Studio's JSON export as gold.

Where several people annotated a task, all of them are kept, and the entities are those of the
annotation marked as ground truth, or else of the one that was updated last.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pipelines.evaluate import GoldDocument, GoldError, GoldSpan
from pipelines.evaluate.statements import ATTRIBUTES, GoldRelation, GoldStatus, Statements
from pipelines.exchange.anchoring import Fragment, Quoted, anchored
from pipelines.offset_units import OffsetUnit

# Label Studio stores code points since version 1.7; before, UTF-16 code units.
_UNITS: tuple[OffsetUnit, ...] = ("code_points", "utf16")
_LABELS = ("labels", "hypertextlabels")
_STATUS = frozenset({*ATTRIBUTES, "family", "other"})


@dataclass
class _Annotation:
    """One person's work on a task, by ids of regions."""

    annotator: str
    labels: dict[str, list[str]] = field(default_factory=dict)
    quoted: dict[str, Quoted] = field(default_factory=dict)
    status: dict[str, frozenset[str]] = field(default_factory=dict)
    links: list[tuple[str, str, str]] = field(default_factory=list)

    def spans(self, places: Mapping[str, Fragment]) -> tuple[GoldSpan, ...]:
        """A span per label of a region."""
        return tuple(
            GoldSpan(*places[id_], label) for id_, names in self.labels.items() for label in names
        )

    def statements(self, places: Mapping[str, Fragment]) -> Statements:
        """Status and relations."""
        return Statements(
            tuple(
                GoldStatus(*places[id_], label, self.status.get(id_, frozenset()))
                for id_, names in self.labels.items()
                for label in names
            ),
            tuple(
                GoldRelation(type_, places[head], places[tail])
                for type_, head, tail in self.links
                if head in places and tail in places
            ),
        )


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
    documents, status, related = [], False, False
    for number, task in enumerate(_objects(tasks, name, "task")):
        where = f"{name}, task {number}"
        if not isinstance(task.get("data"), dict):
            raise GoldError(f"{where}: no 'data'; export as JSON, not as JSON-MIN")
        found = _objects(task.get("annotations") or [], where, "annotation")
        done = [one for one in found if not one.get("was_cancelled")]
        if not done:
            notes["tasks that nobody annotated, not read"] += 1
            continue
        ordered = sorted(done, key=_updated, reverse=True)
        ordered.sort(key=lambda one: not one.get("ground_truth"))
        read = [_annotation(one, f"{where}, annotation {n}") for n, one in enumerate(ordered)]
        documents.append(_document(task, read, where))
        status = status or any(one.status for one in read)
        related = related or any(one.links for one in read)
    for document in documents:
        # Where no task has a choice, status was not annotated; and so for relations.
        statements = document.statements
        statements = Statements(
            statements.status if status else None, statements.relations if related else None
        )
        yield replace(document, statements=statements)


def _objects(values: Any, where: str, what: str) -> list[dict[str, Any]]:
    if not isinstance(values, list) or not all(isinstance(one, dict) for one in values):
        raise GoldError(f"{where}: expected an array of {what}s, each an object")
    return values


def _updated(annotation: Mapping[str, Any]) -> str:
    return str(annotation.get("updated_at") or annotation.get("created_at") or "")


def _document(task: Mapping[str, Any], read: list[_Annotation], where: str) -> GoldDocument:
    data = task["data"]
    text = data.get("text")
    if not isinstance(text, str):
        raise GoldError(f"{where}: no string 'text' in its data")
    id_ = data.get("doc_id", data.get("id", task.get("id")))
    if id_ is None:
        raise GoldError(f"{where}: no 'doc_id' in its data, and no id")
    # All at once: what one person marked may not tell how the tool counts.
    regions = [(n, region) for n, one in enumerate(read) for region in one.quoted]
    found = anchored(text, [read[n].quoted[region] for n, region in regions], _UNITS)
    if found is None:
        raise GoldError(f"{where}: the marked words differ from the text at their offsets")
    places: list[dict[str, Fragment]] = [{} for _ in read]
    for (n, region), fragments in zip(regions, found.spans, strict=True):
        places[n][region] = fragments[0]
    annotators: dict[str, tuple[GoldSpan, ...]] = {}
    for one, at in zip(read, places, strict=True):
        annotators.setdefault(one.annotator, one.spans(at))
    return GoldDocument(
        str(id_),
        found.text,
        read[0].spans(places[0]),
        read[0].statements(places[0]),
        annotators if len(annotators) > 1 else {},
    )


def _annotation(annotation: Mapping[str, Any], where: str) -> _Annotation:
    who = annotation.get("completed_by")
    read = _Annotation(
        str(who.get("email") or who.get("id")) if isinstance(who, dict) else str(who)
    )
    for number, one in enumerate(_objects(annotation.get("result") or [], where, "result")):
        kind, value, id_ = one.get("type"), one.get("value"), str(one.get("id"))
        if not isinstance(value, dict):
            value = {}
        if kind in _LABELS:
            read.quoted[id_] = _quoted(value, f"{where}, result {number}")
            read.labels.setdefault(id_, []).extend(map(str, value.get(kind) or ()))
        elif kind == "choices":
            read.status[id_] = frozenset(map(str, value.get("choices") or ())) & _STATUS
        elif kind == "relation":
            for type_ in one.get("labels") or ("related",):
                read.links.append((str(type_), str(one.get("from_id")), str(one.get("to_id"))))
    return read


def _quoted(value: Mapping[str, Any], where: str) -> Quoted:
    # Of HyperText, ``start`` and ``end`` are XPaths, and the offsets stand beside.
    value = value.get("globalOffsets") or value
    start, end, words = value.get("start"), value.get("end"), value.get("text")
    if not isinstance(start, int) or not isinstance(end, int):
        raise GoldError(f"{where}: 'start' and 'end' must be integers; annotate plain text")
    return Quoted(((start, end),), words if isinstance(words, str) else None)
