"""Finding the documents of a unit that end their process, and setting them aside.

What is known of a unit survives its process: it is written before every dangerous moment. A unit
is first tried whole. When its process died twice, its rows are tried in groups, one group at a
time and nothing else beside it; the group in which the process dies is cut in eight, down to a
single row, and a single row that does it again and again is poison. No accident from outside (a
lost node, an operator's kill) can make a sound row poison unless it strikes that row, alone in its
process, as many times.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

_WHOLE_TRIES = 2
_PARTS = 8


@dataclass
class Hunt:
    """What is known of a unit's rows under one step. Rows are numbered from 0."""

    groups: list[tuple[int, int]]
    """Ranges [low, high) that cover every row which is not poison."""
    tries: int = 0
    """Processes that have begun the unit."""
    running: tuple[int, int] | None = None
    """The group that is being tried on its own."""
    strikes: dict[int, int] = field(default_factory=dict)
    """Processes that died with this row alone."""
    poison: list[int] = field(default_factory=list)
    """Rows that were given up."""

    @classmethod
    def of(cls, rows: int) -> Hunt:
        """Nothing known yet."""
        return cls(groups=[(0, rows)] if rows else [])

    @property
    def hunting(self) -> bool:
        """Whether the rows must be tried group by group."""
        return self.tries > _WHOLE_TRIES

    def begin(self, most_tries: int) -> None:
        """A process begins the unit: learn from the one that did not end it."""
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
        if self.strikes[low] >= most_tries:
            del self.groups[at]
            self.poison.append(low)

    def order(self) -> list[tuple[int, int]]:
        """The groups as they should be tried: small ones, which are suspects, first."""
        return sorted(self.groups, key=lambda group: (group[1] - group[0], group[0]))

    def as_json(self) -> bytes:
        """What is written between processes."""
        return json.dumps(vars(self)).encode()

    @classmethod
    def from_json(cls, content: bytes) -> Hunt:
        """The reverse of ``as_json``."""
        values = json.loads(content)
        return cls(
            groups=[(low, high) for low, high in values["groups"]],
            tries=values["tries"],
            running=tuple(values["running"]) if values["running"] else None,
            strikes={int(row): count for row, count in values["strikes"].items()},
            poison=values["poison"],
        )
