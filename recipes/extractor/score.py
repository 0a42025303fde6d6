"""Score an extractor through medspan, with constrained decoding, beside two baselines.

    PYTHONPATH=. python recipes/extractor/score.py MODEL.gguf DATA --sets ctro_21 bc5cdr

Baselines: every mention of the training split, looked up in the text (longest first, its most
frequent label, whole words), and, where the labels are its own, the starter token classifier.
`unseen`: the same, among mentions with words (letter case aside) of no training mention. The last
line is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from corpora import Span, Text, read
from gguf import GGUFReader
from samples import plain

import actors
from actors.config import GgufModel, load_model
from actors.extractor import Extractor, Share
from actors.words import words
from pipelines.evaluate import score

SETS = ("ctro_21", "neurotrialner", "bc5cdr", "vietbioner")


def configuration(model: Path, labels: Iterable[str], form: str) -> GgufModel:
    """The shipped model file with other weights, asked for ``labels`` in another format."""
    content = load_model("starter:extractor").model_dump(mode="json", exclude_unset=True)
    content["weights"] = {"model": str(model.resolve())}
    content["prompt"]["format"] = form
    content["prompt"]["guideline"] = {"name": "asked", "labels": dict.fromkeys(labels, "")}
    return GgufModel.model_validate(content)


def extracted(extractor: Extractor, texts: Sequence[Text]) -> list[list[Span]]:
    """Return a model's spans of texts; a failed document is an error here."""
    documents = [actors.Document(id=str(n), text=text.text) for n, text in enumerate(texts)]
    made = []
    for said in extractor.extract(documents):
        if said.failure is not None:
            raise RuntimeError(str(said.failure))
        made.append([Span(e.start, e.end, e.label) for e in said.entities if e.start is not None])
    return made


def one_line(text: str) -> str:
    return " ".join(text.split())


class Dictionary:
    """The training mentions, looked up."""

    def __init__(self, texts: Iterable[Text]) -> None:
        counts: dict[str, Counter[str]] = {}
        for text in texts:
            for span in text.spans:
                mention = one_line(text.text[span.start : span.end])
                counts.setdefault(mention, Counter())[span.label] += 1
        self.labels = {mention: found.most_common(1)[0][0] for mention, found in counts.items()}
        self.seen = {mention.casefold() for mention in counts}
        self._next: dict = {}
        for mention in self.labels:
            node = self._next
            for chunk in words(mention):
                node = node.setdefault(chunk, {})
            node[None] = self.labels[mention]

    def find(self, text: str) -> list[Span]:
        """The mentions in a text, from left to right, none inside another."""
        # White space counts as one space, as a mention may be broken over lines.
        pieces, starts, at = [], [], 0
        for chunk in words(text):
            if not (chunk.isspace() and pieces and pieces[-1] == " "):
                pieces.append(" " if chunk.isspace() else chunk)
                starts.append(at)
            at += len(chunk)
        spans, place = [], 0
        while place < len(pieces):
            node, found, end = self._next, None, place
            while end < len(pieces) and pieces[end] in node:
                node = node[pieces[end]]
                end += 1
                found = (end, node[None]) if None in node else found
            if found:
                last = starts[found[0] - 1] + len(pieces[found[0] - 1])
                spans.append(Span(starts[place], last, found[1]))
            place = found[0] if found else place + 1
        return spans


def f1(gold: Sequence[Text], predicted: Sequence[Sequence[Span]], seen: set[str]) -> dict:
    """Strict micro precision, recall and F1 of all mentions, and of the unseen ones."""

    def measure(known: set[str]) -> dict[str, float]:
        def new(text: str, spans: Iterable[Span]) -> list[Span]:
            return [s for s in spans if one_line(text[s.start : s.end]).casefold() not in known]

        wanted = {str(n): new(text.text, text.spans) for n, text in enumerate(gold)}
        pairs = enumerate(zip(gold, predicted, strict=True))
        given = {str(n): new(text.text, spans) for n, (text, spans) in pairs}
        found = score(wanted, given, resamples=0).micro["strict"]
        shown = {"f1": found.f1, "precision": found.precision, "recall": found.recall}
        return {key: round(value, 4) for key, value in shown.items()} | {"gold": found.gold}

    return {"all": measure(set()), "unseen": measure(seen)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--sets", nargs="+", default=SETS, choices=SETS)
    parser.add_argument("--formats", nargs="+", default=("entity-list", "template"))
    parser.add_argument("--first", type=int, help="only the first so many dev documents")
    parser.add_argument("--no-baselines", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=0, help="trained on; passed on to plot.py")
    given = parser.parse_args()
    results: dict[str, dict] = {}
    for name in given.sets:
        gold = list(read(given.data / name / "dev.jsonl"))[: given.first]
        dictionary = Dictionary(read(given.data / name / "train.jsonl"))
        rows: dict[str, dict] = {}
        if not given.no_baselines:
            found = [dictionary.find(text.text) for text in gold]
            rows["dictionary"] = f1(gold, found, dictionary.seen)
            if name == "ctro_21":
                with actors.load_extractor("starter:token-classifier") as extractor:
                    rows["token classifier"] = f1(gold, extracted(extractor, gold), dictionary.seen)
        for form in given.formats:
            labels = [label for label, _, _ in plain(name)]
            config = configuration(given.model, labels, form)
            began = time.monotonic(), time.process_time()
            with Extractor(config, Share(threads=given.threads, gpu=0)) as extractor:
                rows[form] = f1(gold, extracted(extractor, gold), dictionary.seen)
            rows[form]["seconds"] = round(time.monotonic() - began[0], 1)
            rows[form]["cpu_seconds"] = round(time.process_time() - began[1], 1)
        for form, row in rows.items():
            shown = {part: row[part]["f1"] for part in ("all", "unseen")}
            print(f"{name:14} {len(gold):4} documents  {form:17} {shown}", flush=True)
        results[name] = {"documents": len(gold), **rows}
    parameters = sum(int(tensor.n_elements) for tensor in GGUFReader(given.model).tensors)
    print(
        json.dumps(
            {
                "model": given.model.name,
                "parameters": parameters,
                "tokens": given.tokens,
                "scores": results,
            }
        )
    )


if __name__ == "__main__":
    main()
