"""A reliability diagram (DeGroot and Fienberg, 1983): of predictions with about a score, which
fraction is correct. Points below the diagonal are overconfident."""

from __future__ import annotations

from pipelines.evaluate.calibration import ScoreCalibration, wilson
from pipelines.markup.svg import AFTER, QUIET, Svg

_WIDTH, _SIDE, _LEFT, _TOP, _BARS = 520, 400, 80, 84, 70


def reliability_svg(calibration: ScoreCalibration, name: str) -> str:
    """An SVG of all models' scores together, with Wilson's 95% interval of each range and, below,
    how many predictions each has."""
    found = calibration.reliability
    title = f"Reliability of the scores of {name}"
    error = f"expected calibration error {calibration.error:.3f}"
    svg = Svg(_WIDTH, title, f"Fraction correct by score; {error}.")
    svg.text(_LEFT, 30, title, kind="head")
    svg.text(_LEFT, 50, error, kind=QUIET)
    bottom = _TOP + _SIDE

    def x(value: float) -> float:
        return _LEFT + _SIDE * value

    def y(value: float) -> float:
        return bottom - _SIDE * value

    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        svg.line(x(tick), y(0), x(tick), y(0) + 5)
        svg.line(x(0) - 5, y(tick), x(0), y(tick))
        svg.text(x(0) - 10, y(tick) + 4, f"{tick:g}", anchor="end", kind=QUIET)
    svg.line(x(0), y(0), x(1), y(0))
    svg.line(x(0), y(0), x(0), y(1))
    svg.line(x(0), y(0), x(1), y(1))
    svg.text(x(0), _TOP - 6, "fraction correct", kind=QUIET)
    most = max((one.count for one in found), default=1)
    for one in found:
        low, high = wilson(round(one.correct * one.count), one.count)
        svg.line(x(one.score), y(low), x(one.score), y(high))
        height = _BARS * one.count / most
        foot = bottom + 30 + _BARS
        width = x(one.high) - x(one.low) - 2
        svg.bar(x(one.low) + 1, foot - height, width, height)
        svg.text(x((one.low + one.high) / 2), foot + 15, f"{one.count:,}", anchor="middle")
    svg.path([(x(one.score), y(one.correct)) for one in found])
    for one in found:
        svg.dot(x(one.score), y(one.correct), AFTER)
    svg.text(x(0), bottom + _BARS + 66, "score, 0 to 1; bars: predictions", kind=QUIET)
    if not found:
        svg.text(x(0.5), y(0.5), "No prediction has a score.", anchor="middle", kind=QUIET)
    return svg.render(bottom + _BARS + 86)
