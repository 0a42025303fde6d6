"""Agreement between annotators: F1 of one person's spans against another's.

Cohen's kappa needs a count of what nobody marked, which spans of text do not have; where that
count is large, kappa approaches F1 (Hripcsak and Rothschild, JAMIA 2005). Strict F1 is the same
whichever of the two counts as gold.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

from rich import box
from rich.table import Table
from rich.text import Text

from pipelines.evaluate.gold import GoldDocument, GoldSpan
from pipelines.evaluate.scores import score


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two annotators, the number of documents that both annotated, and F1 over these."""

    first: str
    second: str
    documents: int
    strict: float
    partial: float


def agreements(documents: Iterable[GoldDocument]) -> list[Agreement]:
    """The agreement of every two annotators with common documents, by their names."""
    common: dict[tuple[str, str], dict[str, tuple[tuple[GoldSpan, ...], ...]]] = {}
    for document in documents:
        for pair in combinations(sorted(document.annotators), 2):
            marked = tuple(document.annotators[name] for name in pair)
            common.setdefault(pair, {})[document.id] = marked
    found = []
    for pair, both in sorted(common.items()):
        first, second = ({i: marked[side] for i, marked in both.items()} for side in (0, 1))
        micro = score(first, second, resamples=0).micro
        found.append(Agreement(*pair, len(both), micro["strict"].f1, micro["partial"].f1))
    return found


def agreement_table(found: Iterable[Agreement]) -> Table:
    """A row for every two annotators."""
    shown = Table(box=box.SIMPLE_HEAD, title="Agreement of annotators (F1)", title_style="bold")
    for name in ("Annotator", "Annotator"):
        shown.add_column(name, overflow="fold")
    for name in ("Documents", "Strict", "Partial"):
        shown.add_column(name, justify="right", no_wrap=True)
    for one in found:
        values = f"{one.documents:,}", f"{one.strict:.3f}", f"{one.partial:.3f}"
        shown.add_row(Text(one.first), Text(one.second), *values)
    return shown
