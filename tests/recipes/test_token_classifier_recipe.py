"""Corpora as the recipe of token classifiers reads them, and what flat labels lose of them."""

from __future__ import annotations

import gzip
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
from support import ROOT

tokenizers = pytest.importorskip("tokenizers")


def _spans() -> ModuleType:
    path = ROOT / "recipes" / "token_classifier" / "spans.py"
    spec = importlib.util.spec_from_file_location("token_classifier_spans", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


spans = _spans()
TEXT = "chronic kidney disease stage three"
NESTED = [(0, 22, "Disease"), (8, 14, "Organ"), (23, 34, "Stage")]


def _tokenizer() -> object:
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return made


def _write(path: Path) -> None:
    entities = [{"start": start, "end": end, "label": label} for start, end, label in NESTED]
    row = json.dumps({"id": "1", "text": TEXT, "entities": entities}) + "\n"
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(row.encode()))
    else:
        path.write_text(row, encoding="utf-8")


@pytest.mark.parametrize("name", ["train.jsonl", "train.jsonl.gz"])
def test_a_corpus_is_read_zipped_or_not(tmp_path: Path, name: str) -> None:
    _write(tmp_path / name)
    names = spans.label_names(label for _, _, label in NESTED)
    (text,) = spans.read_texts(tmp_path / "train.jsonl", _tokenizer(), names)
    assert set(text.spans) == set(NESTED)


def test_of_nested_spans_the_first_is_laid_and_all_are_counted(tmp_path: Path) -> None:
    _write(tmp_path / "dev.jsonl")
    names = spans.label_names(label for _, _, label in NESTED)
    (text,) = spans.read_texts(tmp_path / "dev.jsonl", _tokenizer(), names)
    laid = spans.to_spans(text.labels, text.offsets, names)
    assert set(laid) == {NESTED[0], NESTED[2]}
    assert spans.score([(laid, text.spans)]).f1() == pytest.approx(2 * 2 / (2 + 3))
