"""Findings of detectors: a span, its category, and how certain the category is."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from actors.config.deidentify import Category
from actors.graphemes import whole


class Strength(IntEnum):
    """Which of two overlapping findings decides the category."""

    SHAPE = 0
    """It only looks like an identifier: a long number, two capitalised words."""
    MODEL = 1
    """Found by a model."""
    PATTERN = 2
    """A pattern that hardly anything else fits."""
    CHECKED = 3
    """A check digit or another validity check holds."""
    NAMED = 4
    """Words beside it say what it is."""


@dataclass(frozen=True, slots=True)
class Finding:
    """An identifier at ``[start, end)`` of a text; ``by`` names the rule, list or model."""

    start: int
    end: int
    category: Category
    by: str
    strength: Strength = Strength.PATTERN


class FindingIndex:
    """Findings by place, for texts with thousands of them."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self._findings = sorted(findings, key=lambda finding: finding.start)
        self._starts = [finding.start for finding in self._findings]
        self._longest = max((f.end - f.start for f in self._findings), default=0)

    def overlapping(self, start: int, end: int) -> Iterator[Finding]:
        """The findings that share a character with ``[start, end)``, by their start."""
        first = bisect_right(self._starts, start - self._longest)
        last = bisect_left(self._starts, end)
        return (finding for finding in self._findings[first:last] if finding.end > start)


def without_weaker(findings: Iterable[Finding]) -> list[Finding]:
    """Drop findings of mere shape that a stronger one explains: it covers them, or it is a date
    with the same digits."""
    kept = list(findings)
    strong = FindingIndex(finding for finding in kept if finding.strength > Strength.SHAPE)
    return [
        finding
        for finding in kept
        if finding.strength > Strength.SHAPE
        or not any(_explains(s, finding) for s in strong.overlapping(finding.start, finding.end))
    ]


def _explains(strong: Finding, weak: Finding) -> bool:
    """Of two that overlap."""
    if strong.start <= weak.start and weak.end <= strong.end:
        return True
    return strong.category is Category.DATE and weak.category in (Category.ID, Category.PHONE)


def disjoint(text: str, findings: Iterable[Finding]) -> list[Finding]:
    """Overlapping findings united, in order: every character that anyone found is covered.

    The category is that of the strongest, then the longest. Spans take in whole grapheme clusters
    and lose white space at their ends.
    """
    united: list[list[Finding]] = []
    end = -1
    for finding in sorted(filter(None, (_fitted(text, f) for f in findings)), key=_place):
        if finding.start < end:
            united[-1].append(finding)
        else:
            united.append([finding])
        end = max(end, finding.end)
    return [_united(group) for group in united]


def _fitted(text: str, finding: Finding) -> Finding | None:
    start, end = whole(text, finding.start, finding.end)
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if start == end:
        return None
    return Finding(start, end, finding.category, finding.by, finding.strength)


def _united(group: list[Finding]) -> Finding:
    best = max(group, key=lambda f: (f.strength, f.end - f.start, -f.start, f.category))
    end = max(finding.end for finding in group)
    return Finding(group[0].start, end, best.category, best.by, best.strength)


def _place(finding: Finding) -> tuple[int, int]:
    return finding.start, -finding.end
