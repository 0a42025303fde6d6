"""Is the GLiNER runtime right? Against the gliner package, on tiny models that it exported itself.

    python -m benchmarks.gliner_reference --peer-python /path/to/python [--cache /tmp/medspan-bench]

The other interpreter needs torch (a CPU build is enough), gliner and onnx; `make reference` makes
one. It makes a model of every variant from a seed (span- and token-level, one and two encoders, the
span representations, ways of pooling pieces, BERT and DeBERTa with a SentencePiece vocabulary),
exports each to ONNX, and reads every text alone, in PyTorch. Here the export is read by the batch.
Spans and labels must be the same, and scores differ by at most TOLERANCE; a span may be missing on
one side only where its score is within TOLERANCE of the threshold or of that of a span that it
conflicts with.

The last line of stdout is one JSON document, kept as benchmarks/results/gliner_reference.json; the
exit status is 1 where anything differs.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from actors import Document, Extractor
from actors.config import GlinerModel
from benchmarks.reference import end, run_peer

ROOT = Path(__file__).resolve().parent.parent
TOLERANCE = 1e-4
LABELS = ["drug", "dose of a drug", "disease", "person", "date", "body part"]
TEXTS = [
    "The patient takes metformin 500 mg daily since 3 May 2019.",
    "Severe chest-pain; no fever. BP 120/80, aspirin-induced bleeding (rare).",
    "Bệnh nhân nam 45 tuổi nhập viện vì đau dữ dội vùng bụng dưới.",
    "Insulin \U0001f489 3 µg/mL, naïve café, state_of_the_art\tsub-total   gastrectomy",
    "x",
    "Mr. Smith had it; they'll go. " * 8,
]
REQUESTS: list[dict[str, Any]] = [
    {"labels": LABELS, "flat": True, "multi_label": False, "threshold": 0.5},
    {"labels": LABELS[:3], "flat": False, "multi_label": False, "threshold": 0.6},
    {"labels": LABELS, "flat": True, "multi_label": True, "threshold": 0.4},
    {"labels": LABELS[2:], "flat": False, "multi_label": True, "threshold": 0.7},
    {"labels": ["drug"], "flat": True, "multi_label": False, "threshold": 0.3},
]
Said = list[list[Any]]


def read(folder: Path, request: dict[str, Any]) -> list[Said]:
    """Return medspan's entities of every text: start, end, label, score."""
    config = GlinerModel.model_validate(
        {
            "name": "tiny",
            "kind": "gliner",
            "weights": {"model": str(folder)},
            "prompt": {"guideline": {"name": "asked", "labels": dict.fromkeys(request["labels"])}},
            "decode": {
                "overlaps": "flat" if request["flat"] else "nested",
                "multi_label": request["multi_label"],
            },
            "labels": {"threshold": request["threshold"]},
        }
    )
    with Extractor(config) as extractor:
        found = extractor.extract(Document(str(n), text) for n, text in enumerate(TEXTS))
    return [[[e.start, e.end, e.label, e.score] for e in one.entities] for one in found]


def compare(ours: list[Said], theirs: list[Said]) -> dict[str, Any]:
    """Count the entities and those on one side only, and find the largest difference of scores."""
    count, odd, worst = 0, 0, 0.0
    for mine, other in zip(ours, theirs, strict=True):
        a = {tuple(one[:3]): one[3] for one in mine}
        b = {tuple(one[:3]): one[3] for one in other}
        count += len(b)
        odd += len(set(a) ^ set(b))
        worst = max([worst, *(abs(a[key] - b[key]) for key in set(a) & set(b))])
    return {"entities": count, "on one side only": odd, "largest difference": worst}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer-python", required=True)
    parser.add_argument("--cache", type=Path, default=Path("/tmp/medspan-bench"))
    given = parser.parse_args()
    work = given.cache / "gliner"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    corpus = [(ROOT / "README.md").read_text("utf-8"), *TEXTS, *LABELS]
    requests = [{**request, "texts": TEXTS} for request in REQUESTS]
    (work / "asked.json").write_text(json.dumps({"corpus": corpus, "requests": requests}))
    run_peer("gliner_reference_peer.py", given.peer_python, "make", work)
    variants = {}
    for path in sorted(work.glob("*/said.json")):
        theirs = json.loads(path.read_text())
        parts = [
            compare(read(path.parent, request), said)
            for request, said in zip(REQUESTS, theirs, strict=True)
        ]
        variants[path.parent.name] = {
            "entities": sum(part["entities"] for part in parts),
            "on one side only": sum(part["on one side only"] for part in parts),
            "largest difference": max(part["largest difference"] for part in parts),
        }
    holds = bool(variants) and all(
        one["entities"] and not one["on one side only"] and one["largest difference"] <= TOLERANCE
        for one in variants.values()
    )
    end("gliner_reference", work, variants, holds)


if __name__ == "__main__":
    main()
