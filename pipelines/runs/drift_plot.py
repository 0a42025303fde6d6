"""Two profiles as a plot: for each measure a point for each run, on an axis that a group shares."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from pipelines.markup.svg import AFTER, BEFORE, QUIET, Svg
from pipelines.runs.drift import Drift, MeasureChange

_WIDTH, _NAMES, _AXIS, _ROW = 860, 290, 330, 24


def drift_svg(drift: Drift, names: tuple[str, str], every: bool = False) -> str:
    """An SVG of the measures that moved, or of every one; ``names``: of the two runs."""
    shown = [one for one in drift.differences if one.moved or every]
    moved = sum(one.moved for one in drift.differences)
    title = f"{moved} of {len(drift.differences)} measures moved"
    svg = Svg(_WIDTH, title, f"What {names[1]} found, compared with {names[0]}.")
    svg.text(20, 30, title, kind="head")
    for at, (kind, name, documents) in enumerate(
        [(BEFORE, names[0], drift.before.documents), (AFTER, names[1], drift.after.documents)]
    ):
        svg.dot(26.0, 52.0 + at * 22, kind)
        svg.text(40, 57 + at * 22, f"{name}: {documents:,} documents")
    y = 118
    key = _group
    for (group, unit), members in groupby(sorted(shown, key=key), key=key):
        y = _drawn(svg, f"{group} ({unit})", list(members), y)
    if not shown:
        svg.text(20, y, "Nothing moved beyond chance.", kind=QUIET)
    return svg.render(y + 20)


def _group(one: MeasureChange) -> tuple[str, str]:
    return one.measure.group, one.measure.unit


def _drawn(svg: Svg, title: str, members: Sequence[MeasureChange], y: int) -> int:
    """Draw a group from ``y`` on; where the next begins."""
    most = max([v for one in members for v in (one.before, one.after) if v is not None] or [1.0])
    most = most or 1.0
    svg.text(20, y, title, kind="head")
    svg.text(_NAMES, y, "0", kind=QUIET)
    svg.text(_NAMES + _AXIS, y, _number(most), anchor="end", kind=QUIET)
    for one in members:
        y += _ROW
        middle = y - 4.5
        svg.line(_NAMES, middle, _NAMES + _AXIS, middle)
        svg.text(_NAMES - 14, y, _shortened(one.measure.name), anchor="end")
        for value, kind in ((one.before, BEFORE), (one.after, AFTER)):
            if value is not None:
                svg.dot(_NAMES + _AXIS * value / most, middle, kind)
        words = " to ".join(map(_number, (one.before, one.after)))
        svg.text(_NAMES + _AXIS + 14, y, words + (", moved" if one.moved else ""))
    return y + 40


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _shortened(name: str) -> str:
    return name if len(name) <= 38 else f"{name[:37]}…"
