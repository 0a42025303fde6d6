"""Which documents are chosen for review."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.exchange import document
from support.lake import store_gold
from typer.testing import CliRunner

from actors.spans import Entity, Grounding, spanning
from pipelines.cli.app import app
from pipelines.exchange.exporter import ExportError
from pipelines.exchange.sample import By, models_by_label, sample_documents
from pipelines.runs.results import Result


def doc(name: str, *entities: Entity, patient: str | None = None) -> Result:
    return document("text of it", entities, doc_id=name, more={"p": patient})


def of(label: str, score: float | None = None, **fields: object) -> Entity:
    return spanning("text of it", 0, 4, label, score=score, **fields)


def test_doubt_takes_the_lowest_scores_of_each_label_in_turn() -> None:
    results = [
        doc("a", of("Drug", 0.9)),
        doc("b", of("Drug", 0.5), of("Dose", 0.99)),
        doc("c", of("Drug", 0.6)),
        doc("d", of("Dose", 0.7)),
        doc("e", of("Drug")),
    ]
    chosen = sample_documents(results, By.DOUBT, 3)
    assert set(chosen.documents) == {"d", "b", "c"}
    assert chosen.strata == {"Dose": 1, "Drug": 2}


def test_ungrounded_takes_documents_with_most_of_them() -> None:
    lost = Entity("Drug", "aspirin", None, None, grounding=Grounding.UNGROUNDED)
    results = [doc("a", of("Drug")), doc("b", lost), doc("c", lost, lost)]
    assert sample_documents(results, By.UNGROUNDED, 1).documents == ("c",)


def test_disagreement_counts_what_a_model_of_the_label_missed() -> None:
    both = of("Drug", attributes={"agreement": "m1,m2"}, model="m1")
    results = [
        doc("a", both),
        doc("b", of("Drug", model="m1"), both),
        doc("c", of("Dose", model="m1")),  # m2 knows no Dose
    ]
    models = models_by_label(e for result in results for e in result.entities)
    assert models == {"Drug": {"m1", "m2"}}
    assert sample_documents(results, By.DISAGREEMENT, 5, models=models).documents == ("b",)


def test_every_label_has_its_turn() -> None:
    results = [doc(f"common{i}", of("Common")) for i in range(50)]
    results += [doc(f"rare{i}", of("Rare")) for i in range(5)]
    chosen = sample_documents(results, By.LABEL, 8)
    assert chosen.strata == {"Common": 4, "Rare": 4}


patients = st.lists(st.sampled_from(["p1", "p2", "p3", None]), min_size=1, max_size=60)


@settings(max_examples=60)
@given(patients, st.integers(1, 10), st.integers(1, 3), st.sampled_from(list(By)), st.randoms())
def test_no_patient_has_more_than_its_share_and_order_does_not_matter(
    who: list[str | None], n: int, share: int, by: By, random: object
) -> None:
    lost = Entity("Drug", "x", None, None, 0.2, Grounding.UNGROUNDED, model="m2")
    results = [
        doc(str(i), of("Drug" if i % 3 else "Dose", (i % 7) / 7, model="m1"), lost, patient=p)
        for i, p in enumerate(who)
    ]
    models = {"Drug": frozenset({"m1", "m2"})}

    def choose(some: list[Result]) -> set[str]:
        chosen = sample_documents(some, by, n, patient="p", per_patient=share, models=models)
        assert sum(chosen.strata.values()) == len(chosen.documents) <= n
        return set(chosen.documents)

    first = choose(results)
    counts = Counter(who[int(i)] for i in first)
    assert all(count <= share for p, count in counts.items() if p is not None)
    # As many as there can be: every document qualifies in some stratum.
    known = Counter(p for p in who if p is not None)
    most = sum(min(count, share) for count in known.values()) + who.count(None)
    assert len(first) == min(n, most)
    shuffled = list(results)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert choose(shuffled) == first


def test_the_seed_decides() -> None:
    results = [doc(str(i)) for i in range(100)]
    chosen = [
        frozenset(sample_documents(results, By.RANDOM, 10, seed=seed).documents)
        for seed in (1, 1, 2)
    ]
    assert chosen[0] == chosen[1] != chosen[2]


@pytest.mark.parametrize("by", [By.DOUBT, By.DISAGREEMENT, By.UNGROUNDED, By.LABEL])
def test_a_sink_without_such_documents_is_an_error(by: By) -> None:
    with pytest.raises(ExportError, match=f"no document qualifies for --by {by}"):
        sample_documents([doc("a")], by, 5)


def test_the_command_writes_tasks(tmp_path: Path) -> None:
    row = {"id": "n1", "text": "Metformin.", "entities": [{"start": 0, "end": 9, "label": "Drug"}]}
    (gold := tmp_path / "gold.jsonl").write_text(json.dumps(row))
    store_gold(str(tmp_path / "out"), gold)
    words = ["sample", str(tmp_path / "out"), "--by", "doubt", "--out", str(tmp_path / "review")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "(Drug 1)" in done.output
    (task,) = json.loads((tmp_path / "review/tasks.json").read_text())
    assert task["data"]["doc_id"] == "n1"
    refused = CliRunner().invoke(app, [*words[:-1], str(tmp_path / "x"), "--patient", "mrn"])
    assert refused.exit_code == 2
    assert "--patient mrn: the table documents has no such column" in refused.output
