"""Lines as clinicians write them, and the status of each entity in them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from support.marked import attributes, marked

from actors.config.context import Context
from actors.context import ContextStage

NOTES = yaml.safe_load((Path(__file__).parent / "notes.yaml").read_text("utf-8"))


@pytest.fixture(scope="module")
def stage() -> ContextStage:
    return ContextStage(Context())


@pytest.mark.parametrize("source", [source for sources in NOTES.values() for source in sources])
def test_status_in_a_note(stage: ContextStage, source: str) -> None:
    text, annotations, gold = marked(source)
    refined = stage.refine(text, annotations).entities
    assert [attributes(e.assertion) for e in refined if e.assertion is not None] == gold
