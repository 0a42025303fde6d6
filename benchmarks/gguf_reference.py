"""Is the GGUF backend right? Against transformers on tiny models that llama.cpp itself converted.

    python -m benchmarks.gguf_reference --peer-python /path/to/python [--cache /tmp/medspan-bench]

The other interpreter needs torch (a CPU build is enough), transformers, sentencepiece and
protobuf; `make reference` makes one. It makes a qwen2, a llama and a gemma3 model from a seed,
with vocabularies trained on the project's text (byte-level BPE cut as Qwen2 and Llama 3 cut, and
SentencePiece), and llama.cpp's convert_hf_to_gguf.py from llama-cpp-python's sdist converts them.
Then, for each:

- prompts rendered from the GGUF's chat template equal apply_chat_template's, byte for byte;
- tokens of prompts and of documents equal transformers';
- logits after every token of every prompt and answer differ by at most TOLERANCE, in float32 on
  both sides, where logits have a standard deviation of about 2.4 (gemma3: more, because ggml reads
  GELU from a table in half precision);
- greedy outputs, all prompts in flight at a time, equal transformers' generate() token for token;
  a difference counts as a tie only where transformers' own logits are within twice TOLERANCE.

And for every chat template that llama.cpp's sources carry, of some sixty models, what is printed of
conversations equals what apply_chat_template prints. The last line of stdout is one JSON document,
kept as benchmarks/results/gguf_reference.json; the exit status is 1 where anything differs.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from actors.config import GgufContext
from actors.engine import Block, Engine, Request
from actors.gguf import LlamaModel, LlamaRunner
from actors.prompts import PromptError, Segment, chat_template
from actors.prompts.chat import ChatTemplate
from benchmarks.gguf_peers import sources
from benchmarks.reference import end, run_peer

ROOT = Path(__file__).resolve().parent.parent
TOLERANCE = {"qwen2": 1e-3, "llama": 1e-3, "gemma3": 0.02}
# The name that llama.cpp knows each family's way of cutting text by; SentencePiece has none.
PRE = {"qwen2": "qwen2", "llama": "llama-bpe", "gemma3": "default"}
OPTIONS = GgufContext(
    n_ctx=1024, sequences=8, prefixes=2, flash_attn="off", type_k="f32", type_v="f32"
)
NOTES = [
    "The patient takes metformin 500 mg daily.",
    "Bệnh nhân nam 45 tuổi nhập viện vì đau dữ dội vùng bụng dưới.",
    "Severe chest pain since March 2019; no fever, 12345678 ng/L.  \n\n\tBP 120/80.",
    "Insulin \U0001f489 3 µg/mL, kg/m(2)), naïve",
    "x",
    "She's had it; they'll  go. " * 9,
]
SYSTEM = "You extract drugs and problems. Answer in JSON only."
Turns = list[dict[str, str]]


def conversations() -> list[Turns]:
    """Return test conversations: with and without a system turn, and with an example."""
    asked: list[Turns] = []
    for note in NOTES:
        question = {"role": "user", "content": f'# Template:\n{{"drug": []}}\n{note}'}
        asked.append([question])
        asked.append([{"role": "system", "content": SYSTEM}, question])
    example: Turns = [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": NOTES[0]},
        {"role": "assistant", "content": '{"drug": ["metformin"]}'},
        {"role": "user", "content": NOTES[1]},
    ]
    return [*asked, example, example[1:]]


@dataclass(frozen=True)
class Answers:
    """The results of transformers for one model."""

    prompts: list[str]
    prompt_tokens: list[list[int]]
    document_tokens: list[list[int]]
    said: list[list[int]]
    logits: list[np.ndarray[Any, np.dtype[np.float32]]]
    """Of each prompt and answer, [tokens, vocabulary]: row i is what follows token i."""

    @classmethod
    def read(cls, folder: Path) -> Answers:
        """The peer's files."""
        told = json.loads((folder / "answers.json").read_text())
        with np.load(folder / "logits.npz") as stored:
            return cls(**told, logits=[stored[str(i)] for i in range(len(told["said"]))])


def compared(folder: Path, file: Path, job: dict[str, Any], tolerance: float) -> dict[str, Any]:
    """One family: how much is equal, and the largest difference of a logit."""
    theirs = Answers.read(folder)
    model = LlamaModel(file, OPTIONS, gpu=False)
    bos, eos = model.special_texts
    chat = chat_template("gguf", gguf=model.chat_template, bos=bos, eos=eos)
    prompts = [chat.render(turns) for turns in job["conversations"]]
    tokens = [model.tokenize([Segment(prompt, special=True)]) for prompt in prompts]
    documents = [model.tokenize_text(text) for text in job["documents"]]
    runner = LlamaRunner(model, OPTIONS, threads=1)
    apart = 0.0
    for prompt, said, expected in zip(
        theirs.prompt_tokens, theirs.said, theirs.logits, strict=True
    ):
        whole = [*prompt, *said][: len(expected)]
        rows = np.array(runner.decode([Block(0, 0, whole, len(whole))]))
        apart = max(apart, float(np.abs(rows - expected).max()))
        runner.trim(0, 0)
    equal, ties = outputs(runner, theirs, 2 * tolerance)
    return {
        "prompts": len(prompts),
        "prompts_equal": same(prompts, theirs.prompts),
        "prompt_tokens_equal": same(tokens, theirs.prompt_tokens),
        "documents": len(documents),
        "document_tokens_equal": same(documents, theirs.document_tokens),
        "logits": sum(rows.size for rows in theirs.logits),
        "deviation_of_logits": round(float(np.std(np.concatenate(theirs.logits))), 2),
        "largest_difference": float(f"{apart:.2g}"),
        "tolerance": tolerance,
        "outputs_equal": equal,
        "ties": ties,
        "different_tokens_said": len({token for one in theirs.said for token in one}),
    }


def outputs(runner: LlamaRunner, theirs: Answers, tie: float) -> tuple[int, int]:
    """Count equal greedy outputs, and those that diverge at a tie. Closes the runner."""
    engine = Engine(runner, slots=8)
    asked = [
        engine.submit(Request((), tuple(prompt), max_tokens=48)) for prompt in theirs.prompt_tokens
    ]
    ours = [list(future.result().tokens) for future in asked]
    engine.close()
    equal = ties = 0
    for one, said, prompt, rows in zip(
        ours, theirs.said, theirs.prompt_tokens, theirs.logits, strict=True
    ):
        # transformers ends at one token, llama.cpp at each that ends a turn.
        other = list(takewhile(lambda token: token not in runner.ends, said))
        if one == other:
            equal += 1
            continue
        place = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
        if place is not None:
            row = rows[len(prompt) + place - 1]
            ties += bool(abs(row[one[place]] - row[other[place]]) < tie)
    return equal, ties


def same(ours: Sequence[Any], theirs: Sequence[Any]) -> int:
    """Count equal pairs."""
    return sum(one == other for one, other in zip(ours, theirs, strict=True))


def templates(folder: Path, printed: dict[str, list[str | None]]) -> dict[str, Any]:
    """Every known template over every conversation."""
    differ, refused, equal = [], 0, 0
    for name, texts in printed.items():
        chat = ChatTemplate((folder / name).read_text(encoding="utf-8"), "<s>", "</s>")
        for turns, theirs in zip(conversations(), texts, strict=True):
            try:
                ours = chat.render(turns)
            except PromptError:
                ours = None
            if theirs is None:
                refused += 1  # ours may join a refused system turn with the user's
            elif ours == theirs:
                equal += 1
            else:
                differ.append(f"{name}: {len(turns)} turns")
    return {"templates": len(printed), "equal": equal, "refused": refused, "differ": differ}


def right(family: dict[str, Any]) -> bool:
    """Return True if the comparison of one family passes."""
    count = family["prompts"]
    return bool(
        family["prompts_equal"] == family["prompt_tokens_equal"] == count
        and family["document_tokens_equal"] == family["documents"]
        and family["largest_difference"] <= family["tolerance"]
        and family["outputs_equal"] + family["ties"] == count
        and family["different_tokens_said"] > 100
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peer-python", required=True)
    parser.add_argument("--cache", type=Path, default=Path("/tmp/medspan-bench"))
    options = parser.parse_args()
    work = options.cache / "reference"
    work.mkdir(parents=True, exist_ok=True)
    known = sources(options.cache)
    texts = [file.read_text(encoding="utf-8") for file in sorted((ROOT / "actors").rglob("*.py"))]
    job = {
        "texts": [*texts[:40], *NOTES * 20],
        "documents": [*NOTES, *texts[:40], (ROOT / "README.md").read_text(encoding="utf-8")],
        "conversations": conversations(),
    }
    (work / "job.json").write_text(json.dumps(job))
    run_peer("gguf_reference_peer.py", options.peer_python, "make", work, work / "job.json")
    families = {}
    for name, pre in PRE.items():
        file = work / f"{name}.gguf"
        run_peer(
            "gguf_reference_peer.py", options.peer_python, "convert", known, work / name, file, pre
        )
        families[name] = compared(work / name, file, job, TOLERANCE[name])
        print(f"{name}: {families[name]}", flush=True)
    folder = known / "models/templates"
    run_peer(
        "gguf_reference_peer.py",
        options.peer_python,
        "render",
        folder,
        work / "job.json",
        work / "printed.json",
    )
    printed = templates(folder, json.loads((work / "printed.json").read_text()))
    holds = all(map(right, families.values())) and not printed["differ"]
    end("gguf_reference", work, families, holds, chat_templates=printed)


if __name__ == "__main__":
    main()
