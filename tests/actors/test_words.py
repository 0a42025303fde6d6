from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.words import boundaries, clusters, words


@pytest.mark.parametrize(
    ("text", "chunks"),
    [
        ("80.5mg", ["80.5", "mg"]),
        ("58-year-old", ["58", "-", "year", "-", "old"]),
        ("PD-L1 65%.", ["PD", "-", "L", "1", " ", "65", "%", "."]),
        ("1,200 in 2024.", ["1,200", " ", "in", " ", "2024", "."]),
        ("a_b", ["a", "_", "b"]),
        ("糖尿病", ["糖", "尿", "病"]),
        ("đau bụng", ["đau", " ", "bụng"]),
    ],
)
def test_words(text: str, chunks: list[str]) -> None:
    assert words(text) == chunks


def test_marks_stay_with_their_letter_in_every_form() -> None:
    text = unicodedata.normalize("NFD", "bệnh nhân")
    assert [unicodedata.normalize("NFC", w) for w in words(text)] == ["bệnh", " ", "nhân"]
    assert len(clusters(text)) == len("bệnh nhân")


@given(st.text())
def test_chunks_are_the_text_and_boundaries_their_edges(text: str) -> None:
    assert "".join(words(text)) == text
    assert "".join(clusters(text)) == text
    flags = boundaries(text)
    edges = [0]
    for word in words(text):
        edges.append(edges[-1] + len(word))
    assert [i for i, flag in enumerate(flags) if flag] == edges
