"""The recipe of the starter extractor: what it trains on is what medspan asks, and what it writes
is what llama.cpp reads."""

from __future__ import annotations

import importlib
import json
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import ROOT
from tokenizers.pre_tokenizers import ByteLevel

from actors.config.gguf import GgufContext
from actors.config.prompt import PromptSection
from actors.engine import Block
from actors.engine.constraint import Constraint
from actors.gguf import LlamaModel, LlamaRunner
from actors.guideline import Guideline
from actors.prompts import prompt_format

RECIPE = ROOT / "recipes" / "extractor"
TEXTS = [
    "Metformin 500 mg twice daily for type 2 diabetes (n = 28).",
    "No drug was given.",
    'He said "no" to\nmetformin; brackets [x], {y}, back\\slash.',
    "Bệnh nhân lao phổi được xét nghiệm PCR tại Hà Nội năm 2017.",
    "  two  spaces,\r\nnaïve café \U0001f9ea 3 µg/mL ≥ 7.5%  ",
    "<|end|> is text here, and so is <|assistant|>.",
]


@pytest.fixture(scope="module")
def recipe() -> Iterator[dict[str, Any]]:
    """The modules of the recipe that need no torch."""
    names = ("corpora", "swaps", "tokenizer", "samples", "export", "reference")
    sys.path.insert(0, str(RECIPE))
    try:
        yield {name: importlib.import_module(name) for name in names}
    finally:
        sys.path.remove(str(RECIPE))
        for name in names:
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def tokenizer(recipe: dict[str, Any]) -> Any:
    """A vocabulary of the recipe's kind, of little text."""
    texts = [(path.read_text("utf-8"), 1) for path in sorted((ROOT / "recipes").rglob("*.txt"))]
    return recipe["tokenizer"].train([*texts, *((text, 5) for text in TEXTS)], 600)


def test_mentions_change_places_and_the_rest_of_a_text_stays(recipe: dict[str, Any]) -> None:
    text_of, span_of = recipe["corpora"].Text, recipe["corpora"].Span

    def made(text: str, *words: str) -> Any:
        places = sorted((m.start(), m.end()) for word in words for m in re.finditer(word, text))
        return text_of(text, tuple(span_of(*place, "Chemical") for place in places))

    window = made("Given aspirin 5 mg; aspirin, zinc.", "aspirin", "zinc")
    corpora = {"bc5cdr": [window, made("Carbamazepine", "Carbamazepine")]}
    corpora["phee"] = [text_of("Naproxen 220", (span_of(0, 12, "Drug"),))]
    mentions = recipe["swaps"].Mentions(corpora)
    seen = set()
    for seed in range(200):
        changed = mentions.changed("bc5cdr", window, random.Random(seed))
        first, second, third = (changed.text[s.start : s.end] for s in changed.spans)
        assert changed.text == f"Given {first} 5 mg; {second}, {third}."
        assert first == second
        assert {span.label for span in changed.spans} == {"Chemical"}
        seen.add(first)
    assert {"aspirin", "zinc", "Carbamazepine", "Naproxen 220"} <= seen  # also a donor's
    assert any(word not in " aspirin zinc Carbamazepine Naproxen 220" for word in seen)  # invented
    nested = text_of("zinc oxide", (span_of(0, 10, "Chemical"), span_of(0, 4, "Chemical")))
    assert mentions.changed("bc5cdr", nested, random.Random(1)) is nested


def written(path: Path, recipe: dict[str, Any], tokenizer: Any, **changed: Any) -> Path:
    """A GGUF of drawn weights; with a tokenizer, as large as that."""
    shape = {**recipe["reference"].SHAPE, **changed}
    weights, _ = recipe["reference"].drawn()
    rows = shape["vocabulary"] - len(weights["embeddings"])
    more = np.zeros((rows, shape["width"]), np.float32)
    weights["embeddings"] = np.concatenate([weights["embeddings"], more])
    chat = recipe["tokenizer"].CHAT
    recipe["export"].write(path, shape, weights, tokenizer, chat, "F32")
    return path


@pytest.mark.weights
def test_llama_cpp_computes_what_pytorch_does(tmp_path: Path, recipe: dict[str, Any]) -> None:
    # The logits are PyTorch's, written by recipes/extractor/reference.py: torch is not installed
    # where the tests run.
    expected = np.load(ROOT / "tests" / "fixtures" / "extractor_logits.npy")
    _, tokens = recipe["reference"].drawn()
    shape = recipe["reference"].SHAPE
    assert expected.shape == (len(tokens), shape["vocabulary"])
    letters = sorted(ByteLevel.alphabet())
    pairs = [("a", letter) for letter in letters[: shape["vocabulary"] - len(letters) - 1]]
    tokens_of = [*letters, *("".join(pair) for pair in pairs)]
    words = {token: number for number, token in enumerate(tokens_of)}
    vocabulary = {
        "model": {"vocab": words, "merges": pairs},
        "added_tokens": [
            {"id": shape["vocabulary"] - 1, "content": "<|end|>", "special": True},
        ],
    }
    path = written(tmp_path / "tiny.gguf", recipe, vocabulary)
    options = GgufContext(
        n_ctx=128, sequences=1, prefixes=0, flash_attn="off", type_k="f32", type_v="f32"
    )
    runner = LlamaRunner(LlamaModel(path, options, gpu=False), options, threads=1)
    try:
        found = np.array(runner.decode([Block(0, 0, tokens.tolist(), rows=len(tokens))]))
    finally:
        runner.close()
    assert np.linalg.norm(found - expected) < 1e-3 * np.linalg.norm(expected)
    assert np.abs(found - expected).max() < 1e-3 * np.abs(expected).max()


@pytest.mark.weights
def test_prompts_and_answers_are_cut_as_llama_cpp_cuts_them(
    tmp_path: Path, recipe: dict[str, Any], tokenizer: Any
) -> None:
    content = json.loads(tokenizer.to_str())
    path = written(
        tmp_path / "words.gguf", recipe, content, vocabulary=tokenizer.get_vocab_size(), layers=1
    )
    model = LlamaModel(path, GgufContext(), gpu=False)
    try:
        assert model.chat_template == recipe["tokenizer"].CHAT
        assert [model.pieces[end] for end in model.ends] == [b""]
        constraint = model.constraint_tokenizer()
        for form in ("template", "entity-list"):
            for text in TEXTS[:-1]:
                section = asked(form, ["Drug", "Age"])
                made = prompt_format(section, recipe["samples"].CHAT_TEMPLATE)
                prompt = made.render(text)
                # samples.py cuts the prefix, which documents share, and the rest apart.
                apart = [
                    token
                    for part in (prompt.prefix, prompt.suffix)
                    for token in tokenizer.encode("".join(piece.text for piece in part)).ids
                ]
                assert model.tokenize(prompt.prefix + prompt.suffix) == apart
                words = recipe["corpora"].Span(*span_of(text), "Drug")
                window = recipe["corpora"].Text(text, (words,))
                ask = (("Drug", "Drug", ""), ("Age", "Age", ""))
                said, weights = recipe["samples"].answer(form, ask, window, [words])
                assert len(weights) == len(said)
                grammar = made.grammar(text)
                assert grammar is not None
                tokens = tokenizer.encode(said).ids
                assert model.tokenize_text(said) == tokens
                state = Constraint(constraint, grammar)
                for place, token in enumerate(tokens):
                    # What the engine feeds unasked is what training showed.
                    forced = state.forced()
                    assert forced == tokens[place : place + len(forced)], (form, place)
                    assert state.consume(token)
                assert state.complete
                mention = made.parse(said).mentions[0].mention
                assert (mention.label, mention.text) == ("Drug", text[words.start : words.end])
    finally:
        model.close()


def test_a_word_has_the_same_pieces_with_and_without_a_space(tokenizer: Any) -> None:
    for word in ("metformin", "diabetes", "lao", "phổi", "zyxomycin", "PCR", "naïve"):
        alone, spaced = tokenizer.encode(word).tokens, tokenizer.encode(f" {word}").tokens
        assert "".join(spaced) == "Ġ" + "".join(alone)
        assert spaced[-len(alone) + 1 :] == alone[1:] or len(alone) == 1
        assert len(spaced) - len(alone) in (0, 1)


def test_a_sample_counts_its_answer_and_nothing_else(
    recipe: dict[str, Any], tokenizer: Any
) -> None:
    corpora, samples = recipe["corpora"], recipe["samples"]
    disease = TEXTS[0].index("type 2 diabetes")
    spans = corpora.ordered(
        {corpora.Span(0, 9, "Drug"), corpora.Span(disease, disease + 15, "Disease")}
    )
    text = corpora.Text(TEXTS[0], spans)
    sampler = samples.Sampler(tokenizer, {"bc5cdr": [text]}, 0)
    ask = (("Disease", "illness", "what ails"), ("Drug", "Drug", ""))
    sample = sampler.make("entity-list", ask, text)
    counted = [t for t, w in zip(sample.tokens, sample.weight, strict=True) if w]
    expected = [
        {"entity": "Metformin", "type": "Drug"},
        {"entity": "type 2 diabetes", "type": "illness"},
    ]
    said = tokenizer.decode([int(token) for token in counted[:-1]])
    assert json.loads(said) == expected
    assert int(counted[-1]) == tokenizer.token_to_id("<|end|>")
    start, end = sample.document
    assert tokenizer.decode([int(t) for t in sample.tokens[start:end]]).strip() == TEXTS[0]
    tagged = [int(t) for t, tag in zip(sample.tokens[start:end], sample.tags, strict=True) if tag]
    assert tokenizer.decode(tagged).split() == ["Metformin", "type", "2", "diabetes"]
    assert sample.begins.sum() == 2
    template = sampler.make("template", ask, text)
    counted = [int(t) for t, w in zip(template.tokens, template.weight, strict=True) if w]
    answer = {"illness": ["type 2 diabetes"], "Drug": ["Metformin"]}
    assert json.loads(tokenizer.decode(counted[:-1])) == {"entities": [answer]}


def test_samples_are_the_same_whenever_they_are_drawn(
    recipe: dict[str, Any], tokenizer: Any
) -> None:
    corpora, samples = recipe["corpora"], recipe["samples"]
    texts = [corpora.Text(text, (corpora.Span(0, 2, "Chemical"),)) for text in TEXTS]
    one, two = (samples.Sampler(tokenizer, {"bc5cdr": texts}, 7) for _ in range(2))
    numbers = list(range(40))
    random.Random(0).shuffle(numbers)
    late = {number: two.sample(number) for number in numbers}
    for number in range(40):
        assert np.array_equal(one.sample(number).tokens, late[number].tokens)


def asked(form: str, labels: list[str]) -> PromptSection:
    """The section of a model file that asks for some labels, as the recipe trains it."""
    guideline = Guideline.model_validate({"name": "asked", "labels": dict.fromkeys(labels, "")})
    return PromptSection.model_validate(
        {"format": form, "json_style": "compact", "guideline": guideline}
    )


def span_of(text: str) -> tuple[int, int]:
    """The first two words of a text."""
    words = text.split()[:2]
    start = text.index(words[0])
    return start, text.index(words[1], start + len(words[0])) + len(words[1].rstrip(",.;"))
