from __future__ import annotations

import io
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nervaluate
import pytest
import seqeval.metrics
import seqeval.scheme
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from actors.spans import Entity, Grounding, Status, spanning
from pipelines.evaluate import (
    SCHEMES,
    Comparison,
    GoldDocument,
    GoldError,
    GoldSpan,
    Prediction,
    SpanOutcome,
    agreement_table,
    agreements,
    compare,
    errors_html,
    load_gold,
    pair,
    score,
    score_table,
    write_errors,
)

LABELS = ("A", "B", "C")
FAR = 10_000

Spans = list[GoldSpan]


@st.composite
def any_spans(draw: Any) -> Spans:
    """Spans that may nest, cross and repeat; some of them hundreds of characters long."""
    one = st.tuples(st.integers(0, 40), st.sampled_from([1, 2, 3, 7, 150, 1200]))
    made = draw(st.lists(st.tuples(one, st.sampled_from(LABELS)), max_size=7))
    return [GoldSpan(start, start + length, label) for (start, length), label in made]


def flat(tags: Sequence[str]) -> Spans:
    """The spans of BIO tags, a character a token."""
    spans: Spans = []
    for i, tag in enumerate(tags):
        if tag.startswith("B-"):
            spans.append(GoldSpan(i, i + 1, tag[2:]))
        elif tag.startswith("I-"):
            last = spans.pop()
            spans.append(GoldSpan(last.start, i + 1, last.label))
    return spans


@st.composite
def bio(draw: Any, length: int = 12) -> list[str]:
    tags: list[str] = []
    for choice in draw(st.lists(st.sampled_from("OOBBI"), min_size=length, max_size=length)):
        if choice == "B":
            tags.append("B-" + draw(st.sampled_from(LABELS)))
        elif choice == "I" and tags and tags[-1] != "O":
            tags.append("I-" + tags[-1][2:])
        else:
            tags.append("O")
    return tags


def by_nervaluate(gold: Sequence[Spans], predicted: Sequence[Spans]) -> dict[str, Any]:
    def dicts(spans: Spans) -> list[dict[str, Any]]:
        ordered = sorted(spans, key=lambda s: (s.start, s.end, s.label))
        return [{"label": s.label, "start": s.start, "end": s.end - 1} for s in ordered]

    evaluator = nervaluate.Evaluator(
        [dicts(s) for s in gold], [dicts(s) for s in predicted], tags=list(LABELS), loader="dict"
    )
    found: dict[str, Any] = evaluator.evaluate()
    return found


def assert_same(ours: Any, theirs: Any) -> None:
    for field in ("correct", "incorrect", "partial", "missed", "spurious"):
        assert getattr(ours, field) == getattr(theirs, field), field
    for field in ("precision", "recall", "f1"):
        assert getattr(ours, field) == pytest.approx(getattr(theirs, field)), field


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(any_spans(), any_spans()), min_size=1, max_size=4))
def test_every_scheme_equals_nervaluate_also_where_spans_overlap(
    documents: list[tuple[Spans, Spans]],
) -> None:
    gold, predicted = (dict(enumerate(side)) for side in zip(*documents, strict=True))
    ours = score(
        {str(i): s for i, s in gold.items()},
        {str(i): s for i, s in predicted.items()},
        resamples=0,
    )
    theirs = by_nervaluate(list(gold.values()), list(predicted.values()))
    for scheme in SCHEMES:
        assert_same(ours.micro[scheme], theirs["overall"][scheme])
        for label, scores in ours.per_label.items():
            assert_same(scores[scheme], theirs["entities"][label][scheme])
    assert set(ours.per_label) == set(theirs["entities"])


def test_scores_do_not_depend_on_the_order_of_spans_as_those_of_nervaluate_do() -> None:
    """It gives the gold to whichever prediction comes first; here they come in text order."""
    gold, predicted = [GoldSpan(1, 5, "A")], [GoldSpan(0, 2, "A"), GoldSpan(0, 2, "B")]

    def theirs(spans: Spans) -> Any:
        dicts = [[{"label": s.label, "start": s.start, "end": s.end - 1} for s in spans]]
        expected = [[{"label": "A", "start": 1, "end": 4}]]
        evaluator = nervaluate.Evaluator(expected, dicts, tags=list(LABELS), loader="dict")
        return evaluator.evaluate()["overall"]["ent_type"].correct

    def ours(spans: Spans) -> int:
        return score({"a": gold}, {"a": spans}, resamples=0).micro["ent_type"].correct

    assert (theirs(predicted), theirs(predicted[::-1])) == (1, 0)
    assert (ours(predicted), ours(predicted[::-1])) == (1, 1)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(bio(), bio()), min_size=1, max_size=4))
def test_strict_equals_seqeval_where_spans_do_not_overlap(
    documents: list[tuple[list[str], list[str]]],
) -> None:
    gold, predicted = (list(side) for side in zip(*documents, strict=True))
    ours = score(
        {str(i): flat(tags) for i, tags in enumerate(gold)},
        {str(i): flat(tags) for i, tags in enumerate(predicted)},
        resamples=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = (
            seqeval.metrics.classification_report(
                gold,
                predicted,
                output_dict=True,
                zero_division=0,
                mode="strict",
                scheme=seqeval.scheme.IOB2,
            )
            if any(flat(t) for t in (*gold, *predicted))
            else {}
        )
    for name, theirs in (("micro avg", ours.micro["strict"]), ("macro avg", ours.macro["strict"])):
        if name in report:
            assert theirs.precision == pytest.approx(report[name]["precision"])
            assert theirs.recall == pytest.approx(report[name]["recall"])
            assert theirs.f1 == pytest.approx(report[name]["f1-score"])
    for label, scores in ours.per_label.items():
        assert scores["strict"].f1 == pytest.approx(report[label]["f1-score"])
        assert scores["strict"].gold == report[label]["support"]


@given(any_spans(), any_spans(), st.lists(st.sampled_from(LABELS), max_size=3))
def test_an_ungrounded_prediction_is_a_spurious_one(
    gold: Spans, predicted: Spans, lost: list[str]
) -> None:
    placeless = [Entity(x, "x", None, None, grounding=Grounding.UNGROUNDED) for x in lost]
    elsewhere = [GoldSpan(FAR + 2 * i, FAR + 2 * i + 1, x) for i, x in enumerate(lost)]
    ours = score({"a": gold}, {"a": [*predicted, *placeless]}, resamples=0)
    same = score({"a": gold}, {"a": [*predicted, *elsewhere]}, resamples=0)
    assert ours.micro == same.micro
    assert ours.per_label == same.per_label
    assert ours.macro == same.macro
    assert ours.ungrounded == len(lost)


@given(any_spans(), any_spans())
def test_every_span_is_in_exactly_one_pair(gold: Spans, predicted: Spans) -> None:
    pairs = pair(gold, predicted)
    assert sorted(id(p.gold) for p in pairs if p.gold) == sorted(map(id, gold))
    assert sorted(id(p.predicted) for p in pairs if p.predicted) == sorted(map(id, predicted))
    both = {(s.start, s.end, s.label) for s in gold} & {
        (s.start, s.end, s.label) for s in predicted
    }
    assert {
        (p.gold.start, p.gold.end, p.gold.label)
        for p in pairs
        if p.gold and p.kind is SpanOutcome.CORRECT
    } == both


def test_pairs_set_a_wrong_span_against_the_gold_it_was_meant_for() -> None:
    gold = [GoldSpan(0, 9, "Drug"), GoldSpan(10, 20, "Dose"), GoldSpan(30, 40, "Age")]
    predicted = [
        GoldSpan(0, 12, "Drug"),  # reaches into the dose, but is the drug
        GoldSpan(10, 20, "Value"),
        GoldSpan(50, 55, "Age"),
    ]
    assert [(p.kind, p.gold and p.gold.label) for p in pair(gold, predicted)] == [
        (SpanOutcome.BOUNDARY, "Drug"),
        (SpanOutcome.LABEL, "Dose"),
        (SpanOutcome.MISSED, "Age"),
        (SpanOutcome.SPURIOUS, None),
    ]


def test_a_missing_document_is_missed_and_a_strange_one_ignored() -> None:
    gold = {"a": [GoldSpan(0, 1, "A")], "b": [GoldSpan(0, 1, "A")]}
    scores = score(gold, {"a": [GoldSpan(0, 1, "A")], "z": [GoldSpan(0, 1, "A")]})
    assert scores.missing == ("b",)
    assert scores.ignored == 1
    assert (scores.micro["strict"].precision, scores.micro["strict"].recall) == (1.0, 0.5)


def test_intervals_hold_the_score_and_are_the_same_again() -> None:
    gold = {str(i): [GoldSpan(0, 1, "A"), GoldSpan(2, 3, "B")] for i in range(30)}
    predicted = {str(i): [GoldSpan(0, 1, "A"), GoldSpan(2, 3 + i % 2, "B")] for i in range(30)}
    scores = score(gold, predicted)
    interval = scores.intervals["strict"]
    assert interval.low < scores.micro["strict"].f1 < interval.high
    assert scores == score(gold, predicted)
    assert score(gold, predicted, seed=1).intervals != scores.intervals
    assert score(gold, predicted, resamples=0).intervals == {}


def test_a_document_of_twenty_thousand_spans_is_scored_in_time() -> None:
    spans = [GoldSpan(i * 3, i * 3 + 2, "A") for i in range(20_000)]
    assert score({"a": spans}, {"a": spans}).micro["strict"].f1 == 1.0
    assert len(pair(spans, spans)) == 20_000


# Gold files


def gold_file(folder: Path, *rows: Any) -> str:
    path = folder / "gold.jsonl"
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


MARKED = {"start": 22, "end": 31, "label": "Drug", "text": "metformin"}
SECRET = "Zacharias took café 🫀 metformin"
ROW = {"id": "a", "text": SECRET, "entities": [MARKED]}


def with_entity(entity: Any) -> dict[str, Any]:
    return {"id": "b", "text": SECRET, "entities": [entity]}


def test_gold_is_read_in_code_points(tmp_path: Path) -> None:
    gold = load_gold(gold_file(tmp_path, ROW, "", {"id": 7, "text": "x", "entities": []}))
    assert gold["a"].entities == (GoldSpan(22, 31, "Drug"),)
    assert gold["7"].entities == ()


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("{", "not JSON"),
        ("[]", "must be an object"),
        ({"text": SECRET, "entities": []}, "'id'"),
        ({"id": "b", "text": None, "entities": []}, "'text'"),
        ({"id": "b", "text": SECRET}, "'entities'"),
        (ROW, "two documents with the id"),
        (with_entity("x"), "entity 0 must be an object"),
        (with_entity({"start": "1", "end": 2, "label": "A"}), "'start' must be an integer"),
        (with_entity({"start": 1, "end": True, "label": "A"}), "'end' must be an integer"),
        (with_entity({"start": 1, "end": 2, "label": ""}), "'label'"),
        (with_entity({"start": 2, "end": 2, "label": "A"}), "not a valid span"),
        (with_entity({"start": 9, "end": 99, "label": "A"}), "not a valid span"),
        (ROW | {"id": "b", "text": "x" + SECRET}, "differs from the entity's text"),
    ],
)
def test_a_bad_line_is_named_and_not_quoted(tmp_path: Path, row: Any, complaint: str) -> None:
    with pytest.raises(GoldError, match=complaint) as caught:
        load_gold(gold_file(tmp_path, ROW, row))
    assert "gold.jsonl, line 2" in str(caught.value)
    assert "Zach" not in str(caught.value)
    assert "metformin" not in str(caught.value)


def test_gold_that_is_not_utf8_or_empty_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(b'{"id": "\xff"}')
    with pytest.raises(GoldError, match=r"line 1: not UTF-8"):
        load_gold(str(path))
    with pytest.raises(GoldError, match="no documents"):
        load_gold(gold_file(tmp_path, ""))
    with pytest.raises(FileNotFoundError):
        load_gold(str(tmp_path / "absent.jsonl"))


# A run against the gold

GOLD = {
    "a": GoldDocument(
        "a", "Metformin 500 mg daily", (GoldSpan(0, 9, "Drug"), GoldSpan(10, 16, "Dose"))
    ),
    "b": GoldDocument("b", "Aspirin 81 mg", (GoldSpan(0, 7, "Drug"), GoldSpan(8, 13, "Dose"))),
    "c": GoldDocument("c", "No drug", ()),
}


def compared() -> Comparison:
    text = GOLD["a"].text
    entities = [
        spanning(text, 0, 9, "Drug", score=0.9, model="m"),
        spanning(text, 10, 13, "Dose", score=0.8, model="m"),
        Entity("Drug", "insulin <b>", None, None, grounding=Grounding.UNGROUNDED),
    ]
    return compare(
        GOLD,
        [
            Prediction("a", text, entities),
            Prediction("b", None, (), Status.FAILED),
            Prediction("x", "other", ()),
        ],
    )


def test_a_comparison_lists_changed_entities() -> None:
    result = compared()
    assert [(c.kind, c.gold, c.predicted, c.count) for c in result.confusions] == [
        (SpanOutcome.MISSED, "Dose", None, 1),
        (SpanOutcome.MISSED, "Drug", None, 1),
        (SpanOutcome.UNGROUNDED, None, "Drug", 1),
        (SpanOutcome.BOUNDARY, "Dose", "Dose", 1),
    ]
    found = json.loads(json.dumps(result.as_dict()))
    assert found["missing"] == ["c"]
    assert found["failed"] == ["b"]
    assert found["ignored"] == 1
    assert found["micro"]["strict"]["correct"] == 1
    assert found["micro"]["partial"]["partial"] == 1
    assert found["per_label"]["Dose"]["strict"]["f1"] == 0.0
    assert "Metformin" not in json.dumps(found)


def test_scores_in_the_terminal() -> None:
    console = Console(width=80, file=io.StringIO())
    console.print(score_table(compared()), score_table(compared().scores))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    for words in ("micro", "macro", "wrong edges", "not in the run", "counted as spurious"):
        assert words in shown


def test_the_page_of_errors(tmp_path: Path) -> None:
    page = errors_html(compared(), name="<quick>")
    assert "&lt;quick&gt;" in page
    assert "insulin &lt;b&gt;" in page
    assert "This document failed in the run" in page
    assert "The run does not contain this document" in page
    assert 'data-t="gold Dose"' in page
    write_errors(str(tmp_path / "out" / "errors.html"), compared(), name="x", limit=1)
    assert "1 of 3 documents" in (tmp_path / "out" / "errors.html").read_text()


def test_another_text_is_an_error_that_names_documents_only() -> None:
    with pytest.raises(GoldError, match=r"the text of 1 document.*'a'") as caught:
        compare(GOLD, [Prediction("a", "Metformine 500 mg daily", ())])
    assert "Metformin" not in str(caught.value)


def test_gold_is_placed_on_a_text_that_differs_in_white_space() -> None:
    text = GOLD["a"].text.replace(" ", "\r\n ")
    drug = next(one for one in GOLD["a"].entities if one.label == "Drug")
    words = GOLD["a"].text[drug.start : drug.end]
    found = spanning(text, text.index(words), text.index(words) + len(words), "Drug")
    comparison = compare(GOLD, [Prediction("a", text, [found])], resamples=0)
    assert comparison.realigned == 1
    assert comparison.as_dict()["realigned"] == 1
    assert comparison.scores.per_label["Drug"]["strict"].correct == 1
    console = Console(file=io.StringIO(), width=120)
    console.print(score_table(comparison))
    assert "white space or Unicode form: 1." in console.file.getvalue()  # type: ignore[attr-defined]


def test_two_annotators_agree_as_far_as_their_spans_do() -> None:
    marked = {
        "x": (GoldSpan(0, 2, "A"), GoldSpan(4, 6, "A")),
        "y": (GoldSpan(0, 2, "A"), GoldSpan(4, 7, "A")),
    }
    documents = [
        GoldDocument("1", "0123456789", marked["x"], annotators=marked),
        GoldDocument("2", "0123456789", (), annotators={"x": (), "z": ()}),
        GoldDocument("3", "0123456789", ()),
    ]
    first, second = agreements(documents)
    assert (first.first, first.second, first.documents) == ("x", "y", 1)
    assert (first.strict, first.partial) == (0.5, 0.75)
    assert (second.first, second.second, second.documents) == ("x", "z", 1)
    console = Console(file=io.StringIO(), width=80)
    console.print(agreement_table([first]))
    assert "0.500" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_document_twice_and_nothing_in_common_are_errors() -> None:
    with pytest.raises(GoldError, match="'c' twice"):
        compare(GOLD, [Prediction("c", "No drug", ()), Prediction("c", "No drug", ())])
    with pytest.raises(GoldError, match="check that the ids match"):
        compare(GOLD, [Prediction("z", "No drug", ())])
