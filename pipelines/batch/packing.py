"""A unit as one row of a Ray dataset, with notes on the work that was done on it."""

from __future__ import annotations

import json
import time
from typing import Any

import pyarrow as pa

_BUSY = b"busy"
"""Key of a unit's schema metadata: seconds that stages were busy for it, as JSON."""
_OVER = b"over"
"""Key of a unit's schema metadata: stages whose actor was over its share of a GPU, as JSON."""


def pack(unit: str, table: pa.Table) -> pa.Table:
    """A unit as one row of a Ray dataset: its id, and its table as an Arrow stream.

    One row, because Ray Data may split a block between any two rows, and a unit must stay whole.
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


def unpack(block: pa.Table) -> tuple[str, pa.Table]:
    """The reverse of ``pack``."""
    with pa.ipc.open_stream(block["content"][0].as_buffer()) as reader:
        return block["unit"][0].as_py(), reader.read_all()


def add_busy(table: pa.Table, stage: str, seconds: float) -> pa.Table:
    """The unit, with the seconds that a stage was busy for it."""
    return _noted(table, _BUSY, {**busy(table), stage: round(seconds, 6)})


def add_over(table: pa.Table, stage: str) -> pa.Table:
    """The unit, with a stage whose actor held more of its GPU than its share afterwards."""
    return _noted(table, _OVER, [*over(table), stage])


def busy(table: pa.Table) -> dict[str, float]:
    """Seconds that stages were busy for the unit, by stage."""
    return dict(json.loads((table.schema.metadata or {}).get(_BUSY, b"{}")))


def over(table: pa.Table) -> list[str]:
    """Stages whose actor held more of its GPU than its share after the unit."""
    return list(json.loads((table.schema.metadata or {}).get(_OVER, b"[]")))


def _noted(table: pa.Table, key: bytes, value: Any) -> pa.Table:
    metadata = dict(table.schema.metadata or {})
    return table.replace_schema_metadata({**metadata, key: json.dumps(value).encode()})


class Stopwatch:
    """Seconds in which at least one call was under way, each handed out once."""

    def __init__(self) -> None:
        self._calls = 0
        self._since = 0.0

    def enter(self) -> None:
        """A call begins."""
        if not self._calls:
            self._since = time.monotonic()
        self._calls += 1

    def leave(self) -> float:
        """A call ends: the seconds since the last one that ended, or since the first began."""
        self._calls -= 1
        now = time.monotonic()
        seconds, self._since = now - self._since, now
        return seconds
