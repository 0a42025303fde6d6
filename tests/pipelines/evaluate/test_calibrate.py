"""Thresholds for a wanted precision or recall."""

from __future__ import annotations

import io
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from support.lake import store_gold
from support.tiny_onnx import by_token, labelled, save, word_level
from typer.testing import CliRunner

from actors.config import load_model
from actors.extractor import Extractor
from actors.spans import Document, Entity, spanning
from pipelines.cli.app import app
from pipelines.evaluate import Comparison, GoldDocument, GoldSpan, Prediction, compare
from pipelines.evaluate.calibration import (
    Aim,
    calibrate_scores,
    calibration_tables,
    thresholds_snippet,
    wilson,
)
from pipelines.evaluate.reliability_plot import reliability_svg

SVG = "{http://www.w3.org/2000/svg}"
TEXT = "abcdefghijklmnopqrstuvwxyz"


def compared(predictions: list[tuple[float, bool]], missed: int = 0) -> Comparison:
    """A document of one label, a character an entity; ``missed`` more gold spans."""
    entities = [
        spanning(TEXT, i, i + 1, "A", score=s, model="m") for i, (s, _) in enumerate(predictions)
    ]
    gold = [GoldSpan(i, i + 1, "A") for i, (_, right) in enumerate(predictions) if right]
    first = len(predictions)
    gold += [GoldSpan(i, i + 1, "A") for i in range(first, first + missed)]
    document = GoldDocument("d", TEXT, tuple(gold))
    return compare({"d": document}, [Prediction("d", TEXT, entities)], resamples=0)


def test_the_lowest_threshold_with_the_precision() -> None:
    found = compared([(0.9, True), (0.8, False), (0.7, True), (0.6, True), (0.5, False)], missed=1)
    (one,) = calibrate_scores(found, "precision", 0.75).thresholds
    assert (one.value, one.kept, one.correct, one.gold) == (0.6, 4, 3, 4)
    assert (one.precision, one.recall) == (0.75, 0.75)
    (one,) = calibrate_scores(found, "recall", 0.25).thresholds
    assert (one.value, one.precision) == (0.9, 1.0)
    (one,) = calibrate_scores(found, "recall", 0.9).thresholds
    assert one.value is None
    assert (one.kept, one.recall) == (5, 0.75)


@settings(max_examples=100)
@given(
    st.lists(st.tuples(st.sampled_from([0.1, 0.4, 0.4001, 0.9]), st.booleans()), max_size=15),
    st.integers(0, 5),
    st.sampled_from(["precision", "recall"]),
    st.sampled_from([0.0, 0.5, 0.8, 1.0]),
)
def test_a_threshold_is_the_best_of_all(
    predictions: list[tuple[float, bool]], missed: int, aim: Aim, least: float
) -> None:
    for one in calibrate_scores(compared(predictions, missed), aim, least).thresholds:
        reached = {}
        for threshold in {score for score, _ in predictions}:
            kept = [right for score, right in predictions if score >= threshold]
            parts = {"precision": len(kept), "recall": sum(r for _, r in predictions) + missed}
            if (parts[aim] and sum(kept) / parts[aim] >= least) or (not parts[aim] and least == 0):
                reached[threshold] = len(kept)
        best = min if aim == "precision" else max
        assert one.value == (best(reached) if reached else None)
        if one.value is not None:
            assert one.kept == reached[one.value]


def test_reliability_and_its_error() -> None:
    found = calibrate_scores(compared([(0.95, True), (0.95, False), (0.2, False)]), "precision", 0)
    low, high = found.reliability
    assert (low.count, low.correct, high.count, high.correct) == (1, 0.0, 2, 0.5)
    assert found.error == pytest.approx((1 * 0.2 + 2 * 0.45) / 3)
    console = Console(width=100, record=True, file=io.StringIO())
    for shown in calibration_tables(found):
        console.print(shown)
    assert "expected calibration error 0.367" in console.export_text()


def test_predictions_without_a_score_are_counted() -> None:
    document = GoldDocument("d", TEXT, (GoldSpan(0, 1, "A"),))
    entities = [Entity("A", "a", 0, 1, model="m")]
    found = compare({"d": document}, [Prediction("d", TEXT, entities)], resamples=0)
    assert calibrate_scores(found, "precision", 0.5).without_score == 1
    assert not calibrate_scores(found, "precision", 0.5).thresholds


def test_wilson_interval() -> None:
    stats = pytest.importorskip("scipy.stats")
    for correct, count in ((9, 10), (0, 3), (3, 3), (40, 1000)):
        theirs = stats.binomtest(correct, count).proportion_ci(method="wilson")
        assert wilson(correct, count) == pytest.approx((theirs.low, theirs.high), abs=1e-6)
    assert wilson(0, 0) == (0.0, 1.0)


def test_thresholds_are_of_labels_before_they_are_replaced() -> None:
    found = calibrate_scores(compared([(0.87654, True)]), "precision", 0.5).thresholds
    replaced = {"m": {"a1": "A", "a2": "A", "x": "B"}}
    own = {"m": {"a1", "a2", "x"}}
    assert thresholds_snippet(found, replaced, own) == {"m": {"a1": 0.8765, "a2": 0.8765}}
    own = {"m": {"a1", "a2", "x", "A"}}
    assert thresholds_snippet(found, replaced, own) == {
        "m": {"a1": 0.8765, "a2": 0.8765, "A": 0.8765}
    }
    assert thresholds_snippet(found, {"m": {"A": "B", "C": "A"}}, {}) == {"m": {"C": 0.8765}}


def test_a_model_that_replaces_labels_loads_with_the_thresholds_that_are_printed(
    tmp_path: Path,
) -> None:
    words = word_level(["metformin", "asthma"])
    names = ["O", "B-CHEM", "I-CHEM"]
    save(
        tmp_path / "weights",
        by_token(labelled(words, names, {"metformin": "B-CHEM"})),
        words,
        names,
    )
    row = {"id": "1", "text": "metformin", "entities": [{"start": 0, "end": 9, "label": "Drug"}]}
    (gold := tmp_path / "gold.jsonl").write_text(json.dumps(row))
    model = {
        "name": "m",
        "kind": "onnx",
        "weights": {"model": "weights"},
        "labels": {"replace": {"CHEM": "Drug"}},
    }
    (tmp_path / "m.yaml").write_text(yaml.safe_dump(model))
    pipeline = {
        "name": "p",
        "source": {"path": str(gold)},
        "steps": [{"model": "m.yaml"}],
        "sink": {"path": str(tmp_path / "out")},
    }
    (path := tmp_path / "p.yaml").write_text(yaml.safe_dump(pipeline))
    words_ = ["calibrate", str(path), "--gold", str(gold), "--precision", "0.9"]
    done = CliRunner().invoke(app, words_)
    assert done.exit_code == 0, done.output
    labels = yaml.safe_load(done.stdout)["labels"] | model["labels"]
    assert labels["thresholds"].keys() == {"CHEM"}
    (tmp_path / "m.yaml").write_text(yaml.safe_dump(model | {"labels": labels}))
    with Extractor(load_model(tmp_path / "m.yaml")) as extractor:
        (found,) = extractor.extract([Document(id="1", text="metformin")])
    assert [entity.label for entity in found.entities] == ["Drug"]


def test_the_command_prints_a_snippet_for_the_model_file(tmp_path: Path) -> None:
    row = {"id": "n1", "text": "Metformin.", "entities": [{"start": 0, "end": 9, "label": "Drug"}]}
    (gold := tmp_path / "gold.jsonl").write_text(json.dumps(row))
    store_gold(str(tmp_path / "out"), gold)
    config = {
        "name": "c",
        "source": {"path": str(tmp_path)},
        "steps": [{"model": "starter:token-classifier"}],
        "sink": {"path": str(tmp_path / "out")},
    }
    (path := tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    words = ["calibrate", str(path), "--gold", str(gold), "--run", "live"]
    done = CliRunner().invoke(app, [*words, "--precision", "0.9"])
    assert done.exit_code == 0, done.output
    assert yaml.safe_load(done.stdout) == {"labels": {"thresholds": {"Drug": 0.5}}}
    assert "the 1 live documents after run r1" in " ".join(done.stderr.split())
    plot = tmp_path / "plot.svg"
    CliRunner().invoke(app, [*words, "--precision", "0.9", "--plot", str(plot)])
    assert ElementTree.parse(plot).getroot().tag == f"{SVG}svg"
    assert CliRunner().invoke(app, words).exit_code == 2
    as_json = CliRunner().invoke(app, [*words, "--recall", "1", "--json"])
    assert json.loads(as_json.stdout)["labels"] == {"m": {"Drug": 0.5}}


def test_a_reliability_diagram_matches_the_table(tmp_path: Path) -> None:
    found = calibrate_scores(compared([(0.95, True), (0.95, False), (0.2, False)]), "precision", 0)
    drawn = ElementTree.fromstring(reliability_svg(found, "notes & more"))
    names = [one.text for one in drawn.iter(f"{SVG}text")]
    assert "expected calibration error 0.367" in names
    assert "Reliability of the scores of notes & more" in names
    assert {"1", "2"} <= set(names)  # predictions of the two ranges
    places = [(float(one.get("cx")), float(one.get("cy"))) for one in drawn.iter(f"{SVG}circle")]  # type: ignore[arg-type]
    assert len(places) == 2
    (x1, y1), (x2, y2) = sorted(places)
    assert (x2 - x1) / 400 == pytest.approx(0.75, abs=0.01)
    assert (y1 - y2) / 400 == pytest.approx(0.5, abs=0.01)
    empty = calibrate_scores(compared([]), "precision", 0)
    assert "No prediction has a score." in reliability_svg(empty, "x")
