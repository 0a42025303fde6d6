"""Drift between two runs: the measures, their spread, and which are named."""

from __future__ import annotations

import json
from dataclasses import astuple
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.lake import store_rows
from typer.testing import CliRunner

from actors.spans import Assertion, Entity, Grounding, spanning
from pipelines.cli.app import app
from pipelines.runs.drift import Drift, MeasureChange, compare_profiles, live_profile
from pipelines.runs.drift_plot import drift_svg
from pipelines.runs.plan import RunPlan
from pipelines.runs.profile import Measure, Profile, Ratio
from pipelines.runs.store import RunStore
from pipelines.tables.rows import entity_row

TEXT = "aspirin for pain"


def write_run(store: RunStore, run: str, documents: dict[str, list[Entity]], **facts: str) -> None:
    store.begin(run, RunPlan("{}", (), pa.schema([])))
    entities = [
        {"doc_id": i, "ordinal": n, "source": "file:///u"} | entity_row(entity)
        for i, found in documents.items()
        for n, entity in enumerate(found)
    ]
    rows = [{"text": TEXT, "entity_count": len(found)} | facts for found in documents.values()]
    given = {"documents": rows, "entities": entities}
    store_rows(store, run, {f"{run}-u": list(documents)}, given=given)


def profile(store: RunStore, run: str) -> Profile:
    return Profile.from_dict(store.marker(run)["profile"])


def drug(score: float | None, **said: bool) -> Entity:
    return spanning(TEXT, 0, 7, "Drug", score=score, model="m", assertion=Assertion(**said))  # type: ignore[arg-type]


def test_a_profile_counts_documents_entities_status_and_scores(tmp_path: Path) -> None:
    store = RunStore(str(tmp_path / "out"))
    lost = Entity("Sign", "cough", None, None, grounding=Grounding.UNGROUNDED, model="m")
    write_run(store, "r1", {"a": [drug(0.95), drug(0.55, negated=True)], "b": [lost], "c": []})
    write_run(store, "r2", {"d": [drug(1.0)]}, status="failed")
    found = profile(store, "r1")
    values = {(m.group, m.name): ratio.value for m, ratio in found.measures.items()}
    assert found.documents == 3
    assert values["documents", "failed"] == 0
    assert values["text", "characters"] == len(TEXT)
    assert values["text", "0 to 500 characters"] == 1
    assert values["entities", "all"] == 1
    assert values["entities", "Drug"] == pytest.approx(2 / 3)
    assert values["entities", "Sign"] == pytest.approx(1 / 3)
    assert values["score", "Drug"] == pytest.approx(0.75)
    assert values["score", "0.9 to 1.0"] == values["score", "0.5 to 0.6"] == 0.5
    assert values["grounding", "ungrounded"] == pytest.approx(1 / 3)
    assert values["status", "negated"] == 0.5  # of those with a status
    assert values["codes", "entities with a code"] == 0
    other = profile(store, "r2")
    assert other.documents == 1
    assert other.measures[Measure("documents", "failed", "share of documents")].value == 1


def test_the_variance_is_that_of_drawing_documents_again() -> None:
    """Against the bootstrap over documents, which needs every document in memory."""
    random = np.random.default_rng(7)
    x = random.poisson(6, 400).astype(float)
    y = random.binomial(x.astype(int), random.beta(2, 5, 400)).astype(float)
    ratio = Ratio()
    ratio.add(y, x)
    draws = random.integers(0, 400, (4000, 400))
    bootstrap = (y[draws].sum(1) / x[draws].sum(1)).var()
    assert ratio.value == y.sum() / x.sum()
    assert ratio.variance == pytest.approx(bootstrap, rel=0.08)


def drawn(random: np.random.Generator, shift: float = 0.0) -> Profile:
    """A run of 200 documents; entities of one document resemble each other."""
    found = Profile(200)
    for name in map(str, range(30)):
        x = random.poisson(8, 200).astype(float)
        rate = random.beta(2, 6, 200) + (shift if name == "0" else 0)
        ratio = found.sums[Measure("status", name, "share")]
        ratio.add(random.binomial(x.astype(int), rate.clip(0, 1)).astype(float), x)
    return found


def test_equal_runs_rarely_show_drift() -> None:
    random = np.random.default_rng(11)
    named = [
        any(one.moved for one in compare_profiles(drawn(random), drawn(random)).differences)
        for _ in range(200)
    ]
    # With nothing to find, a false alarm among 30 measures in about 5% of comparisons.
    assert sum(named) <= 20


def test_drift_names_only_changed_measures() -> None:
    random = np.random.default_rng(3)
    first, *_ = compare_profiles(drawn(random), drawn(random, shift=0.12)).differences
    assert (first.measure.name, first.moved) == ("0", True)
    assert first.q < 0.001


def test_profiles_of_runs_add_up_to_one_of_all_of_them(tmp_path: Path) -> None:
    store = RunStore(str(tmp_path / "out"))
    first, second = {"a": [drug(0.95)], "b": [drug(0.5), drug(0.6)]}, {"c": [drug(0.1)], "d": []}
    write_run(store, "r1", first)
    write_run(store, "r2", second)
    live = live_profile(store.snapshot().ledger)
    write_run(store, "r3", first | second)
    whole = profile(store, "r3")
    assert live.documents == whole.documents == 4
    assert live.measures.keys() == whole.measures.keys()
    for name, ratio in whole.measures.items():
        assert astuple(live.measures[name]) == pytest.approx(astuple(ratio))


def test_languages_and_unknown_tokens_are_measured(tmp_path: Path) -> None:
    store = RunStore(str(tmp_path / "out"))
    english = "The patient was admitted with chest pain and shortness of breath."
    vietnamese = "Bệnh nhân nhập viện vì đau ngực và khó thở, được điều trị bằng thuốc."
    steps = [{"model": "m", "prompt_tokens": 40, "unknown_tokens": 4}, {"model": "ocr"}]
    store.begin("r1", RunPlan("{}", (), pa.schema([])))
    rows = [{"text": text, "steps": steps} for text in (english, english, vietnamese, "12:30")]
    given = {"documents": rows, "entities": []}
    store_rows(store, "r1", {"u": list("abcd")}, given=given)
    found = {(m.group, m.name): r.value for m, r in profile(store, "r1").measures.items()}
    spoken = {name: value for (group, name), value in found.items() if group == "language"}
    assert spoken == {"en": 0.5, "vi": 0.25, "none": 0.25}
    assert found["tokens", "unknown to m"] == pytest.approx(0.1)
    assert ("tokens", "unknown to ocr") not in found
    assert found["entities", "all"] == 0


def test_a_label_that_a_run_never_gave_has_moved(tmp_path: Path) -> None:
    store = RunStore(str(tmp_path / "out"))
    write_run(store, "r1", {f"a{i}": [drug(0.9)] for i in range(40)})
    write_run(store, "r2", {f"b{i}": [] for i in range(40)})
    drift = compare_profiles(profile(store, "r1"), profile(store, "r2"))
    moved = {one.measure.name: one for one in drift.differences if one.moved}
    assert set(moved) == {"all", "Drug"}
    assert (moved["Drug"].before, moved["Drug"].after) == (1.0, 0.0)


def test_measures_of_few_documents_are_not_judged() -> None:
    few, many = Ratio(), Ratio()
    few.add(np.zeros(29), np.ones(29))
    many.add(np.ones(500), np.ones(500))
    name = Measure("status", "negated", "share")
    (one,) = compare_profiles(Profile(29, {name: few}), Profile(500, {name: many})).differences
    assert one == MeasureChange(name, 0.0, 1.0, 1.0, False)


def test_the_command_lists_what_moved(tmp_path: Path) -> None:
    store = RunStore(str(tmp_path / "out"))
    write_run(store, "r1", {f"a{i}": [drug(0.9)] for i in range(40)})
    write_run(store, "r2", {f"b{i}": [drug(0.7, negated=i % 2 == 0)] for i in range(40)})
    words = ["runs", "compare", store.path, "r1", "r2"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "negated" in done.output
    assert "failed" not in done.output
    assert "failed" in CliRunner().invoke(app, [*words, "--all"]).output
    found = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    moved = {(one["group"], one["name"]) for one in found["measures"] if one["moved"]}
    assert {("status", "negated"), ("score", "Drug"), ("score", "0.7 to 0.8")} <= moved
    assert ("entities", "Drug") not in moved
    assert found["documents"] == [40, 40]
    plot = tmp_path / "plots" / "drift.svg"
    CliRunner().invoke(app, [*words, "--plot", str(plot)])
    drawn = ElementTree.parse(plot).getroot()
    texts = [element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {"status (share)", "negated", "0 to 0.5, moved"} <= set(texts)
    assert "failed" not in texts
    write_run(store, "r3", {"z": []})
    few = CliRunner().invoke(app, ["runs", "compare", store.path, "r1", "r3"])
    assert "needs 30 documents in each run" in " ".join(few.output.split())
    unknown = CliRunner().invoke(app, ["runs", "compare", store.path, "r1", "r9"])
    assert unknown.exit_code == 2
    assert "r9 is not committed" in unknown.output


def test_the_size_of_a_difference_is_absolute_of_shares_and_relative_of_rates() -> None:
    share = MeasureChange(Measure("status", "negated", "share"), 0.5, 0.7, 0.0, True)
    rate = MeasureChange(Measure("entities", "Drug", "per document"), 4.0, 1.0, 0.0, True)
    assert share.size == pytest.approx(0.2)
    assert rate.size == pytest.approx(0.75)
    still = MeasureChange(Measure("entities", "Sign", "per document"), 9.0, 1.0, 0.4, False)
    unknown = MeasureChange(Measure("score", "Drug", "mean"), None, 0.9, 1.0, False)
    drift = Drift(Profile(50), Profile(50), (share, rate, still, unknown))
    assert drift.beyond(0.1) == (rate, share)
    assert drift.beyond(0.3) == (rate,)
    assert drift.beyond(1) == ()


@given(st.text(), st.text())
def test_a_plot_is_xml_whatever_labels_and_runs_are_called(label: str, run: str) -> None:
    one = MeasureChange(Measure("entities", label, "per document"), 1.0, 2.0, 0.0, True)
    svg = drift_svg(Drift(Profile(40), Profile(40), (one,)), (run, "b"))
    ElementTree.fromstring(svg)
