"""Status that a model states, filters by status, and a guideline's hints of sections."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from support.marked import attributes, marked
from support.prompts import guideline, made

from actors.config.context import Context, EntityFilter, StatedStatus
from actors.context import ContextStage
from actors.context.filters import apply_filters
from actors.grounding import ground
from actors.spans import Annotations, spanning
from pipelines.config import load_pipeline
from pipelines.refine import refiner

STAGE = ContextStage(Context(languages=("en",)))
ASKED = guideline(PROBLEM=[{"name": "verbatim-string", "status": ["present", "absent", "family"]}])


def stated(text: str, *problems: tuple[str, str | None], **settings: Any) -> list[set[str]]:
    """Run the stage on a model's answer."""
    answer = {"PROBLEM": [{"name": name, "status": status} for name, status in problems]}
    parsed = made("template", ASKED).parse(json.dumps(answer))
    entities = ground([placed.mention for placed in parsed.mentions], text)
    config = Context(languages=("en",), stated=StatedStatus.model_validate(settings))
    refined = ContextStage(config).refine(text, Annotations(tuple(entities))).entities
    assert [entity.label for entity in refined] == ["PROBLEM.name"] * len(problems)
    return [attributes(entity.assertion) for entity in refined if entity.assertion]


def test_an_enum_beside_the_entity_is_its_status() -> None:
    text = "No fever today. Mother: cough.\nFAMILY HISTORY: gout."
    said = stated(text, ("fever", "present"), ("cough", "absent"), ("gout", "present"))
    # In place of rules, and of what the section implies.
    assert said == [set(), {"negated"}, set()]
    assert stated(text, ("gout", "family")) == [{"family"}]


def test_status_not_stated_by_the_model_comes_from_the_rules() -> None:
    assert stated("No fever today.", ("fever", None)) == [{"negated"}]
    mine = {"values": {"absent": ["historical"]}}
    assert stated("No fever today.", ("fever", "present"), **mine) == [{"negated"}]
    assert stated("No fever today.", ("fever", "absent"), **mine) == [{"historical"}]


def test_the_cue_of_a_stated_status_is_the_entity() -> None:
    text = "Fever."
    entity = spanning(text, 0, 5, "PROBLEM", attributes={"status": "absent"})
    stage = ContextStage(Context(languages=("en",), stated=StatedStatus()))
    (refined,) = stage.refine(text, Annotations((entity,))).entities
    assert refined.assertion is not None
    (cue,) = refined.assertion.cues
    assert (cue.attribute, cue.rule, cue.start, cue.end) == ("negated", "stated.status", 0, 5)


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({"only_status": ["present"]}, ["cough"]),
        ({"only_status": ["present", "historical"]}, ["cough", "gout"]),
        ({"never_status": ["negated"]}, ["cough", "gout", "cancer"]),
        ({"never_status": ["family", "present"]}, ["fever", "gout"]),
        ({"labels": ["DRUG"], "only_status": ["present"]}, ["cough", "fever", "gout", "cancer"]),
    ],
)
def test_entities_are_kept_by_status(settings: dict[str, Any], kept: list[str]) -> None:
    source = "Has <cough>, no <fever>. History of <gout>. Her mother had <cancer>."
    text, annotations, _ = marked(source, label="PROBLEM.name")
    filter_ = EntityFilter.model_validate({"labels": ["PROBLEM"], **settings})
    found = apply_filters(STAGE.refine(text, annotations), (filter_,))
    assert [entity.text for entity in found.entities] == kept


def test_without_a_status_nothing_is_dropped_by_it() -> None:
    entity = spanning("Fever.", 0, 5, "PROBLEM")
    filter_ = EntityFilter(labels=("PROBLEM",), only_status=("negated",))
    assert apply_filters(Annotations((entity,)), (filter_,)).entities == (entity,)


@pytest.mark.parametrize(
    "settings",
    [{}, {"only": ["plan"], "never": ["labs"]}, {"only": ["plan"], "never_status": ["negated"]}],
)
def test_a_filter_has_one_condition(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="only_status"):
        EntityFilter.model_validate({"labels": ["X"], **settings})


def test_a_guideline_hints_where_its_labels_stand(tmp_path: Path) -> None:
    labels = {
        "medication": {"only_in": ["medications"]},
        "disease": {"never_in": ["family_history"]},
        "dose": {},
    }
    model = {
        "name": "any",
        "kind": "gliner",
        "weights": {"model": "none"},
        "prompt": {"guideline": {"name": "g", "labels": labels}},
        "labels": {"replace": {"medication": "DRUG"}},
    }
    (tmp_path / "any.yaml").write_text(yaml.safe_dump(model))
    content = {
        "name": "p",
        "source": {"path": "notes"},
        "steps": [{"model": "any.yaml"}],
        "context": {"languages": ["en"]},
        "sink": {"path": "out"},
    }
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(content))
    text = "Takes aspirin.\nMEDICATIONS: insulin.\nFAMILY HISTORY: gout. Asthma."
    words = {"aspirin": "DRUG", "insulin": "DRUG", "gout": "disease", "Takes": "disease"}
    places = [(text.index(word), word, label) for word, label in words.items()]
    given = tuple(spanning(text, at, at + len(word), label) for at, word, label in places)
    refined = refiner(load_pipeline(tmp_path / "p.yaml").stages)(text, Annotations(given))
    assert {entity.text for entity in refined.entities} == {"insulin", "Takes"}
