"""Offsets over random Unicode, for each family of tokenizers: text[start:end] == entity.text."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import tiny_onnx

from actors import Document, Extractor, Status
from actors.config import OnnxModel

FRAGMENTS = [
    *"aZ09 .,;-()[]%<>\t\n\r\x00\u00a0\u200b\u202f\u3000\ufeff\ufffd",
    "\r\n",
    "e\u0301",
    "\u0301",
    "a\u0323\u0302",
    "đ",
    "İ",
    "ß",
    "ﬁ",
    "㎎",
    "½",
    "Ω",
    "👩‍⚕️",
    "🇻🇳",
    "🧪",
    "\ue000",
    "\U0010ffff",
    "한국어",
    "한국어",
    "हिन्दी",
    "ไทย",
    "العربية",
    "[SEP]",
    "</s>",
    "<pad>",
    "▁",
    "Ġ",
    *(word for line in tiny_onnx.CORPUS for word in line.split()[:12]),
]
texts = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    st.lists(st.sampled_from(FRAGMENTS), max_size=60).map("".join),
    st.lists(st.sampled_from(FRAGMENTS), max_size=60).map(
        lambda parts: unicodedata.normalize("NFD", " ".join(parts))
    ),
    st.lists(st.sampled_from(FRAGMENTS), max_size=60).map(
        lambda parts: unicodedata.normalize("NFC", " ".join(parts))
    ),
)


@pytest.fixture(scope="module", params=sorted(tiny_onnx.FAMILIES))
def extractor(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Extractor]:
    folder = tmp_path_factory.mktemp(request.param)
    yield from _extractor(folder, request.param)


def _extractor(folder: Path, family: str) -> Iterator[Extractor]:
    tokenizer = tiny_onnx.FAMILIES[family]()
    model = tiny_onnx.by_token(tiny_onnx.random_table(tokenizer, len(tiny_onnx.BIO)))
    tiny_onnx.save(folder, model, tokenizer)
    config = OnnxModel.model_validate(
        {
            "name": family,
            "kind": "onnx",
            "weights": {"model": str(folder)},
            "window": {"size": 16},
        }
    )
    with Extractor(config) as made:
        yield made


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=texts)
def test_an_entity_is_the_very_characters_of_the_text(extractor: Extractor, text: str) -> None:
    (extraction,) = extractor.extract([Document("1", text)])
    assert extraction.status is Status.OK
    for entity in extraction.entities:
        assert entity.start is not None
        assert entity.end is not None
        assert text[entity.start : entity.end] == entity.text
        assert entity.text == entity.text.strip() != ""
        assert entity.score is not None
    starts = [entity.start for entity in extraction.entities]
    assert starts == sorted(starts, key=lambda start: start or 0)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("family", sorted(tiny_onnx.FAMILIES))
def test_every_visible_character_has_a_token(
    family: str, form: Literal["NFC", "NFD"], tmp_path: Path
) -> None:
    """A model that labels everything finds all of the text, accents and all."""
    tokenizer = tiny_onnx.FAMILIES[family]()
    table = tiny_onnx.random_table(tokenizer, 1)
    tiny_onnx.save(tmp_path, tiny_onnx.by_token(table), tokenizer, ["Text"])
    config = OnnxModel.model_validate(
        {"name": "all", "kind": "onnx", "weights": {"model": str(tmp_path)}}
    )
    text = unicodedata.normalize(form, tiny_onnx.CORPUS[1] + "\r\n\u00a0" + tiny_onnx.CORPUS[2])
    with Extractor(config) as extractor:
        (extraction,) = extractor.extract([Document("1", text)])
    (entity,) = extraction.entities
    assert entity.text == text.strip()
