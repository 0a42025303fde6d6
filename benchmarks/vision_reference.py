"""Are pictures right? Against transformers on tiny vision models that llama.cpp itself converted.

    python -m benchmarks.vision_reference --peer-python /path/to/python [--cache DIR]

The other interpreter is that of benchmarks/gguf_reference.py (`make reference` makes one). It makes
a Qwen2.5-VL and a Qwen3-VL model from a seed, and llama.cpp's convert_hf_to_gguf.py makes language
model and mmproj of each. For pictures of noise with sides of whole blocks of patches (resizers
differ elsewhere) of three shapes, one wider than the window of the attention:

- the tokens of a prompt, picture included, are as many as transformers', and its words the same;
- logits after every word of prompt and answer differ by at most TOLERANCE, in float32 on both
  sides (their standard deviation is about 2.4; ggml reads GELU from a table in half precision);
- greedy outputs, all pictures in flight at a time, equal transformers' generate(); a difference
  counts as a tie only where transformers' own logits are within twice TOLERANCE.

The last line of stdout is one JSON document, kept as benchmarks/results/vision_reference.json; the
exit status is 1 where anything differs.
"""

from __future__ import annotations

import argparse
import json
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from actors.config import GgufContext, ImageOptions
from actors.engine import PLACEHOLDER, Block, Engine, Media, Request
from actors.gguf import LlamaModel
from actors.prompts import Segment
from actors.vision import EncodedImage, Projector, VisionRunner
from benchmarks.gguf_peers import sources
from benchmarks.reference import end, run_peer

ROOT = Path(__file__).resolve().parent.parent
FAMILIES = ("qwen2.5vl", "qwen3vl")
TOLERANCE = 0.01
OPTIONS = GgufContext(
    n_ctx=1024, sequences=4, prefixes=0, flash_attn="off", type_k="f32", type_v="f32"
)
ASKED = [
    {"blocks": [4, 4], "words": "List all drugs and doses."},
    {"blocks": [4, 7], "words": "What is it?"},
    {"blocks": [9, 6], "words": "Bệnh nhân dùng thuốc gì?"},
    {"blocks": [2, 10], "words": "List all drugs and doses."},
]


def load(folder: Path, name: str) -> VisionRunner:
    model = LlamaModel(folder / f"{name}.gguf", OPTIONS, gpu=False)
    images = ImageOptions.model_validate({})
    projector = Projector(folder / f"mmproj-{name}.gguf", model, images, 1, 0)
    return VisionRunner(model, OPTIONS, 1, projector)


def request(runner: VisionRunner, folder: Path, index: int) -> Request:
    """The prompt as medspan puts it: the picture first, then the words."""
    words = ASKED[index]["words"]
    tokens = runner.model.tokenize([Segment("<|im_start|>user\n", special=True)])
    media: list[tuple[int, Media]] = []
    for part in runner.projector.prepare(np.load(folder / f"{index}.npy")):
        if isinstance(part, EncodedImage):
            media.append((len(tokens), part))
            tokens += [PLACEHOLDER] * part.tokens
        else:
            tokens += part
    end = f"{words}<|im_end|>\n<|im_start|>assistant\n"
    tokens += runner.model.tokenize([Segment(end, special=True)], first=False)
    return Request((), tuple(tokens), media=tuple(media), max_tokens=32)


def apart(runner: VisionRunner, asked: Request, said: list[int], theirs: Any) -> float:
    """The largest difference of a logit after the words of a prompt and its answer."""
    tokens = [*asked.suffix, *said][: len(theirs)]
    [(place, media)] = asked.media
    end = place + media.tokens
    before = np.array(runner.decode([Block(0, 0, tokens[:place], place)]))
    runner.decode([Block(0, place, tokens[place:end], 0, media)])
    after = np.array(runner.decode([Block(0, end, tokens[end:], len(tokens) - end)]))
    runner.trim(0, 0)
    return max(
        float(np.abs(before - theirs[:place]).max()), float(np.abs(after - theirs[end:]).max())
    )


def compared(folder: Path, name: str) -> dict[str, Any]:
    """One family: how much is equal, and the largest difference of a logit."""
    told = json.loads((folder / name / "answers.json").read_text())
    with np.load(folder / name / "logits.npz") as stored:
        theirs = [stored[str(i)] for i in range(len(ASKED))]
    runner = load(folder, name)
    requests = [request(runner, folder / name, i) for i in range(len(ASKED))]
    pad = told["pad"]
    ours = [[pad if t == PLACEHOLDER else t for t in one.suffix] for one in requests]
    largest = max(
        apart(runner, one, said, logits)
        for one, said, logits in zip(requests, told["said"], theirs, strict=True)
    )
    engine = Engine(runner, slots=len(ASKED))
    requests = [request(runner, folder / name, i) for i in range(len(ASKED))]
    outputs = [list(engine.submit(one).result().tokens) for one in requests]
    futures = [engine.submit(request(runner, folder / name, i)) for i in range(len(ASKED))]
    together = [list(future.result().tokens) for future in futures]
    ends = runner.ends
    engine.close()
    equal = ties = 0
    for one, said, prompt, rows in zip(
        together, told["said"], told["prompts"], theirs, strict=True
    ):
        other = list(takewhile(lambda token: token not in ends, said))
        if one == other:
            equal += 1
            continue
        place = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
        if place is not None:
            row = rows[len(prompt) + place - 1]
            ties += bool(abs(row[one[place]] - row[other[place]]) < 2 * TOLERANCE)
    return {
        "pictures": len(ASKED),
        "prompt_tokens_equal": sum(a == b for a, b in zip(ours, told["prompts"], strict=True)),
        "deviation_of_logits": round(float(np.std(np.concatenate(theirs))), 2),
        "largest_difference": float(f"{largest:.2g}"),
        "tolerance": TOLERANCE,
        "outputs_equal": equal,
        "ties": ties,
        "in_flight_as_alone": sum(a == b for a, b in zip(together, outputs, strict=True)),
        "different_tokens_said": len({token for one in told["said"] for token in one}),
    }


def right(family: dict[str, Any]) -> bool:
    """Return True if the comparison of one family passes."""
    return bool(
        family["prompt_tokens_equal"] == family["pictures"]
        and family["largest_difference"] <= family["tolerance"]
        and family["outputs_equal"] + family["ties"] == family["pictures"]
        and family["different_tokens_said"] > 30
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peer-python", required=True)
    parser.add_argument("--cache", type=Path, default=Path("/tmp/medspan-bench"))
    options = parser.parse_args()
    work = options.cache / "vision-reference"
    work.mkdir(parents=True, exist_ok=True)
    known = sources(options.cache)
    texts = [file.read_text(encoding="utf-8") for file in sorted((ROOT / "actors").rglob("*.py"))]
    job = {"texts": texts[:40], "asked": ASKED}
    (work / "job.json").write_text(json.dumps(job))
    run_peer("vision_reference_peer.py", options.peer_python, "make", work, work / "job.json")
    families = {}
    for name in FAMILIES:
        run_peer(
            "vision_reference_peer.py",
            options.peer_python,
            "convert",
            known,
            work / name,
            work / f"{name}.gguf",
            "qwen2",
        )
        families[name] = compared(work, name)
        print(f"{name}: {families[name]}", flush=True)
    holds = all(map(right, families.values()))
    end("vision_reference", work, families, holds)


if __name__ == "__main__":
    main()
