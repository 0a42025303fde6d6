"""Drift in the terminal: a table with a small plot per measure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from pipelines.runs.drift import Drift, MeasureChange

_BAR = 21


def drift_table(drift: Drift, every: bool = False) -> Table:
    """The measures that moved, or every one, surest first."""
    from pipelines.runs.drift import LEAST_DOCUMENTS

    moved = sum(one.moved for one in drift.differences)
    title = (
        f"{moved} of {len(drift.differences)} measures moved; documents: "
        f"{drift.before.documents:,}, then {drift.after.documents:,}"
    )
    few = min(drift.before.documents, drift.after.documents) < LEAST_DOCUMENTS
    caption = f"not judged: a measure needs {LEAST_DOCUMENTS} documents in each run"
    shown = [one for one in drift.differences if one.moved or every]
    return differences_table(shown, title, caption if few else None, bold_moved=every)


def differences_table(
    differences: Sequence[MeasureChange],
    title: str,
    caption: str | None = None,
    bold_moved: bool = False,
) -> Table:
    """A row per measure: its values, and a plot from 0 to the larger one (○ before, ● after)."""
    table = Table(title=title, box=box.SIMPLE_HEAD, caption=caption)
    table.add_column("what", overflow="fold")
    for name in ("before", "after"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("○ to ●", no_wrap=True, min_width=_BAR)
    table.add_column("q", justify="right", no_wrap=True)
    for one in differences:
        measure = one.measure
        table.add_row(
            Text(f"{measure.group}: {measure.name} ({measure.unit})"),
            *("–" if value is None else f"{value:,.3f}" for value in (one.before, one.after)),
            dumbbell(one.before, one.after),
            f"{one.q:.3f}" if one.q >= 0.001 else "<0.001",
            style="bold" if one.moved and bold_moved else None,
        )
    return table


def dumbbell(before: float | None, after: float | None) -> Text:
    """Two values on a line from 0 to the larger one."""
    if before is None or after is None:
        return Text("")
    most = max(before, after) or 1.0
    old, new = (round(value / most * (_BAR - 1)) for value in (before, after))
    cells = [" "] * _BAR
    for at in range(min(old, new), max(old, new)):
        cells[at] = "─"
    cells[old] = "○"
    cells[new] = "●"
    return Text("".join(cells))
