"""A small vocabulary that no one publishes, and its index."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.linking import build_index, gather
from actors.linking.index import VocabularyIndex
from actors.linking.vocabulary import Name, Vocabulary

_CONCEPTS: tuple[tuple[str, tuple[str, ...], str, tuple[str, ...]], ...] = (
    ("D0", ("Disease",), "disease", ()),
    ("D1", ("Breast Neoplasms", "breast cancer", "breast tumor"), "disease", ("D0",)),
    ("D2", ("Familial Breast Cancer", "Hereditary breast cancer"), "disease", ("D1",)),
    ("D3", ("Lung Neoplasms", "lung cancer", "lung tumor", "pulmonary neoplasms"), "disease", ()),
    ("D4", ("Kidney Neoplasms", "kidney cancer", "renal neoplasms"), "disease", ("D0",)),
    ("D5", ("Kidney Failure", "renal failure"), "disease", ("D0",)),
    ("D6", ("Kidney Calculi", "renal calculi"), "disease", ("D0",)),
    ("D7", ("Cold", "common cold"), "disease", ("D0",)),
    ("F1", ("Cold sensation", "cold"), "finding", ()),
    ("R1", ("metformin",), "IN", ()),
    ("R2", ("metformin hydrochloride 500 MG Oral Tablet",), "SCD", ("R1",)),
    ("R3", ("metformin hydrochloride 850 MG Oral Tablet",), "SCD", ("R1",)),
    ("R4", ("metoprolol succinate",), "PIN", ()),
    ("R5", ("ciprofloxacin",), "IN", ()),
    ("R6", ("amlodipine",), "IN", ()),
)  # fmt: skip


@pytest.fixture(scope="session")
def vocabulary() -> Vocabulary:
    names = [
        Name(code, term, "list", row, preferred=not place, types=(kind,), parents=parents)
        for row, (code, terms, kind, parents) in enumerate(_CONCEPTS, start=1)
        for place, term in enumerate(terms)
    ]
    return gather("small", "1", names)


@pytest.fixture(scope="session")
def folder(vocabulary: Vocabulary, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_index(vocabulary, tmp_path_factory.mktemp("indexes"))


@pytest.fixture(scope="session")
def index(folder: Path) -> VocabularyIndex:
    return VocabularyIndex(folder)
