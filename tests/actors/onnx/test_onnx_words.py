"""Words of tokens, and entities that end where a character does."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from support import tiny_onnx
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from actors import Document, Extractor
from actors.config import LabelFilter, OnnxModel
from actors.onnx.tokenizer import TextTokenizer, TokenizedText
from actors.onnx.tokens.entities import EntityBuilder
from actors.onnx.tokens.label_decoder import TokenSpan


def tokens(text: str, folder: Path, tokenizer: Tokenizer) -> TokenizedText:
    tokenizer.save(str(folder / "tokenizer.json"))
    return TextTokenizer(folder).encode(text)


def words(text: str, folder: Path, tokenizer: Tokenizer) -> list[str]:
    """The text of each word, from its first token to its last."""
    found = tokens(text, folder, tokenizer)
    return [
        text[
            found.starts[found.words == word].min() : found.ends[found.words == word].max()
        ].strip()
        for word in dict.fromkeys(found.words.tolist())
    ]


def unigram(text: str, split: bool = True) -> Tokenizer:
    """SentencePiece's kind, of single characters."""
    characters = sorted(set(unicodedata.normalize("NFKC", text).replace(" ", "")))
    vocabulary = [("<s>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -1.0)]
    vocabulary += [(one, -3.0) for one in characters]
    made = Tokenizer(models.Unigram(vocabulary, unk_id=2))
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer = pre_tokenizers.Metaspace(split=split)
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    return made


@pytest.mark.parametrize("split", [True, False], ids=["split", "whole text"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("took metformin 5.97 mg", ["took", "metformin", "5.97", "mg"]),
        ("reçoit de l'insuline", ["reçoit", "de", "l'", "insuline"]),
        ("l’insuline qu'il prend", ["l’", "insuline", "qu'", "il", "prend"]),
        ("all'ospedale", ["all'", "ospedale"]),
        ("patient's O'Brien", ["patient's", "O'Brien"]),
        ("患者は糖尿病", list("患者は糖尿病")),
        ("a  b\n\nc", ["a", "b", "c"]),
        ("wait… 3 mg", ["wait…", "3", "mg"]),
    ],
)
def test_words_are_what_stands_between_white_space(
    text: str, expected: list[str], split: bool, tmp_path: Path
) -> None:
    assert words(text, tmp_path, unigram(text, split)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("met-formin (5.97 mg)", ["met", "-", "formin", "(", "5.97", "mg", ")"]),
        ("5.975,74", ["5.975,74"]),
        ("l'insulin", ["l", "'", "insulin"]),
        ("糖尿", ["糖", "尿"]),
    ],
)
def test_punctuation_ends_a_word_if_the_tokenizer_splits_there(
    text: str, expected: list[str], tmp_path: Path
) -> None:
    assert words(text, tmp_path, tiny_onnx.wordpiece()) == expected


def test_an_elided_article_does_not_decide_for_its_noun(tmp_path: Path) -> None:
    text = "de l'insuline"
    tokenizer = unigram(text)
    table = tiny_onnx.labelled(tokenizer, ("O", "B-A", "I-A"), dict.fromkeys("insu", "B-A"))
    tiny_onnx.save(tmp_path, tiny_onnx.by_token(table), tokenizer, ("O", "B-A", "I-A"))
    content = {"name": "m", "kind": "onnx", "weights": {"model": str(tmp_path)}}
    for pieces in ("first", "mean"):
        config = OnnxModel.model_validate({**content, "decode": {"pieces": pieces}})
        with Extractor(config) as extractor:
            (extraction,) = extractor.extract([Document("1", text)])
        assert [entity.text for entity in extraction.entities] == ["insuline"]


def chosen(text: str, found: TokenizedText, *spans: tuple[int, int]) -> list[str]:
    made = [TokenSpan(first, last, "A", 0.9) for first, last in spans]
    return [
        one.text for one in EntityBuilder(LabelFilter(), ["A"], "m").entities(text, found, made)
    ]


def test_an_entity_never_ends_inside_a_syllable(tmp_path: Path) -> None:
    """Under a composing normaliser a token reaches over the first jamo of its syllable only."""
    whole = "환자는 당뇨병 진단"
    text = unicodedata.normalize("NFD", whole)
    found = tokens(text, tmp_path, unigram(whole))
    inside = [i for i, word in enumerate(found.words) if word == 2]
    (disease,) = chosen(text, found, (inside[1], inside[-1]))
    assert unicodedata.normalize("NFC", disease) == "당뇨병"
    neighbours = chosen(text, found, *((i, i) for i in inside[1:]))
    assert [unicodedata.normalize("NFC", one) for one in neighbours] == list("당뇨병")


@pytest.mark.parametrize("cluster", ["👩\u200d⚕\ufe0f", "🇻🇳", "👍🏽", "e\u0323\u0302"])
def test_an_entity_has_whole_characters(cluster: str) -> None:
    text = f"x{cluster}y"
    last = len(text) - 1
    for cut in range(2, last):
        array = np.array
        found = TokenizedText(
            ids=array([5, 6, 7], np.int32),
            starts=array([0, cut, last], np.int32),
            ends=array([cut, last, last + 1], np.int32),
            words=array([1, 1, 1], np.int32),
        )
        assert chosen(text, found, (0, 0)) == [f"x{cluster}"]
        assert chosen(text, found, (1, 2)) == [f"{cluster}y"]
        assert chosen(text, found, (0, 0), (1, 2)) == [f"x{cluster}", "y"]
