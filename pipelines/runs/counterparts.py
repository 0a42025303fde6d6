"""Reading both sides of de-identification back: each document with what may leave of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from pipelines.runs.results import check_deidentified, rows_by_id
from pipelines.tables.snapshot import Snapshot, keys_of

_RELEASED = ["doc_id", "status", "error_type", "text"]


@dataclass(frozen=True, slots=True)
class Counterpart:
    """A document and its de-identified counterpart. ``edits`` and ``residue`` are rows of the table
    ``reidentification``, ``text`` is None where nothing may leave."""

    doc_id: str
    status: str
    error_type: str
    original: str | None
    text: str | None
    edits: tuple[dict[str, Any], ...]
    residue: tuple[dict[str, Any], ...]


def read_counterparts(
    snapshot: Snapshot, run_id: str, most_files: int = 0
) -> Iterator[Counterpart]:
    """The live documents that a run wrote, one file in memory at a time; with ``most_files`` those
    of so many files, evenly spread. Raises RunError for a sink that was never de-identified."""
    check_deidentified(snapshot)
    units = [one.key for one in snapshot.units if one.run_id == run_id]
    pairs = list(keys_of(snapshot.folder, snapshot.table("reidentification"), units))
    step = max(1, len(pairs) // most_files) if most_files else 1
    old_paths = snapshot.paths("documents", units)
    new_paths = snapshot.paths("deidentified/documents", units)
    mine = pc.field("run_id") == run_id
    for file, keys in pairs[::step]:
        originals = rows_by_id(snapshot, keys, old_paths, ["doc_id", "text"])
        released = rows_by_id(snapshot, keys, new_paths, _RELEASED)
        table = snapshot.folder.read_table(f"reidentification/{file.path}", None, mine)
        for row in table.to_pylist():
            (old,), (new,) = originals.of(row["doc_id"]), released.of(row["deidentified_id"])
            yield Counterpart(
                doc_id=row["doc_id"],
                status=new["status"],
                error_type=new["error_type"],
                original=old["text"],
                text=new["text"],
                edits=tuple(row["edits"] or ()),
                residue=tuple(row["residue"] or ()),
            )
