"""What holds in a sink: units of several runs that together have every document once.

Each commit writes the whole state after it, so that a reader needs one small file, however many
runs came before. A unit holds with all of its rows or not at all: what changes is written anew as
a unit of a later run, together with the rows of its old unit that did not change.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.lake.layout import RunError, Sink
from pipelines.lake.plan import SLICE, Plan, slice_table
from pipelines.source.units import Slice

_STATE = pa.schema(
    [
        ("run_id", pa.string()),
        ("unit", pa.string()),
        ("fingerprint", pa.string()),
        ("documents", pa.int64()),
        ("failed", pa.int64()),
        *SLICE,
    ]
)
TableName = Literal["documents", "entities"]


@dataclass(frozen=True, slots=True)
class Held:
    """A unit that holds: whose files it is, and how it came out. ``unit`` is empty for files
    without a row, which have no unit and are known all the same."""

    run_id: str
    unit: str
    fingerprint: str
    documents: int
    failed: int
    slices: tuple[Slice, ...]


@dataclass(frozen=True, slots=True)
class Current:
    """The rows of a sink that hold now: all rows of these files, one row per document."""

    sink: Sink
    run_id: str
    units: tuple[Held, ...]

    def files(self, table: TableName) -> list[str]:
        """Paths or URIs of the files of a table."""
        return [self.sink.file(held.run_id, table, held.unit) for held in self.units]

    def tables(self, table: TableName, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """The table, one unit in memory at a time."""
        for held in self.units:
            yield from self.sink.tables(held.run_id, table, [held.unit], columns)


def current(sink: Sink | str, run_id: str | None = None) -> Current:
    """What holds after a committed run; without one, after the latest.

    Raises RunError where there is no such run.
    """
    sink = Sink(sink) if isinstance(sink, str) else sink
    run_id = run_id or sink.latest()
    return Current(sink, run_id, tuple(held for held in read_state(sink, run_id) if held.unit))


def read_state(sink: Sink, run_id: str) -> list[Held]:
    """The state after a committed run; raises RunError where there is none."""
    content = sink.read(f"_runs/{run_id}/state.parquet")
    if content is None:
        raise RunError(f"{sink.path} has no committed run {run_id}")
    table = pq.read_table(io.BytesIO(content))
    columns = [table[name].to_pylist() for name in _STATE.names]
    found: dict[tuple[str, str], tuple[str, int, int, list[Slice]]] = {}
    for run, unit, fingerprint, documents, failed, *part in zip(*columns, strict=True):
        entry = found.setdefault((run, unit), (fingerprint, documents, failed, []))
        entry[3].append(Slice(*part))
    return [
        Held(run, unit, fingerprint, documents, failed, tuple(slices))
        for (run, unit), (fingerprint, documents, failed, slices) in found.items()
    ]


def write_state(sink: Sink, run_id: str, state: Iterable[Held]) -> None:
    """Write the state after a run, before its marker makes it count."""
    rows = (
        (
            part,
            {
                "run_id": held.run_id,
                "unit": held.unit,
                "fingerprint": held.fingerprint,
                "documents": held.documents,
                "failed": held.failed,
            },
        )
        for held in state
        for part in held.slices
    )
    sink.write_table(f"_runs/{run_id}/state.parquet", slice_table(rows, _STATE))


def state_after(
    sink: Sink, run_id: str, plan: Plan, counts: Mapping[str, tuple[int, int]]
) -> list[Held]:
    """The state once a run is committed. ``counts``: documents and failed ones, by unit.

    Raises RunError where the run builds on another than the latest commit: what was committed
    since would vanish from view.
    """
    held: list[Held] = []
    # Rows that are carried over may be of another fingerprint: their unit is then as stale as they.
    older: dict[str, str] = {}
    empty = list(plan.empty)
    if plan.increment is not None:
        latest = sink.latest()
        if latest != plan.increment.base:
            raise RunError(
                f"the run {latest} was committed while {run_id} worked on top of "
                f"{plan.increment.base}; discard it and begin again"
            )
        replaced = set(plan.increment.replaces)
        for was in read_state(sink, latest):
            if (was.run_id, was.unit) not in replaced:
                held += [was] if was.unit else []
            elif plan.increment.keep_models and was.fingerprint != plan.fingerprint:
                older |= {part.uri: was.fingerprint for part in was.slices}
    for unit in plan.units:
        found = [older[part.uri] for part in unit.slices if part.uri in older]
        fingerprint = found[0] if found else plan.fingerprint
        held.append(Held(run_id, unit.id, fingerprint, *counts[unit.id], unit.slices))
    if empty:
        held.append(Held(run_id, "", plan.fingerprint, 0, 0, tuple(empty)))
    return held
