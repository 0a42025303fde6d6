"""Logits of a few tokens, computed outside of llama.cpp, are those that llama.cpp computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import gguf
import numpy as np
import pytest
from support.gguf_models import ARCHITECTURES, make

from actors.arrays import Int64Array
from actors.config.gguf import GgufContext
from actors.engine import Block
from actors.gguf import LlamaModel, LlamaRunner
from actors.gguf.output_head import OutputHead

pytestmark = pytest.mark.weights
OPTIONS = GgufContext(
    n_ctx=128, sequences=6, prefixes=0, n_batch=96, n_ubatch=32, flash_attn="off", type_k="f32"
)
UNIFIED = OPTIONS.model_copy(update={"kv_tokens": 768})
Wanted = Callable[[np.random.Generator, int], Int64Array | None]


def load(path: Path, options: GgufContext = OPTIONS) -> LlamaRunner:
    return LlamaRunner(LlamaModel(path, options), options, threads=1)


def few(draw: np.random.Generator, size: int) -> Int64Array | None:
    return np.sort(draw.choice(size, int(draw.integers(1, 40)), replace=False))


def some_all(draw: np.random.Generator, size: int) -> Int64Array | None:
    return None if draw.random() < 0.3 else few(draw, size)


def steps(seed: int, size: int, wanted: Wanted) -> list[list[Block]]:
    """Steps of 1 to 6 sequences with blocks of unequal length, ids without gaps or with."""
    draw = np.random.default_rng(seed)
    at, found = [0] * 6, []
    for _ in range(6):
        chosen = np.flatnonzero(draw.random(6) < 0.8)
        blocks = []
        for sequence in map(int, chosen):
            length = int(draw.choice([1, 1, 1, 2, 9, 16]))
            tokens = draw.integers(3, size, length).tolist()
            rows = int(draw.integers(0, 2))
            ids = wanted(draw, size) if rows else None
            blocks.append(Block(sequence, at[sequence], tokens, rows, wanted=ids))
            at[sequence] += length
        found += [blocks] if blocks else []
    return found


def run(path: Path, options: GgufContext, blocks: Sequence[Sequence[Block]]) -> list[np.ndarray]:
    runner = load(path, options)
    try:
        return [np.array(row) for step in blocks for row in runner.decode(step)]
    finally:
        runner.close()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("options", [OPTIONS, UNIFIED], ids=["streams", "unified"])
@pytest.mark.parametrize("wanted", [few, some_all])
def test_wanted_logits_are_llama_cpps(
    architecture: str, options: GgufContext, wanted: Wanted, tmp_path: Path
) -> None:
    path = make(tmp_path / "model.gguf", architecture)
    size = 1500
    for seed in range(4):
        asked = steps(seed, size, wanted)
        whole = [[Block(b.sequence, b.start, b.tokens, b.rows) for b in step] for step in asked]
        ids = [block.wanted for step in asked for block in step if block.rows]
        found, expected = run(path, options, asked), run(path, options, whole)
        assert len(found) == len(expected) == len(ids)
        for some, row, which in zip(found, expected, ids, strict=True):
            np.testing.assert_allclose(some, row if which is None else row[which], atol=2e-4)


def test_quantised_rows_are_llama_cpps_but_for_the_rounding_of_the_state(tmp_path: Path) -> None:
    path = make(tmp_path / "model.gguf", "qwen2", q8_0=True)
    ids = np.arange(0, 1500, 7)
    blocks = [Block(0, 0, [5, 6, 7], 1), Block(1, 0, [9], 1, wanted=ids)]
    (whole, _), (_, found) = (
        run(path, OPTIONS, [[Block(0, 0, [9], 1), Block(1, 0, [9], 1)]]),
        run(path, OPTIONS, [blocks]),
    )
    assert np.abs(found - whole[ids]).max() < 0.03 * whole.std()


def test_rows_beyond_the_kept_ones_push_the_others_out(tmp_path: Path) -> None:
    path = make(tmp_path / "model.gguf", "llama")
    head = OutputHead(path, 64, 1500)
    head.most = 100
    state = np.random.default_rng(0).standard_normal(64).astype(np.float32)
    once = np.concatenate([head.logits(state, np.arange(n, n + 60)) for n in range(0, 1500, 60)])
    again = np.concatenate([head.logits(state, np.arange(n, n + 100)) for n in range(0, 1500, 100)])
    np.testing.assert_array_equal(once, again)
    head.close()


def test_a_model_that_does_more_to_its_logits_is_left_to_llama_cpp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = gguf.GGUFWriter.write_header_to_file

    def capped(self: gguf.GGUFWriter) -> None:
        self.add_final_logit_softcapping(1.5)
        write(self)

    monkeypatch.setattr(gguf.GGUFWriter, "write_header_to_file", capped)
    path = make(tmp_path / "model.gguf", "gemma3")
    ids = np.arange(0, 1500, 11)
    (found,) = run(path, OPTIONS, [[Block(0, 0, [7], 1, wanted=ids)]])
    (whole,) = run(path, OPTIONS, [[Block(0, 0, [7], 1)]])
    assert np.abs(whole).max() < 1.5
    np.testing.assert_array_equal(found, whole[ids])


def test_a_file_without_such_a_matrix_is_named(tmp_path: Path) -> None:
    path = make(tmp_path / "model.gguf", "llama")
    with pytest.raises(ValueError, match=r"model\.gguf: no output matrix of 1500 rows of 65"):
        OutputHead(path, 65, 1500)
