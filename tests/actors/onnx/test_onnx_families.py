"""Real architectures, exported from transformers, against what transformers' pipeline finds.

The folders are made by recipes/onnx_families/make.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from support import FIXTURES

from actors import Document, Extractor
from actors.config import OnnxModel

Span = tuple[int, int, str]
FOLDERS = sorted((FIXTURES / "onnx_families").iterdir())


def joined(spans: Iterable[Sequence[Any]]) -> list[Span]:
    """Join adjacent spans of one type: transformers begins an entity at every word piece with a B-
    label, and medspan does not."""
    found: list[Span] = []
    for start, end, label in spans:
        if found and found[-1][2] == label and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]), label)
        else:
            found.append((start, end, label))
    return found


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_entities_are_those_of_transformers(folder: Path) -> None:
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    config = OnnxModel.model_validate(
        {
            "name": folder.name,
            "kind": "onnx",
            "weights": {"model": str(folder)},
            "decode": {"algorithm": "greedy"},
        }
    )
    with Extractor(config) as extractor:
        extractions = extractor.extract(
            Document(str(index), case["text"]) for index, case in enumerate(expected)
        )
    assert len(FOLDERS) == 5
    for case, extraction in zip(expected, extractions, strict=True):
        found = [(entity.start, entity.end, entity.label) for entity in extraction.entities]
        assert joined(found) == joined(case["spans"])
