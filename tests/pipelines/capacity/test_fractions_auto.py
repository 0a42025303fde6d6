"""Sequences and context that a model file leaves open: chosen from the share of a GPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.gguf_models import make
from support.memory_models import Kind, Shape, sized_model, write

from actors.config import ConfigError, GgufModel
from actors.extractor import Extractor, Share
from actors.gguf import backend
from actors.memory import (
    GgufFile,
    estimate_gguf,
    open_header,
    resolve_gguf_context,
    with_default_context,
)
from actors.spans import Document
from pipelines.capacity.fractions import estimate_memory
from pipelines.pool import Pool

SHAPE = Shape("qwen2", 1536, 28, 12, 2, 128, 8960, 151936, Kind.Q8_0, tied=True)
CARD = 24 * 10**9


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shape of Qwen2 1.5B, with a context of 32,768 tokens of its own."""
    return write(tmp_path_factory.mktemp("gguf") / "m.gguf", SHAPE)


def model_of(path: Path, **context: Any) -> GgufModel:
    return GgufModel.model_validate(
        {
            "name": "m",
            "kind": "gguf",
            "weights": {"model": str(path)},
            "context": {"prefixes": 2, **context},
            "prompt": {"format": "prose"},
        }
    )


def resolve_fractions(model: GgufModel, share: float, card: int = CARD) -> GgufModel:
    _, found = sized_model(Pool(num_gpus=share), model, lambda: card)
    assert isinstance(found, GgufModel)
    return found


def numbers(model: GgufModel) -> tuple[object, object]:
    return model.context.sequences, model.context.n_ctx


def fits(model: GgufModel, path: Path, share: float, **more: int) -> bool:
    """Return True if the model fits into the share with its context numbers raised by ``more``."""
    changes = {name: getattr(model.context, name) + count for name, count in more.items()}
    context = model.context.model_copy(update=changes)
    need = estimate_gguf(GgufFile(open_header(path)), model.model_copy(update={"context": context}))
    return need.device * 1.05 <= share * CARD


def test_a_share_decides_how_many_sequences_are_in_flight(path: Path) -> None:
    for model in (model_of(path), model_of(path, sequences="auto")):  # unset is auto
        found = resolve_fractions(model, 0.3)
        slots, length = numbers(found)
        assert isinstance(slots, int)
        assert 8 < slots < 64
        assert length == 4096
        assert fits(found, path, 0.3)
        assert not fits(found, path, 0.3, sequences=1)
    assert numbers(resolve_fractions(model_of(path), 1.0)) == (64, 4096)
    assert numbers(resolve_fractions(model_of(path, sequences=3), 1.0)) == (3, 4096)


def test_a_share_decides_the_context(path: Path) -> None:
    # As many sequences as are useful come first, then a longer context.
    both = resolve_fractions(model_of(path, n_ctx="auto"), 1.0)
    slots, length = numbers(both)
    assert slots == 64
    assert isinstance(length, int)
    assert 4096 < length < 32768
    assert not fits(both, path, 1.0, n_ctx=256)
    # With its sequences stated, all of the share is for the context: up to the model's own.
    assert numbers(resolve_fractions(model_of(path, n_ctx="auto", sequences=2), 1.0)) == (2, 32768)
    # And never more than a common room holds.
    common = model_of(path, n_ctx="auto", sequences=2, kv_tokens=10_000)
    assert numbers(resolve_fractions(common, 1.0)) == (2, 9984)


def test_defaults_shrink_to_fit_the_gpu(path: Path) -> None:
    fewer = resolve_fractions(model_of(path, n_ctx="auto"), 0.13)
    slots, length = numbers(fewer)
    assert isinstance(slots, int)
    assert 1 <= slots < 8
    assert length == 4096  # answers depend on it: it is the last to give way
    assert not fits(fewer, path, 0.13, sequences=1)
    stated = resolve_fractions(model_of(path, n_ctx="auto", sequences=8), 0.13)
    slots, length = numbers(stated)
    assert slots == 8
    assert isinstance(length, int)
    assert 2048 <= length < 4096
    assert not fits(stated, path, 0.13, n_ctx=256)


def test_model_too_large_at_minimum_settings_is_rejected_with_numbers(path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        resolve_fractions(model_of(path, n_ctx="auto"), 0.1)
    said = str(refused.value)
    assert "m: num_gpus 0.1 of a GPU with 24.0 GB is 2.40 GB, but it needs " in said
    # The least: three rooms of 2,048 tokens.
    assert f"KV cache {3 * 2048 * 28 * 2 * 128 * 2 * 2 / 1e9:.2f}" in said
    enough = float(said.split("pool.num_gpus: ")[1].split(";")[0])
    slots, length = numbers(resolve_fractions(model_of(path, n_ctx="auto"), enough))
    assert slots == 1
    assert isinstance(length, int)
    assert 2048 <= length < 4096  # a hundredth of the GPU is more than a few tokens
    with pytest.raises(ConfigError, match="nothing smaller fits"):
        resolve_fractions(model_of(path, n_ctx="auto"), 1.0, 10**9 // 2)


def test_a_fraction_that_is_auto_holds_the_usual_numbers(path: Path) -> None:
    pool, found = sized_model(Pool(num_gpus="auto"), model_of(path, n_ctx="auto"), lambda: CARD)
    stated = model_of(path, n_ctx=4096, sequences=8)
    assert isinstance(found, GgufModel)
    assert numbers(found) == (8, 4096)
    assert pool.gpus == sized_model(Pool(num_gpus="auto"), stated, lambda: CARD)[0].gpus
    # A GPU that is too small for them is taken whole, with what it holds.
    small = 3 * 10**9
    pool, found = sized_model(Pool(num_gpus="auto"), model_of(path, n_ctx="auto"), lambda: small)
    assert isinstance(found, GgufModel)
    assert 0.9 < pool.gpus <= 1
    assert found.context.slots < 8
    assert estimate_memory(found).device * 1.05 <= small


def test_a_short_context_of_the_models_own_is_the_most(path: Path) -> None:
    header = open_header(path)
    short = replace(header, values={**header.values, "qwen2.context_length": 1000})
    model = model_of(path, n_ctx="auto")
    assert numbers(resolve_gguf_context(GgufFile(short), model, 1.0, CARD)) == (64, 1000)
    assert numbers(with_default_context(GgufFile(short), model)) == (8, 1000)


@pytest.mark.weights
def test_an_extractor_alone_settles_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path / "s.gguf")
    own = open_header(path).number("context_length")
    model = model_of(path, n_ctx="auto", prefixes=1, use_extra_bufts=False)
    model = model.model_copy(
        update={
            "prompt": model.prompt.model_copy(update={"instruction": "Say it:"}),
            "sampling": model.sampling.model_copy(update={"n_predict": 4}),
        }
    )
    stated = model.model_copy(
        update={"context": model.context.model_copy(update={"n_ctx": own, "sequences": 8})}
    )
    with Extractor(model, Share(1, 0.0)) as alone, Extractor(stated, Share(1, 0.0)) as other:
        # Equal settings, equal fingerprints, however they came about.
        assert alone.fingerprint == other.fingerprint
        (answer,) = alone.extract([Document(id="1", text="Metformin 500 mg.")])
    assert answer.failure is None
    # A GPU of which nobody was given a share is not filled.
    monkeypatch.setattr(backend, "gpu_memory", lambda: CARD)
    assert numbers(backend._resolve(model, None)) == (8, own)
    assert numbers(backend._resolve(model, 0.5)) == (64, own)
    assert numbers(backend._resolve(model, 0.0)) == (8, own)
