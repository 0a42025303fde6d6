"""Answers of the starters that are kept beside the RESULTS numbers of what made them.

Who changes an answer raises the number, so that lakes know that they are stale; then
``python tests/actors/test_golden_answers.py`` writes the new answers. Small differences between
processors are no change: scores near a threshold, a letter of a scan.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rapidfuzz.distance import Levenshtein

from actors import Document, Extractor
from actors.config import load_model, results_of
from actors.config.ocr import load_ocr
from actors.pages import OcrResult

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).parent / "golden_answers.json"
# The share of entities that may not differ. A language model that prints one word differently on
# another processor goes on differently from there.
MODELS = {"starter:token-classifier": 0.95, "starter:any-labels": 0.9, "starter:extractor": 0.6}
PAGES = ("lab-table.png", "letter-and-scan.pdf")
NOTES = 2

pytestmark = pytest.mark.weights


def notes() -> list[Document]:
    lines = (ROOT / "configs/samples/quickstart-gold.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines[:NOTES]]
    return [Document(row["id"], row["text"]) for row in rows]


def entities_of(name: str) -> dict[str, Any]:
    model = load_model(name)
    with Extractor(model) as extractor:
        found = extractor.extract(notes())
    answers = {
        one.document_id: " | ".join(f"{e.start} {e.label} {e.text}" for e in one.entities)
        for one in found
    }
    return {"results": results_of(model.kind), "answers": answers}


def text_of_pages() -> dict[str, Any]:
    from actors.ocr import OcrReader

    config = load_ocr("starter:ocr")
    files = [(ROOT / "configs/samples/pages" / name) for name in PAGES]
    with OcrReader(config) as reader:
        found = reader.read([Document(file.name, image=file.read_bytes()) for file in files])
    texts = [one.text for one in found if isinstance(one, OcrResult)]
    answers = dict(zip(PAGES, texts, strict=True))
    return {"results": results_of(config.kind), "answers": answers}


def golden(name: str) -> Mapping[str, Any]:
    kept: Mapping[str, Any] = json.loads(GOLDEN.read_text("utf-8"))[name]
    return kept


ADVICE = "the answers changed: see actors/config/result_versions.py; then write the new answers"


@pytest.mark.parametrize(("name", "alike"), MODELS.items())
def test_entities_change_only_with_a_number(name: str, alike: float) -> None:
    kept, now = golden(name), entities_of(name)
    assert now["results"] == kept["results"], "write the new answers beside the new number"
    for note, before in kept["answers"].items():
        old, new = (set(one.split(" | ")) for one in (before, now["answers"][note]))
        assert len(old & new) >= alike * max(len(old), len(new)), f"{note}: {ADVICE}"


def test_read_pages_change_only_with_a_number() -> None:
    kept, now = golden("starter:ocr"), text_of_pages()
    assert now["results"] == kept["results"], "write the new answers beside the new number"
    for page, before in kept["answers"].items():
        alike = Levenshtein.normalized_similarity(before, now["answers"][page])
        assert alike > 0.99, f"{page}: {ADVICE}"


if __name__ == "__main__":
    answers = {name: entities_of(name) for name in MODELS} | {"starter:ocr": text_of_pages()}
    GOLDEN.write_text(json.dumps(answers, ensure_ascii=False, indent=1) + "\n", "utf-8")
