"""Our answers on the ten sample notes with gold, and a digest of all answers beside RESULTS."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from support.marked import attributes

from actors.config.context import Context
from actors.config.relations import Relations
from actors.config.result_versions import RESULTS
from actors.context import ContextStage
from actors.relations import RelationStage
from actors.spans import Annotations, spanning

ROOT = Path(__file__).resolve().parents[3]
SAMPLES = ROOT / "configs/samples"
GOLDEN = Path(__file__).parent / "golden.json"


def lines(name: str) -> dict[str, Any]:
    rows = (json.loads(line) for line in (SAMPLES / name).read_text("utf-8").splitlines())
    return {row["id"]: row for row in rows}


@pytest.fixture(scope="module")
def answers() -> dict[str, Annotations]:
    context, relate = ContextStage(Context()), RelationStage(Relations())
    found = {}
    for row in lines("quickstart-gold.jsonl").values():
        text = row["text"]
        entities = tuple(spanning(text, e["start"], e["end"], e["label"]) for e in row["entities"])
        found[row["id"]] = relate.refine(text, context.refine(text, Annotations(entities)))
    return found


def f1(gold: set[Any], found: set[Any]) -> float:
    return 2 * len(gold & found) / (len(gold) + len(found))


def test_gold_names_entities_of_the_samples() -> None:
    entities = lines("quickstart-gold.jsonl")
    gold = lines("quickstart-context-gold.jsonl")
    assert len(gold) == 10
    for name, row in gold.items():
        assert (row["text"], row["entities"]) == (
            entities[name]["text"],
            entities[name]["entities"],
        )
        places = {(e["start"], e["end"]) for e in entities[name]["entities"]}
        for one in row["status"]:
            assert (one["start"], one["end"]) in places
        for relation in row["relations"]:
            assert {tuple(relation["head"]), tuple(relation["tail"])} <= places


def test_status_and_relations_on_the_gold_notes(answers: dict[str, Annotations]) -> None:
    status: tuple[set[Any], set[Any]] = (set(), set())
    related: tuple[set[Any], set[Any]] = (set(), set())
    for name, row in lines("quickstart-context-gold.jsonl").items():
        refined = answers[name]
        by_place = {(e.start, e.end, e.label): e for e in refined.entities}
        for one in row["status"]:
            place = (one["start"], one["end"], one["label"])
            said = by_place[place].assertion
            assert said is not None
            mine = set(one["attributes"]) | ({one["experiencer"]} - {"patient"})
            status[0].update((name, place, attribute) for attribute in mine)
            status[1].update((name, place, attribute) for attribute in attributes(said))
        types = {relation["type"] for relation in row["relations"]}
        related[0].update((name, r["type"], r["head"][0], r["tail"][0]) for r in row["relations"])
        related[1].update(
            (name, r.type, refined.entities[r.head].start, refined.entities[r.tail].start)
            for r in refined.relations
            if r.type in types
        )
    assert f1(*status) > 0.75
    assert f1(*related) > 0.9


def test_answers_change_only_with_their_number(answers: dict[str, Annotations]) -> None:
    """RESULTS is raised by hand: where this fails on purpose, raise it and write the new digest."""
    digest = {"context": hashlib.sha256(), "relations": hashlib.sha256()}
    for name, refined in answers.items():
        context = [refined.sections, [(e.section, e.assertion) for e in refined.entities]]
        digest["context"].update(f"{name}{context}".encode())
        found = [refined.relations, sorted(refined.abbreviations.items())]
        digest["relations"].update(f"{name}{found}".encode())
    now = {room: [RESULTS[room], one.hexdigest()[:16]] for room, one in digest.items()}
    assert now == json.loads(GOLDEN.read_text())
