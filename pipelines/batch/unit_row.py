"""Pack a unit into one row of a Ray dataset, with metadata about the work done on it."""

from __future__ import annotations

import json
import time
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

_BUSY = b"busy"
"""Schema metadata key: busy seconds by stage, as JSON."""
_OVER = b"over"
"""Schema metadata key: stages with an actor that exceeded its GPU share, as JSON."""


def pack(unit: str, table: pa.Table) -> pa.Table:
    """Pack a unit into one row: its id, and its table as an Arrow stream.

    It is one row because Ray Data may split blocks between rows, and a unit must stay whole.
    """
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return pa.table(
        {
            "unit": pa.array([unit]),
            "content": pa.array([sink.getvalue().to_pybytes()], pa.large_binary()),
        }
    )


def characters(table: pa.Table) -> int:
    """The characters of all texts of a unit."""
    return pc.sum(pc.utf8_length(table["text"])).as_py() or 0


def unpack(block: pa.Table) -> tuple[str, pa.Table]:
    """The reverse of ``pack``."""
    with pa.ipc.open_stream(block["content"][0].as_buffer()) as reader:
        return block["unit"][0].as_py(), reader.read_all()


def add_busy(table: pa.Table, stage: str, seconds: float) -> pa.Table:
    """The unit with a stage's busy seconds recorded."""
    return _with_metadata(table, _BUSY, {**busy(table), stage: round(seconds, 6)})


def add_over(table: pa.Table, stage: str) -> pa.Table:
    """The unit with a stage recorded as over its GPU share."""
    return _with_metadata(table, _OVER, [*over(table), stage])


def busy(table: pa.Table) -> dict[str, float]:
    """Busy seconds for the unit, by stage."""
    return dict(json.loads((table.schema.metadata or {}).get(_BUSY, b"{}")))


def over(table: pa.Table) -> list[str]:
    """Return the stages with an actor that exceeded its GPU share after the unit."""
    return list(json.loads((table.schema.metadata or {}).get(_OVER, b"[]")))


def _with_metadata(table: pa.Table, key: bytes, value: Any) -> pa.Table:
    metadata = dict(table.schema.metadata or {})
    return table.replace_schema_metadata({**metadata, key: json.dumps(value).encode()})


class Stopwatch:
    """Measures the time with at least one call in flight, without double counting."""

    def __init__(self) -> None:
        self._calls = 0
        self._since = 0.0

    def enter(self) -> None:
        """A call starts."""
        if not self._calls:
            self._since = time.monotonic()
        self._calls += 1

    def leave(self) -> float:
        """A call ends: seconds since the previous end, or since the first call started."""
        self._calls -= 1
        now = time.monotonic()
        seconds, self._since = now - self._since, now
        return seconds
