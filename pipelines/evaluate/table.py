"""The scores of a comparison for the terminal."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pipelines.evaluate.compare import Comparison
from pipelines.evaluate.scores import Average, Score, Scores

_CONFUSIONS = 12


def table(result: Comparison | Scores) -> RenderableType:
    """Scores per label, micro and macro; of a Comparison also its most frequent errors."""
    scores = result.scores if isinstance(result, Comparison) else result
    parts: list[RenderableType] = [_scores(scores)]
    if isinstance(result, Comparison) and result.confusions:
        parts += ["", _confusions(result)]
    parts += [Text(line, style="yellow") for line in _remarks(scores)]
    return Group(*parts)


def _scores(scores: Scores) -> Table:
    shown = Table(box=box.SIMPLE_HEAD, title=f"{scores.documents:,} documents", title_style="bold")
    shown.add_column("")
    for name in ("Gold", "Predicted", "Precision", "Recall", "F1 strict", "F1 partial"):
        shown.add_column(name, justify="right")
    ranked = sorted(scores.per_label.items(), key=lambda pair: (-pair[1]["strict"].gold, pair[0]))
    for label, score in ranked:
        strict = score["strict"]
        shown.add_row(
            Text(label), f"{strict.gold:,}", f"{strict.predicted:,}", *_ratios(strict),
            f"{score['partial'].f1:.3f}",
        )  # fmt: skip
    shown.add_section()
    micro, macro = scores.micro["strict"], scores.macro["strict"]
    shown.add_row(
        "micro", f"{micro.gold:,}", f"{micro.predicted:,}", *_ratios(micro),
        f"{scores.micro['partial'].f1:.3f}", style="bold",
    )  # fmt: skip
    shown.add_row("macro", "", "", *_ratios(macro), f"{scores.macro['partial'].f1:.3f}")
    if scores.intervals:
        low, high = scores.intervals["strict"], scores.intervals["partial"]
        shown.add_row(
            "micro, 95%", "", "", "", "", f"{low.low:.3f}–{low.high:.3f}",
            f"{high.low:.3f}–{high.high:.3f}", style="dim",
        )  # fmt: skip
    return shown


def _ratios(score: Score | Average) -> tuple[str, str, str]:
    return f"{score.precision:.3f}", f"{score.recall:.3f}", f"{score.f1:.3f}"


def _confusions(comparison: Comparison) -> Table:
    total = len(comparison.confusions)
    title = f"Errors ({_CONFUSIONS} of {total} kinds)" if total > _CONFUSIONS else "Errors"
    shown = Table(box=box.SIMPLE_HEAD, title=title, title_style="bold")
    for name in ("Gold", "Predicted", "What"):
        shown.add_column(name)
    shown.add_column("Times", justify="right")
    for c in comparison.confusions[:_CONFUSIONS]:
        shown.add_row(Text(c.gold or "–"), Text(c.predicted or "–"), str(c.kind), f"{c.count:,}")
    return shown


def _remarks(scores: Scores) -> list[str]:
    remarks = []
    if scores.missing:
        some = ", ".join(scores.missing[:3]) + (", …" if len(scores.missing) > 3 else "")
        remarks.append(
            f"Gold documents that are not in the run: {len(scores.missing):,}. All of their "
            f"entities count as missed: {some}"
        )
    if scores.ignored:
        remarks.append(f"Documents of the run without gold, not counted: {scores.ignored:,}.")
    if scores.ungrounded:
        remarks.append(
            f"Predictions not found in the text, counted as spurious: {scores.ungrounded:,}."
        )
    return remarks
