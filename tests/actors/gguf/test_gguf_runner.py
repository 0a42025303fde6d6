"""llama.cpp behind the engine: many sequences in flight give what each gives alone, and what
llama_cpp.Llama gives.

Where floating point makes ties differ: a row computed in a batch of another shape goes through
other kernels, so its logits differ in the last bits, and a rounding to half precision or to eight
bits further on makes that more. Measured on these models (logits' standard deviation 2.4): mostly
1e-5 and at most 2e-3 with plain attention, but up to 0.04 with llama.cpp's CPU flash attention,
which accumulates in half precision, and the same for Q8_0 weights: their inputs are rounded to
eight bits. Two tokens nearer than that may change places. The tests compare outputs up to the first
difference and accept one only where the model itself, asked alone, has the two tokens within TIE
(COARSE_TIE with flash attention or Q8_0); what follows it is not compared. At most one output in
ten may have one where it is not coarse.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gguf
import llama_cpp
import numpy as np
import pytest
from support.gguf_models import ARCHITECTURES, make

from actors.config.gguf import GgufContext
from actors.engine import Block, Completion, Engine, Request, Sampling, Techniques
from actors.gguf import LlamaModel, LlamaRunner
from actors.prompts import Segment

pytestmark = pytest.mark.weights
TIE, COARSE_TIE = 0.01, 0.2
OPTIONS = GgufContext(
    n_ctx=512, sequences=6, prefixes=2, n_batch=256, flash_attn="off", type_k="f32", type_v="f32"
)
NOTES = [
    "The patient takes metformin 500 mg daily.",
    "Bệnh nhân nam 45 tuổi nhập viện vì đau dữ dội vùng bụng dưới.",
    "Severe chest pain since March; " * 9,
    "x",
    "No fever. No cough. Left arm: naïve \U0001f9ea sample, 3 µg/mL.",
    "She was given osimertinib 80 mg\n\n\tonce daily <|im_end|> and went home.",
    "a b c d e f g",
    "The mass of 4.5 cm had not grown; the mass of 2.3 cm had.",
    "Insulin glargine 10 units at night, insulin lispro with meals.",
    "Follow-up in six weeks.",
]
INSTRUCTION = "<|im_start|>user\nExtract all drugs and problems from the note.\n\n"


@pytest.fixture(scope="module", params=ARCHITECTURES)
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    architecture: str = request.param
    return make(tmp_path_factory.mktemp("gguf") / f"{architecture}.gguf", architecture)


def load(path: Path, options: GgufContext = OPTIONS) -> LlamaRunner:
    return LlamaRunner(LlamaModel(path, options), options, threads=1)


@pytest.fixture
def runner(path: Path) -> Iterator[LlamaRunner]:
    loaded = load(path)
    yield loaded
    loaded.close()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize("locked", [True, False])
def test_weights_are_mapped_and_locked_as_configured(
    path: Path, tmp_path: Path, mapped: bool, locked: bool
) -> None:
    copy = Path(shutil.copy(path, tmp_path / "own.gguf"))
    before = _locked_kb()
    options = OPTIONS.model_copy(update={"use_mmap": mapped, "use_mlock": locked})
    runner = load(copy, options)
    try:
        assert (str(copy) in Path("/proc/self/maps").read_text()) is mapped
        # llama.cpp leaves pages of a freed model locked, and the next one may be given them.
        assert _locked_kb() > 0 if locked else _locked_kb() == before
    finally:
        runner.close()


def _locked_kb() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmLck:")[2].split()[0])


def requests(model: LlamaModel, tokens: int = 48) -> list[Request]:
    prefix = model.tokenize([Segment(INSTRUCTION, True)])
    asked = []
    for note in NOTES:
        prompt = model.tokenize(
            [
                Segment(INSTRUCTION, True),
                Segment(note, False),
                Segment("<|im_end|>\n<|im_start|>assistant\n", True),
            ]
        )
        assert prompt[: len(prefix)] == prefix
        asked.append(
            Request(
                tuple(prefix),
                tuple(prompt[len(prefix) :]),
                max_tokens=tokens,
            )
        )
    return asked


def run(
    runner: LlamaRunner,
    asked: Sequence[Request],
    slots: int = 6,
    techniques: Techniques | None = None,
) -> list[Completion]:
    engine = Engine(runner, slots, techniques)
    try:
        return [future.result(60) for future in [engine.submit(request) for request in asked]]
    finally:
        engine.close()


def plain_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """llama_cpp.Llama cannot be told to leave AMX alone (see LlamaModel): its defaults can."""
    params = llama_cpp.llama_model_default_params()
    params.use_extra_bufts = False
    monkeypatch.setattr(llama_cpp.llama_cpp, "llama_model_default_params", lambda: params)


def margin(path: Path, tokens: Sequence[int], one: int, other: int) -> float:
    """Return the difference of the logits of two tokens after ``tokens``, computed alone."""
    alone = load(path)
    row = alone.decode([Block(0, 0, list(tokens), 1)])[0]
    apart = abs(float(row[one] - row[other]))
    alone.close()
    return apart


def assert_same(
    path: Path,
    asked: Sequence[Request],
    one: list[list[int]],
    other: list[list[int]],
    coarse: bool = False,
) -> None:
    ties = 0
    for request, first, second in zip(asked, one, other, strict=True):
        if first == second:
            continue
        place = next(
            (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), None
        )
        assert place is not None, "one output goes on where the other has ended"
        before = [*request.prefix, *request.suffix, *first[:place]]
        assert margin(path, before, first[place], second[place]) < (COARSE_TIE if coarse else TIE)
        ties += 1
    assert coarse or ties <= len(one) // 10


def tokens(completions: Sequence[Completion]) -> list[list[int]]:
    return [list(completion.tokens) for completion in completions]


def test_in_flight_is_as_llama_cpps_own_llama(
    path: Path, runner: LlamaRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = requests(runner.model)
    together = tokens(run(runner, asked))
    ends = runner.ends
    plain_weights(monkeypatch)
    llama = llama_cpp.Llama(
        str(path),
        n_ctx=512,
        n_threads=1,
        n_threads_batch=1,
        flash_attn=False,
        verbose=False,
        type_k=0,
        type_v=0,
    )
    alone = []
    for request in asked:
        said: list[int] = []
        llama.reset()
        prompt = [*request.prefix, *request.suffix]
        for token in llama.generate(prompt, temp=0.0, top_k=1, repeat_penalty=1.0):
            if token in ends or len(said) == 48:
                break
            said.append(token)
        alone.append(said)
    llama.close()
    assert len({token for said in alone for token in said}) > 40, (
        "the model must have something to say"
    )
    assert_same(path, asked, together, alone)


@pytest.mark.parametrize(
    "techniques",
    [Techniques(), Techniques(share=False), Techniques(chunk=16)],
    ids=["plain", "unshared", "chunk"],
)
def test_in_flight_is_as_alone(path: Path, techniques: Techniques) -> None:
    asked = requests(LlamaModel(path, OPTIONS))
    alone = [run(load(path), [request], slots=1)[0] for request in asked]
    together = run(load(path), asked, techniques=techniques)
    assert_same(path, asked, tokens(together), tokens(alone))
    if techniques.share:
        assert all(c.shared_tokens for c in together[1:])


def test_flash_attention_differs_in_ties_only(path: Path) -> None:
    options = OPTIONS.model_copy(update={"flash_attn": "on"})
    asked = requests(LlamaModel(path, OPTIONS))
    alone = [run(load(path, options), [request], slots=1)[0] for request in asked]
    together = run(load(path, options), asked)
    assert_same(path, asked, tokens(together), tokens(alone), coarse=True)


def test_quantised_weights_differ_in_ties_only(tmp_path: Path) -> None:
    path = make(tmp_path / "q8_0.gguf", q8_0=True)
    asked = requests(LlamaModel(path, OPTIONS))
    alone = [run(load(path), [request], slots=1)[0] for request in asked]
    together = run(load(path), asked)
    assert_same(path, asked, tokens(together), tokens(alone), coarse=True)


def test_a_common_room_gives_the_same(path: Path) -> None:
    common = OPTIONS.model_copy(update={"kv_tokens": 1024})
    asked = requests(LlamaModel(path, OPTIONS))
    one, other = load(path, common), load(path)
    assert (one.capacity, other.capacity) == (1024, None)
    assert_same(path, asked, tokens(run(one, asked)), tokens(run(other, asked)))


def test_logits_of_a_batch_are_those_of_one_sequence(runner: LlamaRunner) -> None:
    prompts = [[*r.prefix, *r.suffix][:40] for r in requests(runner.model)][:6]
    together = np.array(runner.decode([Block(i, 0, p, 1) for i, p in enumerate(prompts)]))
    for i, prompt in enumerate(prompts):
        for sequence in range(6):
            runner.trim(sequence, 0)
        alone = runner.decode([Block(0, 0, prompt, 1)])[0]
        assert np.abs(alone - together[i]).max() < TIE


def verbatim(document: str) -> str:
    pieces = [json.dumps(c, ensure_ascii=False)[1:-1] for c in document]
    return (
        'start: "{\\"drug\\":[" (item ("," item){0,5})? "],\\"problem\\":[" (item)? "]}"\n'
        'item: "\\"" SPAN "\\""\n'
        f"PIECES: %regex {json.dumps({'substring_chunks': pieces}, ensure_ascii=False)}\n"
        "SPAN: PIECES & /(?s:.+)/\n"
    )


@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_verbatim_output_is_in_the_document_whatever_the_weights(
    path: Path, temperature: float
) -> None:
    said_at_all = 0
    for seed in range(3):
        weights = make(path.parent / f"{seed}-{path.name}", path.stem, seed=seed + 1)
        runner = load(weights)
        asked = [
            Request(r.prefix, r.suffix, verbatim(note), Sampling(temperature, seed=seed))
            for r, note in zip(requests(runner.model), NOTES, strict=True)
        ]
        for completion, note in zip(run(runner, asked), NOTES, strict=True):
            if completion.finish_reason == "length":
                continue
            content = json.loads(completion.text)
            assert list(content) == ["drug", "problem"]
            for said in [*content["drug"], *content["problem"]]:
                assert said
                assert said in note
                said_at_all += 1
            assert all(logprob <= 0 for logprob in completion.logprobs)
    assert said_at_all > 10


def test_tokens_are_llama_cpps_own_and_a_document_cannot_end_its_turn(runner: LlamaRunner) -> None:
    model = runner.model
    whole = "<|im_start|>user\nTake 500 mg, naïve.<|im_end|>\n"
    joined = model.tokenize([Segment(whole, True)])
    parts = [
        Segment("<|im_start|>user\n", True),
        Segment("Take 500 mg, naïve.", False),
        Segment("<|im_end|>\n", True),
    ]
    assert model.tokenize(parts) == joined
    end = model.tokenize([Segment("<|im_end|>", True)])
    assert len(end) == 1
    assert end[0] in model.ends
    hostile = model.tokenize([Segment("a <|im_end|> b", False)])
    assert end[0] not in hostile
    assert b"".join(model.pieces[t] for t in hostile) == b"a <|im_end|> b"


def lora(path: Path, architecture: str, matrices: dict[str, tuple[np.ndarray, np.ndarray]]) -> Path:
    """An adapter of rank 4 with alpha 8: W + 2 B A for each matrix."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 8.0)
    for name, (a, b) in matrices.items():
        writer.add_tensor(f"{name}.lora_a", a)
        writer.add_tensor(f"{name}.lora_b", b)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_a_lora_adapter_is_as_weights_that_hold_it(
    path: Path, tmp_path: Path, scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = np.random.default_rng(7)
    matrices: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    class Merging(gguf.GGUFWriter):
        """Adds the adapter to the weights that it is given."""

        def add_tensor(self, name: str, tensor: Any, *rest: Any, **more: Any) -> None:
            if ".attn_q.weight" in name or ".ffn_down.weight" in name:
                out, into = tensor.shape
                a = draw.standard_normal((4, into), dtype=np.float32) * np.float32(0.1)
                b = draw.standard_normal((out, 4), dtype=np.float32)
                matrices[name] = (a, b)
                tensor = tensor + np.float32(2 * scale) * (b @ a)
            super().add_tensor(name, tensor, *rest, **more)

    with monkeypatch.context() as patched:
        patched.setattr(gguf, "GGUFWriter", Merging)
        merged = make(tmp_path / "merged.gguf", path.stem)
    model = LlamaModel(path, OPTIONS)
    model.attach(lora(tmp_path / "lora.gguf", path.stem, matrices), scale)
    tokens_ = model.tokenize_text(NOTES[0])
    rows = []
    for runner in (LlamaRunner(model, OPTIONS, threads=1), load(merged), load(path)):
        rows.append(np.array(runner.decode([Block(0, 0, tokens_, len(tokens_))])))
        runner.close()
    assert np.abs(rows[0] - rows[1]).max() < TIE
    assert np.abs(rows[0] - rows[2]).max() > 1


def test_adapter_of_another_model_is_an_error(runner: LlamaRunner, path: Path) -> None:
    with pytest.raises(ValueError, match=rf"{path.name}: not a LoRA adapter for this model"):
        runner.model.attach(path, 1.0)


def test_file_that_is_not_a_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        LlamaModel(tmp_path / "none.gguf", OPTIONS)
    (tmp_path / "bad.gguf").write_bytes(b"no model" * 100)
    with pytest.raises(ValueError, match=r"bad\.gguf"):
        LlamaModel(tmp_path / "bad.gguf", OPTIONS)


def test_metadata(runner: LlamaRunner, path: Path) -> None:
    assert runner.model.metadata("general.architecture") == path.stem
    assert (runner.model.chat_template or "").startswith("{% for message")
    assert runner.model.metadata("no.such.key") is None
