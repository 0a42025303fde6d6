"""Fine-tune the encoder on one corpus for a stated time: what a model of any labels is held to.

A token classifier of one corpus has seen nothing but its labels, so its strict F1 on the dev part
is a ceiling for a model of the same encoder that reads any labels. Nothing is kept. Time is CPU
time of this process, so pauses and other work beside it do not count. A short run gives a lower
bound of the ceiling. Spans are laid flat over tokens: of those that share a token the one that
begins first stays. All gold spans count, and `flat` is the F1 of the gold spans after this loss.

The last line of stdout is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path

import torch
from model import Shape, TokenClassifier
from read_onnx import weights_in
from spans import Text, label_names, read_lines, read_texts, score, to_spans
from train import (
    BASE,
    HIDE,
    SWAP,
    Augmenter,
    Source,
    batches,
    logits_of,
    loss_of,
    open_tokenizer,
    optimizer_of,
    score_logits,
)

STARTERS = Path(__file__).parents[2] / "actors" / "starters"
RATE = 3e-4
STEP_TOKENS = 1024  # a quarter of a long training's: minutes must hold some hundred steps
WARM = 0.1  # share of the time in which the rate rises
KEY = 200  # characters, without white space, by which a text is known again


def read_parts(data: Path, name: str) -> tuple[list[str], list[Text], list[Text]]:
    """A corpus' B- and I- names, its train part without texts of the dev part, its dev part."""
    files = {part: data / name / f"{part}.jsonl" for part in ("train", "dev")}
    rows = {
        part: [json.loads(line) for line in read_lines(file) if line]
        for part, file in files.items()
    }
    kinds = {e["label"] for part in rows.values() for row in part for e in row["entities"]}
    names = label_names(kinds)
    held_out = {_key(row["text"]) for row in rows["dev"]}
    again = [_key(row["text"]) in held_out for row in rows["train"]]
    train, dev = (read_texts(file, open_tokenizer(), names) for file in files.values())
    kept = [text for text, seen in zip(train, again, strict=True) if text.ids and not seen]
    return names, kept, [text for text in dev if text.ids]


def _key(text: str) -> str:
    return "".join(text.casefold().split())[:KEY]


def start(file: Path, head: str, labels: int) -> TokenClassifier:
    """A classifier with a new head on the encoder of a starter's ONNX file."""
    bare = TokenClassifier(Shape.read(BASE), {})
    weights = weights_in(file, bare.state_dict())
    model = TokenClassifier(Shape.read(BASE), {head: labels})
    model.load_state_dict(weights, strict=False)
    return model


def tune(model: TokenClassifier, source: Source, minutes: float, seed: int) -> dict[str, float]:
    """Train in float32 until the CPU time is spent; returns what the training read."""
    rng = random.Random(seed)
    augment = Augmenter(open_tokenizer(), HIDE, SWAP, rng)
    optimizer = optimizer_of(model, RATE)
    rates = [group["lr"] for group in optimizer.param_groups]
    model.train()
    began, share, steps, tokens, epochs, seen = time.process_time(), 0.0, 0, 0, 0, 0.0
    left = batches([source], rng, STEP_TOKENS)
    while share < 1:
        if not left:
            left, epochs = batches([source], rng, STEP_TOKENS), epochs + 1
        batch = left.pop()
        part = min((share + 0.001) / WARM, (1 - share) / (1 - WARM))
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * part
        loss = loss_of(model, batch, augment)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        steps, tokens = steps + 1, tokens + sum(piece.end - piece.start for piece in batch)
        seen = loss.item() if steps == 1 else 0.97 * seen + 0.03 * loss.item()
        share = (time.process_time() - began) / (minutes * 60)
        if steps % 50 == 0:
            print(f"{share * minutes:.1f} min, round {epochs + 1}, loss {seen:.4f}", flush=True)
    return {"steps": steps, "tokens": tokens, "rounds": epochs, "loss": round(seen, 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", help="a folder of DATA with train.jsonl and dev.jsonl, or .gz")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the corpora")
    parser.add_argument("--minutes", type=float, required=True, help="of CPU time, training alone")
    parser.add_argument(
        "--encoder", choices=("token-classifier", "any-labels"), default="any-labels"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(given.seed)
    names, train, dev = read_parts(given.data, given.corpus)
    model = start(STARTERS / given.encoder / "model.onnx", given.corpus, len(names))
    made = tune(model, Source(given.corpus, train), given.minutes, given.seed)
    flat = score((to_spans(text.labels, text.offsets, names), text.spans) for text in dev)
    found = score_logits(logits_of(model, dev, given.corpus), dev, names)
    result = {
        "corpus": given.corpus,
        "encoder": given.encoder,
        "minutes": given.minutes,
        "documents": {"train": len(train), "dev": len(dev)},
        "labels": len(names) // 2,
        **made,
        "f1": round(found.f1(), 4),
        "precision": round(found.precision(), 4),
        "recall": round(found.recall(), 4),
        "flat": round(flat.f1(), 4),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
