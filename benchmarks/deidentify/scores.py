"""Scores: gold spans covered by findings, findings that touch gold, documents."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from actors.config.deidentify import Category
from actors.deidentify.names import PARTICLES, TITLES

STRUCTURED = frozenset(
    {
        Category.DATE,
        Category.PHONE,
        Category.FAX,
        Category.EMAIL,
        Category.URL,
        Category.IP,
        Category.NATIONAL_ID,
        Category.MRN,
        Category.HEALTH_PLAN,
        Category.ACCOUNT,
        Category.LICENSE,
        Category.VEHICLE,
        Category.DEVICE,
        Category.ID,
        Category.ZIP,
    }
)
"""Categories that a pattern can find."""

Span = tuple[int, int, str]
"""Start, end, and a category or another tool's name of it."""

_IDENTIFY_NOBODY = TITLES | PARTICLES | {"año", "anos", "años", "med", "autor"}
_WORD = re.compile(r"\w+")


@dataclass
class Counts:
    """Sums over the documents of a set."""

    gold: Counter[str] = field(default_factory=Counter)
    covered: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    numbered: Counter[bool] = field(default_factory=Counter)
    documents: int = 0
    clean: int = 0

    def add(self, text: str, gold: Sequence[Span], found: Sequence[Span]) -> None:
        """Count one document. A gold span counts as found where every letter and digit of it is
        covered, whatever the category, but for titles and particles that some corpora annotate
        with a name and others do not; a finding is right where it touches any gold span."""
        taken = {at for start, end, _ in found for at in range(start, end)}
        leaked = False
        for start, end, category in gold:
            self.gold[category] += 1
            covered = identifying(text, start, end) <= taken
            self.covered[category] += covered
            leaked = leaked or not covered
            if category in STRUCTURED and any(c.isdigit() for c in text[start:end]):
                self.numbered[covered] += 1
        for start, end, category in found:
            self.found[category] += 1
            self.right[category] += any(s < end and start < e for s, e, _ in gold)
        self.documents += 1
        self.clean += not leaked

    def scores(self) -> dict[str, object]:
        """Recall and precision by category and in all, and the share of clean documents."""
        structured = [c for c in self.gold if c in STRUCTURED]
        return {
            "documents": self.documents,
            "no_leak": _share(self.clean, self.documents),
            "recall": _share(self.covered.total(), self.gold.total()),
            "recall_structured": _share(
                sum(self.covered[c] for c in structured), sum(self.gold[c] for c in structured)
            ),
            # Some corpora call "raza caucásica" or "last week" an id or a date.
            "recall_structured_with_digits": _share(self.numbered[True], self.numbered.total()),
            "precision": _share(self.right.total(), self.found.total()),
            "categories": {
                category: {
                    "gold": self.gold[category],
                    "recall": _share(self.covered[category], self.gold[category]),
                    "found": self.found[category],
                    "precision": _share(self.right[category], self.found[category]),
                }
                for category in sorted({*self.gold, *self.found})
            },
        }


def identifying(text: str, start: int, end: int) -> set[int]:
    """The places of the letters and digits of a gold span that say who somebody is."""
    return {
        at
        for word in _WORD.finditer(text, start, end)
        if word[0].lower() not in _IDENTIFY_NOBODY
        for at in range(*word.span())
    }


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def ratio(ours: Mapping[str, object], theirs: Mapping[str, object], name: str) -> float | None:
    """Ours by theirs; None where either is missing or theirs is 0."""
    one, other = ours.get(name), theirs.get(name)
    if not isinstance(one, float) or not isinstance(other, float) or not other:
        return None
    return round(one / other, 3)
