"""Bisect a unit to find the documents that crash their worker, and quarantine them.

The state of a unit survives its worker: it is written before every attempt. A unit is first tried
whole. After two crashes its rows are tried in groups, one group at a time with nothing else in the
process. A group that crashes the worker is split into eight, down to single rows, and a single row
that crashes it repeatedly is poison. An external failure (a lost node, an operator's kill) makes a
good row poison only if it hits that row, alone in its process, that many times.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

_WHOLE_TRIES = 2
_PARTS = 8


@dataclass
class CrashBisection:
    """Crash history of a unit's rows in one stage. Rows are numbered from 0."""

    groups: list[tuple[int, int]]
    """Ranges [low, high) that cover every row that is not poison."""
    tries: int = 0
    """Number of processes that started the unit."""
    running: tuple[int, int] | None = None
    """The group that is currently tried on its own."""
    strikes: dict[int, int] = field(default_factory=dict)
    """Crashes while the row was processed alone, by row."""
    poison: list[int] = field(default_factory=list)
    """Quarantined rows."""

    @classmethod
    def of(cls, rows: int) -> CrashBisection:
        """The initial state of a unit with this many rows."""
        return cls(groups=[(0, rows)] if rows else [])

    @property
    def bisecting(self) -> bool:
        """True once the rows must be tried group by group."""
        return self.tries > _WHOLE_TRIES

    def begin(self, max_attempts: int) -> None:
        """Start a new attempt, accounting for the one that crashed."""
        self.tries += 1
        if self.running is None:
            return
        low, high = self.running
        at = self.groups.index(self.running)
        self.running = None
        if high - low > 1:
            step = -(-(high - low) // _PARTS)
            self.groups[at : at + 1] = [(i, min(i + step, high)) for i in range(low, high, step)]
            return
        self.strikes[low] = self.strikes.get(low, 0) + 1
        if self.strikes[low] >= max_attempts:
            del self.groups[at]
            self.poison.append(low)

    def order(self) -> list[tuple[int, int]]:
        """The groups in the order to try them: small ones, the suspects, first."""
        return sorted(self.groups, key=lambda group: (group[1] - group[0], group[0]))

    def as_json(self) -> bytes:
        """The persisted form."""
        return json.dumps(vars(self)).encode()

    @classmethod
    def from_json(cls, content: bytes) -> CrashBisection:
        """The reverse of ``as_json``."""
        values = json.loads(content)
        return cls(
            groups=[(low, high) for low, high in values["groups"]],
            tries=values["tries"],
            running=tuple(values["running"]) if values["running"] else None,
            strikes={int(row): count for row, count in values["strikes"].items()},
            poison=values["poison"],
        )
