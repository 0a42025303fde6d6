"""Counts of documents and entities, per unit and per run."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from actors.spans import Status


@dataclass
class Tally:
    """Counts of documents and entities, per unit and per run."""

    documents: Counter[str] = field(default_factory=Counter)
    """By status."""
    entities: Counter[str] = field(default_factory=Counter)
    """By label."""
    grounding: Counter[str] = field(default_factory=Counter)
    """Entities by grounding."""
    failures: Counter[str] = field(default_factory=Counter)
    """Failed documents by error type."""
    seconds: Counter[str] = field(default_factory=Counter)
    """Model seconds by model."""
    tokens: Counter[str] = field(default_factory=Counter)
    """Prompt and completion tokens by model."""
    busy: Counter[str] = field(default_factory=Counter)
    """Busy seconds of the workers, by stage: read, each model, write."""
    carried: Counter[str] = field(default_factory=Counter)
    """Documents whose results are carried over from an earlier run, by status."""
    deidentified: Counter[str] = field(default_factory=Counter)
    """De-identified documents by status: ok, residue, failed."""
    over_share: Counter[str] = field(default_factory=Counter)
    """Units after which an actor exceeded its GPU memory share, by model."""

    def __iadd__(self, other: Tally) -> Tally:
        for name, counter in vars(other).items():
            getattr(self, name).update(counter)
        return self

    @property
    def total(self) -> int:
        """Documents of any status."""
        return sum(self.documents.values())

    @property
    def failure_rate(self) -> float:
        """Failed documents as a fraction of all, 0 to 1."""
        return self.documents[Status.FAILED.value] / max(self.total, 1)

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """As plain dictionaries, largest count first."""
        return {name: dict(counter.most_common()) for name, counter in vars(self).items()}

    def as_json(self) -> str:
        """The same as JSON."""
        return json.dumps(self.as_dict())

    @classmethod
    def from_json(cls, content: str) -> Tally:
        """The reverse of ``as_json``."""
        return cls.from_dict(json.loads(content))

    @classmethod
    def from_dict(cls, values: dict[str, dict[str, Any]]) -> Tally:
        """The reverse of ``as_dict``."""
        return cls(**{name: Counter(counts) for name, counts in values.items()})
