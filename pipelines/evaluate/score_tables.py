"""The scores of a comparison for the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pipelines.evaluate.compare import Comparison
from pipelines.evaluate.scores import Average, Score, Scores

_CONFUSIONS = 12


def score_table(result: Comparison | Scores) -> RenderableType:
    """Scores per label, micro and macro; of a Comparison also its most frequent errors.

    Precision, recall and F1 are strict; the last column is the F1 of the partial scheme.
    """
    scores = result.scores if isinstance(result, Comparison) else result
    parts: list[RenderableType] = [_scores(scores)]
    if isinstance(result, Comparison):
        for title, found in (
            ("Status of entities found", result.statements.status),
            ("Relations", result.statements.relations),
        ):
            if found:
                parts += ["", _statements(title, found)]
    if isinstance(result, Comparison) and result.confusions:
        parts += ["", _confusions(result)]
    if scores.intervals:
        spread = "; ".join(
            f"{scheme} {scores.intervals[scheme].low:.3f} to {scores.intervals[scheme].high:.3f}"
            for scheme in ("strict", "partial")
        )
        parts.append(Text(f"Micro F1, 95% of draws of as many documents: {spread}", style="dim"))
    remarks = _remarks(scores)
    if isinstance(result, Comparison) and result.realigned:
        remarks.append(
            "Gold documents placed on a text that differs in white space or Unicode form: "
            f"{result.realigned:,}."
        )
    parts += [Text(line, style="yellow") for line in remarks]
    return Group(*parts)


def _scores(scores: Scores) -> Table:
    # Narrow headings: label names must stay whole in 80 columns.
    shown = Table(box=box.SIMPLE_HEAD, title=f"{scores.documents:,} documents", title_style="bold")
    shown.add_column("", overflow="fold")
    for name in ("Gold", "Found", "Precision", "Recall", "F1", "Partial"):
        shown.add_column(name, justify="right", no_wrap=True)
    ranked = sorted(scores.per_label.items(), key=lambda pair: (-pair[1]["strict"].gold, pair[0]))
    for label, score in ranked:
        shown.add_row(Text(label), *_counts(score["strict"]), *_ratios(score))
    shown.add_section()
    shown.add_row("micro", *_counts(scores.micro["strict"]), *_ratios(scores.micro), style="bold")
    shown.add_row("macro", "", "", *_ratios(scores.macro))
    return shown


def _statements(title: str, scores: Mapping[str, Score]) -> Table:
    shown = Table(box=box.SIMPLE_HEAD, title=title, title_style="bold")
    shown.add_column("", overflow="fold")
    for name in ("Gold", "Found", "Precision", "Recall", "F1"):
        shown.add_column(name, justify="right", no_wrap=True)
    for name, score in scores.items():
        ratios = [f"{x:.3f}" for x in (score.precision, score.recall, score.f1)]
        shown.add_row(Text(name), *_counts(score), *ratios)
    return shown


def _counts(score: Score) -> tuple[str, str]:
    return f"{score.gold:,}", f"{score.predicted:,}"


def _ratios(scores: Mapping[str, Score] | Mapping[str, Average]) -> list[str]:
    strict, partial = scores["strict"], scores["partial"]
    return [f"{x:.3f}" for x in (strict.precision, strict.recall, strict.f1, partial.f1)]


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
