"""Counts of documents and entities, and their profile, per unit and per run."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from actors.spans import Status
from pipelines.runs.profile import Profile


@dataclass
class Tally:
    """Counts of documents and entities, and their profile, per unit and per run."""

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
    """Documents with results carried over from an earlier run, by status."""
    copied: Counter[str] = field(default_factory=Counter)
    """Documents that got the answer to another of the same content, by model."""
    deidentified: Counter[str] = field(default_factory=Counter)
    """De-identified documents by status: ok, residue, failed."""
    over_share: Counter[str] = field(default_factory=Counter)
    """Units after which an actor exceeded its GPU memory share, by model."""
    profile: Profile = field(default_factory=Profile)
    """The profile of the documents that are not carried over."""

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
        """The counts as plain dictionaries, largest count first."""
        return {
            name: dict(counter.most_common())
            for name, counter in vars(self).items()
            if isinstance(counter, Counter)
        }

    def as_json(self) -> str:
        """The counts and the profile as JSON."""
        return json.dumps(self.as_dict() | {"profile": self.profile.as_dict()})

    @classmethod
    def from_json(cls, content: str) -> Tally:
        """The reverse of ``as_json``; without a profile where the JSON has none."""
        values = json.loads(content)
        profile = Profile.from_dict(values.pop("profile", Profile().as_dict()))
        return cls(profile=profile, **{name: Counter(counts) for name, counts in values.items()})
