"""Score a run's spans against gold annotations, and show the errors."""

from __future__ import annotations

from pipelines.evaluate.agreement import Agreement, agreement_table, agreements
from pipelines.evaluate.compare import Compared, Comparison, Prediction, compare
from pipelines.evaluate.error_analysis import Confusion, Pair, SpanOutcome, confusions, pair
from pipelines.evaluate.error_page import errors_html, write_errors
from pipelines.evaluate.gold import GoldDocument, GoldError, GoldSpan, load_gold
from pipelines.evaluate.score_tables import score_table
from pipelines.evaluate.scores import (
    SCHEMES,
    Average,
    Interval,
    Score,
    Scores,
    SpanLike,
    score,
)

__all__ = [
    "SCHEMES",
    "Agreement",
    "Average",
    "Compared",
    "Comparison",
    "Confusion",
    "GoldDocument",
    "GoldError",
    "GoldSpan",
    "Interval",
    "Pair",
    "Prediction",
    "Score",
    "Scores",
    "SpanLike",
    "SpanOutcome",
    "agreement_table",
    "agreements",
    "compare",
    "confusions",
    "errors_html",
    "load_gold",
    "pair",
    "score",
    "score_table",
    "write_errors",
]
