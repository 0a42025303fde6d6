"""Memory estimates of a model from its file alone, against the figures that llama.cpp reports."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from support.gguf_models import make
from support.memory_models import ARCHITECTURES, Kind, Shape, write

from actors.config import ConfigError
from actors.config.gguf import GgufContext
from actors.gguf import LlamaModel, LlamaRunner
from actors.memory import gguf_facts, llama_memory, open_header, output_rows
from actors.memory.arena import Op, peak

CONTEXT = GgufContext(n_ctx=1000, sequences=3, prefixes=1, use_extra_bufts=False, flash_attn="off")
SMALL = Shape("qwen2", 128, 6, 4, 2, 32, 384, 3000)
# Of the published 0.5B models' shapes; their files here are holes behind a header.
LARGE = {
    "qwen2": Shape("qwen2", 896, 24, 14, 2, 64, 4864, 151936, Kind.Q8_0, tied=True),
    "qwen2vl": Shape("qwen2vl", 896, 24, 14, 2, 64, 4864, 151936, Kind.Q8_0),
    "qwen3": Shape("qwen3", 1024, 28, 16, 8, 128, 3072, 151936, Kind.Q8_0, tied=True),
    "qwen3vl": Shape("qwen3vl", 1024, 28, 16, 8, 128, 3072, 151936, Kind.Q8_0),
    "llama": Shape("llama", 1024, 24, 16, 4, 64, 4096, 32000, Kind.F16),
    "gemma3": Shape("gemma3", 640, 18, 4, 1, 256, 2048, 262144, Kind.Q8_0, tied=True),
}
OPTIONS = {
    "streams": CONTEXT,
    "flash": CONTEXT.model_copy(update={"flash_attn": "on"}),
    "eight bits": CONTEXT.model_copy(
        update={"type_k": "q8_0", "type_v": "q8_0", "flash_attn": "on"}
    ),
    "common room": CONTEXT.model_copy(update={"kv_tokens": 2500}),
    "windows": CONTEXT.model_copy(update={"swa_full": False, "n_ctx": 2048, "n_ubatch": 128}),
}


def said(path: Path, options: GgufContext) -> dict[str, int]:
    """Bytes by purpose, as llama.cpp logs them."""
    model = LlamaModel(path, options, gpu=False)
    vars(model).update(pieces=(), ends=frozenset())  # these files hold no vocabulary
    runner = LlamaRunner(model, options, threads=1, rows=output_rows(options))
    found: Counter[str] = Counter()
    for buffer in runner.buffers:
        found[buffer.kind] += buffer.size
    runner.close()
    return dict(found)


def planned(path: Path, options: GgufContext) -> dict[str, int]:
    take = llama_memory(open_header(path), options, gpu=False)
    assert take.exact
    assert take.device == 0
    return {
        "model": take.weights_host,
        "KV": take.kv_host,
        "compute": take.compute_host,
        "output": take.output_host,
    }


def agree(ours: dict[str, int], theirs: dict[str, int]) -> None:
    assert ours.keys() == theirs.keys()
    for kind, size in theirs.items():
        # llama.cpp prints two places of a MiB; a tensor's end is padded in the file only.
        assert ours[kind] == pytest.approx(size, rel=0.01, abs=12_000), kind


@pytest.mark.weights
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_buffers_of_small_models(architecture: str, options: GgufContext, tmp_path: Path) -> None:
    shape = replace(SMALL, architecture=architecture, head=64 if "3" in architecture else 32)
    path = write(tmp_path / "m.gguf", shape)
    agree(planned(path, options), said(path, options))


@pytest.mark.weights
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_buffers_of_large_models(architecture: str, tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf", LARGE[architecture])
    options = CONTEXT.model_copy(update={"n_ctx": 512, "sequences": 2})
    agree(planned(path, options), said(path, options))


@pytest.mark.weights
@pytest.mark.parametrize("seed", range(12))
def test_buffers_of_any_shape(seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    head, kv_heads, group = draw.choice([64, 128]), draw.choice([1, 2]), draw.choice([1, 4, 7])
    shape = Shape(
        ARCHITECTURES[seed % len(ARCHITECTURES)],
        width=head * kv_heads * group,
        layers=draw.randint(1, 8),
        heads=kv_heads * group,
        kv_heads=kv_heads,
        head=head,
        feed=64 * draw.randint(1, 40),
        vocabulary=draw.choice([1500, 32000]),
        kind=draw.choice([Kind.F16, Kind.Q8_0]),
        tied=draw.random() < 0.5,
    )
    options = GgufContext(
        n_ctx=draw.choice([200, 700, 1024]),
        sequences=draw.randint(1, 6),
        prefixes=draw.randint(0, 2),
        n_batch=draw.choice([96, 512, 2048]),
        n_ubatch=draw.choice([32, 256, 512]),
        flash_attn=draw.choice(["on", "off"]),
        use_extra_bufts=False,
    )
    path = write(tmp_path / "m.gguf", shape)
    agree(planned(path, options), said(path, options))


def test_layers_are_offloaded_from_the_last_one(tmp_path: Path) -> None:
    header = open_header(write(tmp_path / "m.gguf", replace(SMALL, tied=True)))
    whole = llama_memory(header, CONTEXT, gpu=True)
    cpu = llama_memory(header, CONTEXT, gpu=False)
    half = llama_memory(header, CONTEXT.model_copy(update={"n_gpu_layers": 3}), gpu=True)
    embedding = next(t.size for t in header.tensors if t.name == "token_embd.weight")
    # The embedding stays on the host, and a tied output is a second copy of it on the GPU.
    assert (whole.layers_on_device, whole.weights_host) == (6, embedding)
    assert whole.weights_device == cpu.weights_host
    assert (whole.kv_device, whole.kv_host) == (cpu.kv_host, 0)
    # Three of seven, the output being the seventh: but llama.cpp counts it first.
    assert half.layers_on_device == 2
    assert half.weights_device == sum(half.layers[4:])
    assert half.kv_device == cpu.kv_host * 2 // 6
    held = llama_memory(header, CONTEXT.model_copy(update={"offload_kqv": False}), gpu=True)
    assert (held.kv_device, held.kv_host) == (0, cpu.kv_host)


def test_a_window_takes_less_than_the_whole_context(tmp_path: Path) -> None:
    header = open_header(write(tmp_path / "m.gguf", LARGE["gemma3"]))
    long = CONTEXT.model_copy(update={"n_ctx": 8192})
    whole = llama_memory(header, long, gpu=True)
    windows = llama_memory(header, long.model_copy(update={"swa_full": False}), gpu=True)
    assert whole.kv_device == 4 * 8192 * 18 * 256 * 2 * 2
    # 15 of 18 layers see 512 tokens; a ubatch of 512 comes on top.
    assert windows.kv_device == 4 * (3 * 8192 + 15 * 1024) * 256 * 2 * 2


def test_the_facts_of_a_file_without_llama_cpp(tmp_path: Path) -> None:
    found = gguf_facts(open_header(make(tmp_path / "m.gguf")))
    assert (found.architecture, found.name) == ("qwen2", "tiny-qwen2")
    assert (found.layers, found.embedding, found.heads, found.kv_heads) == (4, 64, 4, 2)
    assert found.vocabulary == 1500
    assert found.chat_template


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        (3, "invalid or truncated GGUF header"),
        (500, "invalid or truncated GGUF header"),
        (-1, "ends before its last tensor"),
    ],
)
def test_a_cut_file_is_an_error_that_names_it(keep: int, message: str, tmp_path: Path) -> None:
    path = make(tmp_path / "m.gguf")
    content = path.read_bytes()
    path.write_bytes(content[:keep] if keep > 0 else content[: len(content) - 40_000])
    with pytest.raises(ConfigError, match=rf"m\.gguf: {message}"):
        open_header(path)


def test_a_file_of_another_kind_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "b.gguf").write_bytes(b"GIF89a, not that")
    with pytest.raises(ConfigError, match=r"b\.gguf: not a GGUF file"):
        open_header(tmp_path / "b.gguf")
    with pytest.raises(FileNotFoundError, match="model file not found"):
        open_header(tmp_path / "c.gguf")


def test_an_arena_reuses_room_as_ggml_does() -> None:
    chain = [Op("a", 64, ("x",)), Op("b", 64, ("a",), in_place=True), Op("c", 32, ("b",))]
    assert peak([("x", 64)], chain) == 64 + 64  # b is a's room, c goes where x was
    # Read again later, a may not be written over: b goes where x was, c behind both.
    kept = [Op("a", 64, ("x",)), Op("b", 64, ("a",), in_place=True), Op("c", 32, ("a", "b"))]
    assert peak([("x", 64)], kept) == 64 + 64 + 32
    assert peak([("x", 64), ("never read", 96)], kept[:1]) == 64 + 96 + 64
