"""The sample documents: gold that is right by construction, and files that match their source."""

from __future__ import annotations

import importlib.util
import json
import sys
import unicodedata
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow.parquet as pq
import pytest
from support import ROOT

SAMPLES = ROOT / "configs" / "samples"


def _builder() -> ModuleType:
    path = ROOT / "recipes" / "samples" / "build.py"
    spec = importlib.util.spec_from_file_location("samples_build", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


build = _builder()


def _gold(path: Path = SAMPLES / "quickstart-gold.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().decode().split("\n") if line]


def _rows(folder: Path = SAMPLES / "quickstart") -> list[dict[str, str]]:
    rows: list[dict[str, str]] = []
    for path in sorted(folder.glob("*.parquet")):
        rows += pq.read_table(path).to_pylist()
    return rows


def test_every_gold_entity_is_the_text_at_its_offsets() -> None:
    for document in _gold():
        end = 0
        for entity in document["entities"]:
            assert document["text"][entity["start"] : entity["end"]] == entity["text"]
            assert entity["text"] == entity["text"].strip() != ""
            assert entity["label"] in build.LABELS
            assert entity["start"] >= end, f"{document['id']}: entities overlap or are unsorted"
            end = entity["end"]


def test_sixty_documents_of_real_length_with_their_own_ids() -> None:
    gold = _gold()
    assert len(gold) >= 60
    assert len({document["id"] for document in gold}) == len(gold)
    assert len({document["text"] for document in gold}) == len(gold)
    for document in gold:
        assert len(document["text"]) >= 600, document["id"]
        assert len(document["entities"]) >= 20, document["id"]
        assert "[[" not in document["text"]


def test_every_label_is_used() -> None:
    used = Counter(entity["label"] for document in _gold() for entity in document["entities"])
    assert set(used) == set(build.LABELS)


def test_parquet_texts_are_the_gold_texts() -> None:
    rows = _rows()
    assert {row["note_id"]: row["note"] for row in rows} == {d["id"]: d["text"] for d in _gold()}
    assert len(rows) == len(_gold())
    assert {row["kind"] for row in rows} == {"abstract", "note"}
    assert all(row["department"] for row in rows)


def test_the_hard_characters_are_still_there() -> None:
    text = "".join(document["text"] for document in _gold())
    for hard in ("\r\n", "\u00a0", "\u2009", "β", "±", "≤", "µ", "–", "−", "·", "é"):
        assert hard in text, repr(hard)
    names = [e["text"] for d in _gold() for e in d["entities"] if e["label"] == "Author"]
    assert any(not unicodedata.is_normalized("NFC", name) for name in names)


def test_committed_samples_equal_a_fresh_build() -> None:
    assert build.differing() == []


def test_a_build_is_reproducible(tmp_path: Path) -> None:
    one, two = build.build(tmp_path / "one"), build.build(tmp_path / "two")
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]
    assert _gold(tmp_path / "one" / "quickstart-gold.jsonl") == _gold()
    assert _rows(tmp_path / "one" / "quickstart") == _rows()


def test_check_sees_a_changed_file(tmp_path: Path) -> None:
    build.build(tmp_path)
    assert build.differing(tmp_path) == []
    gold = tmp_path / "quickstart-gold.jsonl"
    gold.write_text(gold.read_text(encoding="utf-8").replace("metformin", "Metformin"), "utf-8")
    assert build.differing(tmp_path) == ["quickstart-gold.jsonl"]


def test_offsets_are_code_points() -> None:
    markup = "😀 [[Author|Trần V]] [[[Drug|β-blocker]]] 5\u00a0[[BioAndMedicalUnit|mg]]"
    text, entities = build.parse_markup(markup)
    assert text == "😀 Trần V [β-blocker] 5\u00a0mg"
    assert [(e.start, e.end) for e in entities] == [(2, 8), (10, 19), (23, 25)]


BAD = ["[[Drug|aspirin", "[[Medicine|aspirin]]", "[[Drug| aspirin]]", "aspirin]]"]


@pytest.mark.parametrize("bad", BAD)
def test_bad_markup_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match=r"mark|label|white space"):
        build.parse_markup(bad)
