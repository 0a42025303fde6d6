from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support import ROOT

from actors.config.context import Context
from actors.config.relations import Relations
from actors.context import ContextStage
from actors.relations import RelationStage
from actors.spans import Annotations, Assertion, Experiencer, Relation, spanning
from pipelines.evaluate import GoldError, Prediction, compare, load_gold, score_table

TEXT = "No fever. Mother: gout. Aspirin 5 mg daily."
ENTITIES = [
    {"start": 3, "end": 8, "label": "PROBLEM"},
    {"start": 18, "end": 22, "label": "PROBLEM"},
    {"start": 24, "end": 31, "label": "DRUG"},
    {"start": 32, "end": 36, "label": "STRENGTH"},
    {"start": 37, "end": 42, "label": "FREQUENCY"},
]
STATUS: list[dict[str, Any]] = [
    {"start": 3, "end": 8, "label": "PROBLEM", "attributes": ["negated"]},
    {"start": 18, "end": 22, "label": "PROBLEM", "attributes": [], "experiencer": "family"},
]
RELATIONS: list[dict[str, Any]] = [
    {"type": "strength", "head": [24, 31], "tail": [32, 36]},
    {"type": "frequency", "head": [24, 31], "tail": [37, 42]},
]


def gold_file(folder: Path, **changes: Any) -> str:
    row = {"id": "a", "text": TEXT, "entities": ENTITIES, "status": STATUS, "relations": RELATIONS}
    path = folder / "gold.jsonl"
    path.write_text(json.dumps(row | changes) + "\n")
    return str(path)


def test_status_and_relations_are_scored(tmp_path: Path) -> None:
    entities = [spanning(TEXT, e["start"], e["end"], e["label"]) for e in ENTITIES]  # type: ignore[arg-type]
    said = (
        Assertion(negated=True, uncertain=True),
        Assertion(experiencer=Experiencer.FAMILY),
        *[Assertion()] * 3,
    )
    entities = [
        spanning(TEXT, e.start or 0, e.end or 0, e.label, assertion=one)
        for e, one in zip(entities, said, strict=True)
    ]
    relations = (Relation(2, 3, "strength"), Relation(0, 3, "strength"), Relation(2, 4, "mine"))
    prediction = Prediction("a", TEXT, entities, relations=relations)
    result = compare(load_gold(gold_file(tmp_path)), [prediction], resamples=0)
    status, related = result.statements.status, result.statements.relations
    assert {k: (s.correct, s.missed, s.spurious) for k, s in status.items()} == {
        "negated": (1, 0, 0),
        "family": (1, 0, 0),
        "uncertain": (0, 0, 1),
    }
    assert {k: (s.correct, s.missed, s.spurious) for k, s in related.items()} == {
        "strength": (1, 0, 1),
        "frequency": (0, 1, 0),
    }
    as_dict = result.as_dict()["statements"]
    assert as_dict["relations"]["strength"]["precision"] == 0.5
    console = Console(record=True, width=100)
    console.print(score_table(result))
    shown = console.export_text()
    assert "Status of entities found" in shown
    assert "Relations" in shown


def test_a_run_without_status_is_not_scored_for_it(tmp_path: Path) -> None:
    entities = [spanning(TEXT, 3, 8, "PROBLEM")]
    result = compare(load_gold(gold_file(tmp_path)), [Prediction("a", TEXT, entities)], resamples=0)
    assert result.statements.as_dict() == {"status": {}, "relations": {}}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"status": {}}, "'status' must be a list"),
        ({"status": [1]}, "status 0 must be an object"),
        ({"status": [STATUS[0] | {"attributes": ["absent"]}]}, "status 0: 'attributes'"),
        ({"status": [STATUS[0] | {"experiencer": "aunt"}]}, "status 0: 'experiencer'"),
        ({"status": [STATUS[0] | {"end": 99}]}, "status 0: must be start and end"),
        ({"relations": [RELATIONS[0] | {"head": [1]}]}, "relations 0: 'head': must be"),
        ({"relations": [RELATIONS[0] | {"type": ""}]}, "relations 0: 'type' must be"),
    ],
)
def test_wrong_gold_is_named(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(GoldError, match=f"line 1: {said}"):
        load_gold(gold_file(tmp_path, **changes))


def test_the_gold_notes_of_the_samples() -> None:
    path = ROOT / "configs/samples/quickstart-context-gold.jsonl"
    gold = load_gold(str(path))
    context, relate = ContextStage(Context()), RelationStage(Relations())
    predictions = []
    for one in gold.values():
        entities = tuple(spanning(one.text, e.start, e.end, e.label) for e in one.entities)
        refined = relate.refine(one.text, context.refine(one.text, Annotations(entities)))
        predictions.append(
            Prediction(one.id, one.text, refined.entities, relations=refined.relations)
        )
    scores = compare(gold, predictions, resamples=0).statements
    assert scores.status["negated"].f1 > 0.9
    assert scores.status["historical"].f1 > 0.75
    assert scores.relations["strength"].f1 > 0.95
    assert scores.relations["frequency"].f1 > 0.95
