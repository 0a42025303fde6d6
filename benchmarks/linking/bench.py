"""Linking: accuracy on gold mentions beside peers, speed, memory, and whether two runs agree.

    python -m benchmarks.linking.bench --data FOLDER --part dev --vocab FOLDER

A mention counts as right at k where one of its k best concepts is one of its gold codes: that is
how BioSyn and the evaluations after it count mentions with several codes. Mentions with codes that
the vocabulary lacks count as wrong; `reach` is the share of the others. All systems get the same
mentions, with the abbreviations written out that the document defines. Peers need scikit-learn.

With --embedding MODEL, a folder of a text-embedding ONNX model, `product` and `embedding` report
accuracy and the share of mentions with a code at the product's threshold, without and with it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from actors.config.linking import LinkedVocabulary, Linking, NameEmbedding, Pooling
from actors.config.onnx import FolderWeights
from actors.linking import LinkingStage, build_index, gather, read
from actors.linking.lookup_terms import written_out
from actors.linking.vectors import Encoder
from actors.linking.vocabulary import Vocabulary
from actors.memory import cores
from actors.onnx.text_embedding import TextEncoder
from actors.spans import Annotations, Entity
from benchmarks.linking import corpora, peers, scale
from benchmarks.machine import machine

_MOST = 5
_THRESHOLD = 0.3
"""Low, since accuracy is asked of every mention; the default of the product is higher."""
_PRODUCT_THRESHOLD = Linking.model_fields["threshold"].default


def main() -> None:
    arguments = _arguments()
    results: dict[str, Any] = {"machine": machine(), "part": arguments.part}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if arguments.digest:
            print(_digest(arguments, folder))
            return
        results |= _accuracy(arguments, folder)
        results["equal_runs"] = _equal_runs(arguments)
        if arguments.terms:
            results["scale"] = scale.measure(arguments.terms, folder)
    print(json.dumps(results))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="<set>/<part>.jsonl[.gz]")
    parser.add_argument("--part", default="dev")
    parser.add_argument("--vocab", type=Path, required=True, help="<vocabulary>.tsv.gz")
    parser.add_argument("--terms", type=int, default=3_000_000, help="0: no synthetic vocabulary")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--embedding", metavar="MODEL", help="a text-embedding model's folder")
    parser.add_argument("--pooling", choices=("mean", "cls"), default="mean")
    parser.add_argument("--cosine", type=float, default=0.8, help="the least that counts")
    parser.add_argument("--digest", action="store_true", help="of the codes of the first task only")
    return parser.parse_args()


def _accuracy(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    scores: dict[str, Any] = {}
    skipped = [f"{name}: no open vocabulary has its codes" for name in corpora.WITHOUT_VOCABULARY]
    for task in corpora.TASKS:
        found = corpora.abstracts(arguments.data, arguments.part, task)
        path = arguments.vocab / f"{task.vocabulary}.tsv.gz"
        if found is None or not path.exists():
            missing = f"no {arguments.part} part" if found is None else f"no {path.name}"
            skipped.append(f"{task.name}: {missing}")
            continue
        vocabulary = gather(task.vocabulary, "1", read(path))
        embedding = None
        if arguments.embedding is not None:
            embedding = _embedding(arguments, vocabulary, folder)
        scores[task.name] = _task(
            task, found, vocabulary, folder, not arguments.no_peers, embedding
        )
        print(task.name, json.dumps(scores[task.name]), file=sys.stderr, flush=True)
    return {"scores": scores, "skipped": skipped, "ratios": _ratios(scores)}


def _task(
    task: corpora.Task,
    documents: list[corpora.Abstract],
    vocabulary: Vocabulary,
    folder: Path,
    with_peers: bool,
    embedding: NameEmbedding | None,
) -> dict[str, Any]:
    known = {one for concept in vocabulary.concepts for one in corpora.ids(concept.code)}
    gold = [mention.gold for document in documents for mention in document.mentions]
    stage = _stage(task, vocabulary, folder)
    found, seconds = _linked(stage, documents)
    texts = _texts(documents)
    distinct = list(dict.fromkeys(texts))
    fresh = _stage(task, vocabulary, folder)
    _, fresh_seconds = _linked(fresh, [_plain(distinct)])
    scores: dict[str, Any] = {
        "mentions": len(gold),
        "distinct": len(distinct),
        "reach": _share(bool(some & known) for some in gold),
        "medspan": _at(found, gold)
        | {
            "mentions_per_s": round(len(gold) / seconds),
            "distinct_per_s": round(len(distinct) / fresh_seconds),
        },
    }
    if embedding is not None:
        for name, model in (("product", None), ("embedding", embedding)):
            stage = _stage(task, vocabulary, folder, threshold=_PRODUCT_THRESHOLD, embedding=model)
            found, seconds = _linked(stage, documents)
            answered = {"answered": _share(map(bool, found))}
            scores[name] = _at(found, gold) | answered | {"seconds": round(seconds, 1)}
    if with_peers:
        for name, make in (("tfidf", peers.Tfidf), ("rapidfuzz", peers.Rapidfuzz)):
            scores[name] = _peer(make(vocabulary), texts, distinct, gold)
    return scores


def _peer(
    peer: peers.Peer, texts: list[str], distinct: list[str], gold: list[frozenset[str]]
) -> dict[str, float]:
    start = time.process_time()
    answers = {text: peer.find(text, _MOST) for text in distinct}
    seconds = time.process_time() - start
    rate = {"distinct_per_s": round(len(distinct) / seconds, 1)}
    return _at([answers[text] for text in texts], gold) | rate


def _embedding(
    arguments: argparse.Namespace, vocabulary: Vocabulary, folder: Path
) -> NameEmbedding:
    """Build the index with the vectors of its names; returns the setting that uses them."""
    weights = FolderWeights(model=arguments.embedding)
    if not (folder / f"{vocabulary.name}-{vocabulary.version}").exists():
        build_index(vocabulary, folder, TextEncoder(weights, arguments.pooling, cores()))
    return NameEmbedding(weights=weights, threshold=arguments.cosine)


def _load_encoder(weights: FolderWeights, pooling: Pooling) -> Encoder:
    return TextEncoder(weights, pooling)


def _stage(
    task: corpora.Task,
    vocabulary: Vocabulary,
    folder: Path,
    threshold: float = _THRESHOLD,
    embedding: NameEmbedding | None = None,
) -> LinkingStage:
    target = folder / f"{vocabulary.name}-{vocabulary.version}"
    if not target.exists():
        build_index(vocabulary, folder)
    drugs = ("mention",) if task.drugs else ()
    one = LinkedVocabulary(
        index=str(target), labels={"mention": ()}, drugs=drugs, embedding=embedding
    )
    config = Linking(vocabularies=(one,), top_k=_MOST, threshold=threshold)
    return LinkingStage(config, _load_encoder)


def _linked(
    stage: LinkingStage, documents: list[corpora.Abstract]
) -> tuple[list[list[str]], float]:
    given = [
        Annotations(
            tuple(
                Entity("mention", mention.text, mention.start, mention.start + len(mention.text))
                for mention in document.mentions
            ),
            abbreviations=document.abbreviations,
        )
        for document in documents
    ]
    start = time.process_time()
    refined = [
        stage.refine(document.text, one) for document, one in zip(documents, given, strict=True)
    ]
    seconds = time.process_time() - start
    codes = [[code.code for code in entity.codes] for one in refined for entity in one.entities]
    return codes, seconds


def _texts(documents: list[corpora.Abstract]) -> list[str]:
    return [
        written_out(mention.text, document.abbreviations) or mention.text
        for document in documents
        for mention in document.mentions
    ]


def _plain(texts: list[str]) -> corpora.Abstract:
    return corpora.Abstract("", tuple(corpora.Mention(one, 0, frozenset()) for one in texts), {})


def _at(found: list[list[str]], gold: list[frozenset[str]]) -> dict[str, float]:
    def right(codes: list[str], wanted: frozenset[str]) -> bool:
        return any(corpora.ids(code) & wanted for code in codes)

    pairs = list(zip(found, gold, strict=True))
    return {
        "at_1": _share(right(codes[:1], wanted) for codes, wanted in pairs),
        "at_5": _share(right(codes, wanted) for codes, wanted in pairs),
    }


def _share(flags: Iterable[bool]) -> float:
    found = list(flags)
    return round(sum(found) / len(found), 4)


def _ratios(scores: dict[str, Any]) -> dict[str, float]:
    ratios = {}
    for name, one in scores.items():
        for peer in ("tfidf", "rapidfuzz"):
            if peer in one:
                ratios[f"{name}: at 1, to {peer}"] = one["medspan"]["at_1"] / one[peer]["at_1"]
                ratios[f"{name}: speed, to {peer}"] = (
                    one["medspan"]["distinct_per_s"] / one[peer]["distinct_per_s"]
                )
    return {name: round(value, 3) for name, value in ratios.items()}


def _equal_runs(arguments: argparse.Namespace) -> bool:
    """Return True if two processes with different hash seeds build and answer the same bytes."""
    command = [sys.executable, "-m", "benchmarks.linking.bench", "--digest"]
    command += ["--data", str(arguments.data), "--part", arguments.part]
    command += ["--vocab", str(arguments.vocab)]
    digests = {
        subprocess.run(
            command,
            env=os.environ | {"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    return len(digests) == 1


def _digest(arguments: argparse.Namespace, folder: Path) -> str:
    digest = hashlib.sha256()
    task = corpora.TASKS[0]
    documents = corpora.abstracts(arguments.data, arguments.part, task)
    path = arguments.vocab / f"{task.vocabulary}.tsv.gz"
    if documents is None or not path.exists():
        return "nothing to compare"
    stage = _stage(task, gather(task.vocabulary, "1", read(path)), folder)
    digest.update(stage.manifests[0].digest.encode())
    codes, _ = _linked(stage, documents)
    digest.update(json.dumps(codes).encode())
    return digest.hexdigest()


if __name__ == "__main__":
    main()
