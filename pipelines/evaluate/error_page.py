"""The error page: each document's text with its correct, wrong and missed spans."""

from __future__ import annotations

from actors.spans import Entity, Status
from pipelines.evaluate.compare import Compared, Comparison
from pipelines.evaluate.error_analysis import Pair, SpanOutcome
from pipelines.evaluate.gold import GoldSpan
from pipelines.markup.colours import BLUE, BROWN, GREEN, OCHRE, RED, SLATE, VIOLET, Look
from pipelines.markup.reader_page import Item, LegendEntry, Reader, Reading, render_page, save

# Each kind has its own hue; dashed: there is no prediction, or no gold.
_LOOKS = {
    SpanOutcome.CORRECT: Look(GREEN, "solid"),
    SpanOutcome.LABEL: Look(VIOLET, "solid"),
    SpanOutcome.BOUNDARY: Look(BLUE, "solid"),
    SpanOutcome.BOTH: Look(BROWN, "solid"),
    SpanOutcome.MISSED: Look(RED, "dashed"),
    SpanOutcome.SPURIOUS: Look(OCHRE, "dashed"),
    SpanOutcome.UNGROUNDED: Look(SLATE, "dotted"),
}
_CONFUSIONS = 40


def errors_html(comparison: Comparison, *, name: str, limit: int = 200) -> str:
    """Render the page as HTML, with the ``limit`` documents that have the most errors."""
    ranked = sorted(comparison.documents, key=lambda document: -document.errors)
    counts = dict.fromkeys(SpanOutcome, 0)
    for document in comparison.documents:
        for found in document.pairs:
            counts[found.kind] += 1
    kinds = [kind for kind in SpanOutcome if counts[kind]]
    keys = [
        LegendEntry(
            str(kind), _LOOKS[kind], counts[kind], tagged=False, quiet=kind is SpanOutcome.CORRECT
        )
        for kind in kinds
    ]
    number = {kind: i for i, kind in enumerate(kinds)}
    shown = ranked[:limit]
    readings = [_reading(document, number) for document in shown]
    statuses = {status: sum(r.status == status for r in readings) for status in _STATUSES}
    scores = comparison.scores
    return render_page(
        "evaluate/errors.html",
        Reader(keys, readings, ("error", "errors")),
        name=name,
        scores=scores,
        labels=sorted(scores.per_label.items(), key=lambda p: (-p[1]["strict"].gold, p[0])),
        confusions=[(c, number[c.kind]) for c in comparison.confusions[:_CONFUSIONS]],
        more=len(comparison.confusions) - _CONFUSIONS,
        sampled=len(shown) < len(ranked),
        statuses=[(status, count) for status, count in statuses.items() if count],
        scored=any(e.score is not None for d in shown for p in d.pairs if (e := p.predicted)),
        plain_status="errors",
        key_word="outcome",
        empty="The gold has no documents.",
    )


def write_errors(path: str, comparison: Comparison, *, name: str, limit: int = 200) -> None:
    """Write the error page to a path or fsspec URL."""
    save(path, errors_html(comparison, name=name, limit=limit))


_STATUSES = ("errors", "right", "failed", "absent")


def _reading(document: Compared, number: dict[SpanOutcome, int]) -> Reading:
    status, notices = "errors" if document.errors else "right", []
    if document.status is None:
        status = "absent"
        notices.append(
            (
                "warn",
                "The run does not contain this document: all of its gold spans count as missed.",
            )
        )
    elif document.status is Status.FAILED:
        status = "failed"
        notices.append(
            ("bad", "This document failed in the run: all of its gold spans count as missed.")
        )
    items = [item for found in document.pairs for item in _items(found, number[found.kind])]
    return Reading(document.doc_id, status, document.text, items, tuple(notices))


def _items(found: Pair[GoldSpan, Entity], key: int) -> list[Item]:
    gold, predicted = found.gold, found.predicted
    facts = [("outcome", str(found.kind))]
    if gold:
        facts.append(("gold", f"{gold.label} {gold.start}–{gold.end}"))
    if predicted:
        place = "" if predicted.start is None else f" {predicted.start}–{predicted.end}"
        facts.append(("predicted", f"{predicted.label}{place}"))
        if predicted.model:
            facts.append(("model", predicted.model))
    score = predicted.score if predicted else None
    if gold and predicted and found.kind in (SpanOutcome.BOUNDARY, SpanOutcome.BOTH):
        # Two overlapping marks, so that both pairs of boundaries are visible.
        return [
            _item(key, gold, None, f"gold {gold.label}", facts, echo=True),
            _item(key, predicted, score, predicted.label, facts),
        ]
    either = gold or predicted
    if either is None:
        return []
    tags = [span.label for span in (gold, predicted) if span]
    tag = " → ".join(tags) if found.kind is SpanOutcome.LABEL else tags[0]
    text = predicted.text if predicted and predicted.start is None else ""
    return [_item(key, either, score, tag, facts, text)]


def _item(
    key: int,
    span: GoldSpan | Entity,
    score: float | None,
    tag: str,
    facts: list[tuple[str, str]],
    text: str = "",
    *,
    echo: bool = False,
) -> Item:
    return Item(key, text, span.start, span.end, score, tag, tuple(facts), echo)
