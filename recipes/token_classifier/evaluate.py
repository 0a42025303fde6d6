"""Score an ONNX token classifier, time it, and see whether padding or neighbours move it."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from spans import Score, Text, keep_farthest, read_texts, score, to_spans, viterbi, windows
from tokenizers import Tokenizer

CLS, SEP = 101, 102
Logits = NDArray[np.float32]


def open_session(path: Path, threads: int = 2) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def feeds(rows: Sequence[Sequence[int]], width: int | None = None) -> dict[str, NDArray[np.int64]]:
    """Padded model inputs."""
    longest = width or max(map(len, rows))
    ids = np.zeros((len(rows), longest), np.int64)
    mask = np.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
        mask[i, : len(row)] = 1
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


def logits_of(
    session: onnxruntime.InferenceSession,
    texts: Sequence[Text],
    size: int,
    overlap: int,
    batch: int,
) -> list[Logits]:
    """Logits per token of every document; `size` counts the two special tokens."""
    cuts = [(n, w) for n, t in enumerate(texts) for w in windows(len(t.ids), size - 2, overlap)]
    cuts.sort(key=lambda c: c[1][1] - c[1][0])
    rows: dict[tuple[int, tuple[int, int]], Logits] = {}
    for first in range(0, len(cuts), batch):
        part = cuts[first : first + batch]
        ids = [[CLS, *texts[n].ids[start:end], SEP] for n, (start, end) in part]
        out = session.run(["logits"], feeds(ids))[0]
        for row, (n, (start, end)) in zip(out, part, strict=True):
            rows[n, (start, end)] = row[1 : 1 + end - start]
    joined = []
    for n, text in enumerate(texts):
        spans = windows(len(text.ids), size - 2, overlap)
        joined.append(keep_farthest(spans, [rows[n, span] for span in spans], len(text.ids)))
    return joined


def score_texts(logits: Sequence[Logits], texts: Sequence[Text], names: Sequence[str]) -> Score:
    """Strict span score of decoded logits against the texts' own spans."""
    return score(
        (to_spans(viterbi(rows, names), text.offsets, names), text.spans)
        for rows, text in zip(logits, texts, strict=True)
    )


def tokens_per_second(session: onnxruntime.InferenceSession, texts: Sequence[Text]) -> float:
    """Median over repeats of real tokens per second, batches of 8 full windows of 256."""
    ids = [i for text in texts for i in text.ids]
    rows = [[CLS, *ids[start : start + 254], SEP] for start in range(0, 254 * 64, 254)]
    rates = []
    for _ in range(5):
        began = time.perf_counter()
        for first in range(0, 64, 8):
            session.run(["logits"], feeds(rows[first : first + 8]))
        rates.append(64 * 256 / (time.perf_counter() - began))
    return float(np.median(rates))


def largest_shift(
    session: onnxruntime.InferenceSession, texts: Sequence[Text]
) -> tuple[float, int]:
    """Return the largest change of a logit with neighbours and padding, and the changed labels."""
    shift, changed = 0.0, 0
    for n, text in enumerate(texts):
        row = [CLS, *text.ids[:200], SEP]
        others = [[CLS, *t.ids[:254], SEP] for t in (texts[n - 1], texts[n - 2], texts[n - 3])]
        alone = session.run(["logits"], feeds([row]))[0][0]
        for crowd in ([row, *others], [others[0], row], [row]):
            out = session.run(["logits"], feeds(crowd, 256 if len(crowd) > 1 else 512))[0]
            there = out[crowd.index(row)][: len(row)]
            shift = max(shift, float(np.abs(there - alone).max()))
            changed += int((there.argmax(1) != alone.argmax(1)).sum())
    return shift, changed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="holds model.onnx, config.json, tokenizer.json")
    parser.add_argument("corpus", type=Path, help="a JSON-lines file of documents with entities")
    parser.add_argument("--window", type=int, default=256)
    parser.add_argument("--overlap", type=int, default=128)
    arguments = parser.parse_args()
    table = json.loads((arguments.folder / "config.json").read_text())["id2label"]
    names = [table[str(i)] for i in range(len(table))]
    tokenizer = Tokenizer.from_file(str(arguments.folder / "tokenizer.json"))
    texts = read_texts(arguments.corpus, tokenizer, names)
    session = open_session(arguments.folder / "model.onnx")
    logits = logits_of(session, texts, arguments.window, arguments.overlap, 8)
    result = score_texts(logits, texts, names)
    print(f"{'label':<20} {'precision':>9} {'recall':>9} {'F1':>9} {'gold':>6}")
    for kind in [*sorted(result.gold), None]:
        row = f"{kind or 'all':<20} {result.precision(kind):9.3f} {result.recall(kind):9.3f}"
        print(f"{row} {result.f1(kind):9.3f} {result.count(kind):6}")
    shift, changed = largest_shift(session, texts)
    summary = {
        "f1": round(result.f1(), 4),
        "tokens_per_second": round(tokens_per_second(session, texts)),
        "largest_shift": shift,
        "labels_changed": changed,
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
