"""Scores of the any-labels starter on corpora, beside a dictionary and peers.

    python -m benchmarks.any_labels --data FOLDER --part dev [--characters 20000] [--peers]

Reads `<set>/<part>.jsonl` or `.jsonl.gz` of FOLDER (a document a line: id, text, entities with
start, end and label); a set that is absent is skipped and named. A set's labels are those of its
train part and of the part itself, asked for in words: NumberPatients as "number patients". Counted
strictly: start, end and label must agree. `unseen`: the same, of mentions whose words no training
mention of the set has; what is found elsewhere does not count there. The dictionary looks up every
training mention, longest first. With --peers starter:extractor reads the same documents with the
same labels, and starter:token-classifier those of its own set. Documents a second are of this
process alone, on the cores that it may use, loading left out.

The last line of stdout is one JSON document with `scores` by set and `ratios` against peers.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors import Document, Extractor
from actors.config import GgufModel, GlinerModel, ModelConfig, load_model
from actors.guideline import Guideline
from benchmarks.machine import machine

SETS = (
    "maccrobat2020",
    "ctro_21",
    "neurotrialner",
    "bc5cdr",
    "ncbi_disease",
    "phee",
    "chia_without_scope",
    "biored",
    "psytar",
    "spl_adr_200",
    "asq_phi",
    "presidio_synth",
    "meddocan",
    "vietbioner",
    "codiesp_es",
    "pharmaconer_es",
    "medprocner_es",
    "bc5cdr_kinds",
    "biored_kinds",
    "codiesp_kinds",
)
"""Corpora that the starter was trained on; recipes/any_labels/kinds.py makes the last three."""

OTHERS = ("pico_corpus", "anatem", "ade_v2", "e3c_en", "sdoh_mtsamples")
"""Sets that it has not seen, and with them labels that it has not been asked for."""

Span = tuple[int, int, str]


@dataclass(frozen=True)
class Text:
    """A document of a corpus."""

    id: str
    text: str
    gold: frozenset[Span]


@dataclass(frozen=True)
class Result:
    """Strict counts of one reader on one set."""

    gold: int
    said: int
    right: int
    unseen: int
    unseen_right: int
    seconds: float
    documents: int

    def summary(self) -> dict[str, float]:
        """F1 and its parts, in [0, 1]."""
        return {
            "f1": _ratio(2 * self.right, self.gold + self.said),
            "precision": _ratio(self.right, self.said),
            "recall": _ratio(self.right, self.gold),
            "unseen_recall": _ratio(self.unseen_right, self.unseen),
            "documents_per_s": _ratio(self.documents, self.seconds),
        }


def _ratio(part: float, whole: float) -> float:
    return round(part / whole, 4) if whole else 0.0


def in_words(label: str) -> str:
    """A label's name as a person would write it."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", label)
    return re.sub(r"[_/-]+", " ", apart).strip().lower()


def read(data: Path, name: str, part: str) -> list[Text] | None:
    """The documents of a part; None where it is absent."""
    path = data / name / f"{part}.jsonl"
    if path.exists():
        lines = path.read_text("utf-8").splitlines()
    elif (zipped := path.with_name(f"{part}.jsonl.gz")).exists():
        with gzip.open(zipped, "rt", encoding="utf-8") as file:
            lines = file.read().splitlines()
    else:
        return None
    return [
        Text(
            str(row["id"]),
            row["text"],
            frozenset((e["start"], e["end"], in_words(e["label"])) for e in row["entities"]),
        )
        for row in map(json.loads, lines)
    ]


def first(texts: Sequence[Text], characters: int | None) -> list[Text]:
    """The first documents that have at most so many characters together; one at least."""
    taken: list[Text] = []
    total = 0
    for one in texts:
        total += len(one.text)
        if characters is not None and taken and total > characters:
            break
        taken.append(one)
    return taken


def mentions(texts: Sequence[Text]) -> dict[str, str]:
    """Lower-cased words of every mention to the label that it mostly has."""
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for one in texts:
        for start, end, label in one.gold:
            seen[one.text[start:end].lower()][label] += 1
    return {words: labels.most_common(1)[0][0] for words, labels in seen.items()}


def looked_up(text: str, known: dict[str, str]) -> Iterator[Span]:
    """Yield the matches of a dictionary: the longest at each place, without overlaps."""
    words = [match.span() for match in re.finditer(r"\w+|[^\w\s]", text)]
    longest = max((len(re.findall(r"\w+|[^\w\s]", one)) for one in known), default=0)
    at = 0
    while at < len(words):
        for last in range(min(at + longest, len(words)) - 1, at - 1, -1):
            start, end = words[at][0], words[last][1]
            if label := known.get(text[start:end].lower()):
                yield start, end, label
                at = last
                break
        at += 1


def counted(
    texts: Sequence[Text], said: Sequence[set[Span]], known: dict[str, str], seconds: float
) -> Result:
    """Strict counts; only labels that are asked for are in `said`."""
    gold = said_ = right = unseen = unseen_right = 0
    for one, found in zip(texts, said, strict=True):
        new = {span for span in one.gold if one.text[span[0] : span[1]].lower() not in known}
        gold, said_ = gold + len(one.gold), said_ + len(found)
        right += len(one.gold & found)
        unseen, unseen_right = unseen + len(new), unseen_right + len(new & found)
    return Result(gold, said_, right, unseen, unseen_right, seconds, len(texts))


def asked(config: ModelConfig, labels: Sequence[str]) -> ModelConfig:
    """The model with these labels; a token classifier keeps its own."""
    if not isinstance(config, GlinerModel | GgufModel):
        return config
    guideline = Guideline.model_validate({"name": "set", "labels": dict.fromkeys(labels)})
    prompt = config.prompt.model_copy(update={"guideline": guideline})
    return config.model_copy(update={"prompt": prompt})


def extracted(config: ModelConfig, texts: Sequence[Text]) -> tuple[list[set[Span]], float]:
    """Return a model's spans for each text, and the seconds that it took."""
    with Extractor(config) as extractor:
        began = time.perf_counter()
        done = extractor.extract(Document(str(n), one.text) for n, one in enumerate(texts))
        seconds = time.perf_counter() - began
    failed = sum(one.failure is not None for one in done)
    if failed:
        raise SystemExit(f"{config.name}: {failed} documents failed")
    return [
        {
            (e.start, e.end, in_words(e.label))
            for e in one.entities
            if e.start is not None and e.end is not None
        }
        for one in done
    ], seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--part", default="dev")
    parser.add_argument("--model", default="starter:any-labels")
    parser.add_argument("--sets", nargs="*", default=[*SETS, *OTHERS])
    parser.add_argument("--characters", type=int, help="of the first documents of a set")
    parser.add_argument("--threshold", type=float, help="instead of the model file's")
    parser.add_argument("--peers", action="store_true", help="measure the other starters too")
    given = parser.parse_args()
    ours = load_model(given.model)
    if given.threshold is not None and isinstance(ours, GlinerModel):
        filter_ = ours.labels.model_copy(update={"threshold": given.threshold})
        ours = ours.model_copy(update={"labels": filter_})
    scores: dict[str, Any] = {}
    absent: list[str] = []
    for name in given.sets:
        texts = read(given.data, name, given.part)
        if texts is None:
            absent.append(name)
            continue
        texts = first(texts, given.characters)
        train = read(given.data, name, "train") or []
        known = mentions(train)
        names = sorted({span[2] for one in [*train, *texts] for span in one.gold})
        readers = {"any-labels": asked(ours, names)}
        if given.peers:
            readers["extractor"] = asked(load_model("starter:extractor"), names)
            if name == "ctro_21":
                readers["token-classifier"] = load_model("starter:token-classifier")
        table: dict[str, Any] = {"documents": len(texts), "labels": len(names)}
        for reader, config in readers.items():
            said, seconds = extracted(config, texts)
            table[reader] = counted(texts, said, known, seconds).summary()
        said = [set(looked_up(one.text, known)) for one in texts]
        table["dictionary"] = counted(texts, said, known, 0.0).summary()
        scores[name] = table
        f1 = {key: value["f1"] for key, value in table.items() if isinstance(value, dict)}
        print(name, json.dumps(f1), flush=True)
    ratios = {}
    for name, table in scores.items():
        for peer in ("dictionary", "extractor", "token-classifier"):
            if peer in table:
                ratios[f"{name} f1 / {peer}"] = _ratio(table["any-labels"]["f1"], table[peer]["f1"])
                if peer != "dictionary":
                    ratios[f"{name} documents/s / {peer}"] = _ratio(
                        table["any-labels"]["documents_per_s"], table[peer]["documents_per_s"]
                    )
    result = {
        "benchmark": "any_labels",
        "part": given.part,
        "characters": given.characters,
        "threshold": ours.labels.threshold,
        "model": given.model,
        "machine": machine(),
        "absent": absent,
        "scores": scores,
        "ratios": ratios,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
