"""Carrying over: in a changed file, rows with an unchanged document keep their results.

A row is the same document when its id and its content are the same. Its old rows are copied into
the new unit, and no model sees it again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.runs.plan import RunPlan
from pipelines.tables.folder import SinkFolder
from pipelines.tables.snapshot import Snapshot

CARRIED = b"carried"
"""Key of a unit's schema metadata: where the rows that are carried over are, as JSON."""
# Hashes of replaced documents that a task holds to find those that moved to a new file: some 60 MB.
_MOST_MOVED = 250_000
_IDENTITY = ["doc_id", "status", "content_hash"]
# These follow the file that the document is in now, and its markup, not what they were.
_FOLLOWS = ("source", "source_version", "source_row", "original_hash", "problems")


def content_hash(content: str | bytes, prompt: str | None = None) -> str:
    """BLAKE2b-128 of a text's UTF-8 or a picture's bytes, and of the row's own prompt, 32 hex
    digits."""
    content = content.encode() if isinstance(content, str) else content
    digest = hashlib.blake2b(content, digest_size=16)
    if prompt is not None:
        digest.update(b"\0prompt\0" + prompt.encode())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class StoredUnit:
    """A live unit and where its rows are: paths below the sink."""

    run_id: str
    unit: str
    documents: tuple[str, ...]
    entities: tuple[str, ...]
    relations: tuple[str, ...]

    @property
    def mark(self) -> str:
        """Its name in the column ``prior`` of a unit that is being read."""
        return f"{self.run_id}/{self.unit}"

    def rows(
        self, folder: SinkFolder, table: str, columns: list[str] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Its rows of a table."""
        mine = (pc.field("run_id") == self.run_id) & (pc.field("unit") == self.unit)
        wanted = None if columns is None else [*columns, "run_id", "unit"]
        for path in getattr(self, table):
            yield from folder.read_table(path, wanted, mine).to_pylist()


def prior_units(snapshot: Snapshot, plan: RunPlan) -> dict[str, tuple[StoredUnit, ...]]:
    """Return by file the live units that a plan replaces and may carry rows over from.

    For files that no live unit covers these are all that the same models made, since a document
    may have moved, where they have no more documents than one task can hold the hashes of.
    """
    if plan.increment is None:
        return {}
    replaced = set(plan.increment.replaces)
    live = [one for one in snapshot.units if one.key in replaced]
    places = {
        table: snapshot.paths(table, replaced) for table in ("documents", "entities", "relations")
    }
    found: dict[str, list[StoredUnit]] = {}
    anywhere: list[StoredUnit] = []
    documents = 0
    for one in live:
        stored = StoredUnit(
            one.run_id, one.unit, *(places[table].get(one.key, ()) for table in places)
        )
        if one.identity == plan.identity or plan.increment.keep_models:
            for uri in {part.uri for part in one.slices}:
                found.setdefault(uri, []).append(stored)
        if one.identity == plan.identity:
            documents += one.documents
            anywhere.append(stored)
    prior = {uri: tuple(stored) for uri, stored in found.items()}
    if anywhere and documents <= _MOST_MOVED:
        known = {part.uri for one in snapshot.units for part in one.slices}
        new = {part.uri for unit in plan.units for part in unit.slices} - known
        prior |= dict.fromkeys(new, tuple(anywhere))  # one object, however many files there are
    return prior


class Carrier:
    """Finds the rows of units being read that need no model. Holds the ids and hashes of the
    replaced units of one file at a time: about 200 bytes a document."""

    def __init__(
        self,
        folder: SinkFolder,
        prior: Mapping[str, tuple[StoredUnit, ...]],
        retry_failed: bool,
        pictures: bool = True,
    ) -> None:
        """``pictures``: images may be carried over; see ``LoadedPipeline.carries_pictures``."""
        self._folder = folder
        self._prior = prior
        self._retry_failed = retry_failed
        self._pictures = pictures
        self._loaded: dict[str, dict[str, str]] = {}

    def mark(self, table: pa.Table) -> pa.Table:
        """A unit as it was read, with ``prior`` set to the stored unit a row is carried over from,
        and where these are in its metadata."""
        uris = sorted(set(table["source"].to_pylist()))
        stored = list(dict.fromkeys(one for uri in uris for one in self._prior.get(uri, ())))
        if not stored:
            return table
        self._loaded = {one.mark: self._loaded.get(one.mark) or self._hashes(one) for one in stored}
        marks = []
        columns = ["doc_id", "text", "image", "prompt", "error_type"]
        for row in table.select(columns).to_pylist():
            found = None
            content = row["text"] if row["image"] is None else row["image"]
            may = row["image"] is None or self._pictures
            if may and not row["error_type"] and content is not None:
                wanted = content_hash(content, row["prompt"])
                known = (m for m, ids in self._loaded.items() if ids.get(row["doc_id"]) == wanted)
                found = next(known, None)
            marks.append(found)
        column = pa.array(marks, pa.string())
        table = table.set_column(table.schema.get_field_index("prior"), "prior", column)
        used = [asdict(one) for one in stored if one.mark in set(marks)]
        metadata = {**(table.schema.metadata or {}), CARRIED: json.dumps(used).encode()}
        return table.replace_schema_metadata(metadata)

    def _hashes(self, stored: StoredUnit) -> dict[str, str]:
        return {
            row["doc_id"]: row["content_hash"]
            for row in stored.rows(self._folder, "documents", _IDENTITY)
            if row["content_hash"] and not (self._retry_failed and row["status"] == "failed")
        }


class Carried:
    """The old rows of the documents of a unit that are carried over."""

    def __init__(self, folder: SinkFolder, table: pa.Table) -> None:
        ids, marks = table["doc_id"].to_pylist(), table["prior"].to_pylist()
        wanted = {id_: mark for id_, mark in zip(ids, marks, strict=True) if mark}
        self._documents: dict[str, dict[str, Any]] = {}
        self._entities: dict[str, list[dict[str, Any]]] = {}
        self._relations: dict[str, list[dict[str, Any]]] = {}
        for fields in json.loads((table.schema.metadata or {}).get(CARRIED, b"[]")):
            stored = StoredUnit(**fields)
            for row in stored.rows(folder, "documents"):
                if wanted.get(row["doc_id"]) == stored.mark:
                    self._documents[row["doc_id"]] = row
            for name, found in (("entities", self._entities), ("relations", self._relations)):
                for row in stored.rows(folder, name):
                    if wanted.get(row["doc_id"]) == stored.mark:
                        found.setdefault(row["doc_id"], []).append(row)

    def document(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The old row of the documents table, placed in the file where ``row`` was read."""
        old = self._documents[row["doc_id"]]
        return old | {name: row[name] for name in _FOLLOWS}

    def entities(self, row: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Its rows of the entities table."""
        found = self._entities.get(row["doc_id"], [])
        return [entity | {"source": row["source"]} for entity in found]

    def relations(self, row: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Its rows of the relations table."""
        found = self._relations.get(row["doc_id"], [])
        return [relation | {"source": row["source"]} for relation in found]
