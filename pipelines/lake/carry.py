"""Carrying over: rows of a changed file whose document did not change keep their results.

A row is the same document when its id and its content are the same. Its old rows are copied into
the new unit, and no model sees it again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipelines.lake.layout import Sink
from pipelines.lake.plan import Plan
from pipelines.lake.state import Held

Place = tuple[str, str]
"""A run and a unit of it."""
# Documents of replaced units whose hashes a task holds to find those that moved to a new file:
# some 60 MB.
_MOST_MOVED = 250_000
_IDENTITY = ["doc_id", "status", "content_hash"]
# These follow the file that the document is in now, not the one it was in.
_FOLLOWS = ("source", "source_version", "source_row")


def content_hash(content: str | bytes, prompt: str | None = None) -> str:
    """BLAKE2b-128 of a text's UTF-8 or a picture's bytes, and of the row's own prompt, 32 hex
    digits."""
    content = content.encode() if isinstance(content, str) else content
    digest = hashlib.blake2b(content, digest_size=16)
    if prompt is not None:
        digest.update(b"\0prompt\0" + prompt.encode())
    return digest.hexdigest()


def prior_units(base: Iterable[Held], plan: Plan) -> dict[str, tuple[Place, ...]]:
    """By file, the units of ``base`` that a plan replaces and whose rows it may carry over.

    For files that ``base`` does not know these are all that the same models made, since a document
    may have moved, where they have no more documents than one task can hold the hashes of.
    """
    if plan.increment is None:
        return {}
    replaced = set(plan.increment.replaces)
    found: dict[str, list[Place]] = {}
    anywhere: list[Place] = []
    known: set[str] = set()
    documents = 0
    for held in base:
        known |= {part.uri for part in held.slices}
        place = (held.run_id, held.unit)
        if place not in replaced:
            continue
        if held.fingerprint == plan.fingerprint or plan.increment.keep_models:
            for uri in {part.uri for part in held.slices}:
                found.setdefault(uri, []).append(place)
        if held.fingerprint == plan.fingerprint:
            documents += held.documents
            anywhere.append(place)
    if documents <= _MOST_MOVED:
        new = {part.uri for unit in plan.units for part in unit.slices} - known
        moved = tuple(anywhere)  # one object, however many files there are
        return {uri: tuple(places) for uri, places in found.items()} | (
            dict.fromkeys(new, moved) if moved else {}
        )
    return {uri: tuple(places) for uri, places in found.items()}


class Carrier:
    """Finds the rows of units being read that need no model. Holds the ids and hashes of the
    replaced units of one file at a time: about 200 bytes a document."""

    def __init__(
        self, sink: Sink, prior: Mapping[str, tuple[Place, ...]], retry_failed: bool
    ) -> None:
        self._sink = sink
        self._prior = prior
        self._retry_failed = retry_failed
        self._loaded: dict[Place, dict[str, str]] = {}

    def mark(self, table: pa.Table) -> pa.Table:
        """A unit as it was read, with ``prior`` set to "run/unit" where a row is carried over."""
        uris = sorted(set(table["source"].to_pylist()))
        places = list(dict.fromkeys(p for uri in uris for p in self._prior.get(uri, ())))
        if not places:
            return table
        self._loaded = {p: self._loaded.get(p) or self._hashes(p) for p in places}
        marks = []
        columns = ["doc_id", "text", "image", "prompt", "error_type"]
        for row in table.select(columns).to_pylist():
            found = None
            content = row["text"] if row["image"] is None else row["image"]
            if not row["error_type"] and content is not None:
                wanted = content_hash(content, row["prompt"])
                found = next(
                    (p for p in places if self._loaded[p].get(row["doc_id"]) == wanted), None
                )
            marks.append("/".join(found) if found else None)
        column = pa.array(marks, pa.string())
        return table.set_column(table.schema.get_field_index("prior"), "prior", column)

    def _hashes(self, place: Place) -> dict[str, str]:
        (table,) = self._sink.tables(place[0], "documents", [place[1]], _IDENTITY)
        return {
            row["doc_id"]: row["content_hash"]
            for row in table.to_pylist()
            if row["content_hash"] and not (self._retry_failed and row["status"] == "failed")
        }


class Carried:
    """The old rows of the documents of a unit that are carried over."""

    def __init__(self, sink: Sink, table: pa.Table) -> None:
        marks: Sequence[str | None] = table["prior"].to_pylist()
        wanted = {
            doc_id: mark
            for doc_id, mark in zip(table["doc_id"].to_pylist(), marks, strict=True)
            if mark
        }
        self._documents: dict[str, dict[str, Any]] = {}
        self._entities: dict[str, list[dict[str, Any]]] = {}
        for mark in sorted(set(wanted.values())):
            run, _, unit = mark.partition("/")
            for part in sink.tables(run, "documents", [unit]):
                for row in part.to_pylist():
                    if wanted.get(row["doc_id"]) == mark:
                        self._documents[row["doc_id"]] = row
            for part in sink.tables(run, "entities", [unit]):
                for row in part.to_pylist():
                    if wanted.get(row["doc_id"]) == mark:
                        self._entities.setdefault(row["doc_id"], []).append(row)

    def document(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The old row of the documents table, placed in the file where ``row`` was read."""
        old = self._documents[row["doc_id"]]
        return old | {name: row[name] for name in _FOLLOWS}

    def entities(self, row: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Its rows of the entities table."""
        found = self._entities.get(row["doc_id"], [])
        return [entity | {"source": row["source"]} for entity in found]
