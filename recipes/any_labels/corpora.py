"""Documents as words with spans of words, and the names under which their labels are asked for.

Words are what the runtime's splitter `words` finds: see `actors/onnx/gliner/word_splitter.py`.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from tokenizers import Tokenizer

HERE = Path(__file__).parent
WORD = re.compile(r"\d+(?:[.,]\d+)+|\w+|\S")
WIDTH = 12
"""Words of the longest entity."""

SHARES = {
    "maccrobat2020": 0.17,
    "chia_without_scope": 0.09,
    "ctro_21": 0.03,
    "neurotrialner": 0.06,
    "bc5cdr": 0.05,
    "bc5cdr_kinds": 0.03,
    "notes": 0.03,
    "biored": 0.04,
    "biored_kinds": 0.03,
    "phee": 0.06,
    "ncbi_disease": 0.05,
    "psytar": 0.05,
    "asq_phi": 0.02,
    "presidio_synth": 0.03,
    "meddocan": 0.03,
    "spl_adr_200": 0.03,
    "vietbioner": 0.07,
    "bioscope": 0.01,
    "codiesp_es": 0.08,
    "codiesp_kinds": 0.03,
    "pharmaconer_es": 0.04,
    "medprocner_es": 0.04,
}
"""Sampling weights of windows; `notes` are the made-up ones of the extractor's recipe."""

KINDS = ("bc5cdr_kinds", "biored_kinds", "codiesp_kinds")
"""Corpora that `kinds.py` makes in WORK."""

IDENTITIES = {"asq_phi", "presidio_synth", "meddocan", "notes"}


def names() -> dict[str, dict[str, list[str]]]:
    """Corpus to label to its names: its own, synonyms, and last a definition."""
    found: dict[str, dict[str, list[str]]] = {}
    others = yaml.safe_load((HERE.parent / "extractor" / "labels.yaml").read_text("utf-8"))
    for corpus, labels in others.items():
        if corpus in SHARES:
            found[corpus] = {label: [human(label), *said] for label, said in labels.items()}
    found |= yaml.safe_load((HERE / "labels.yaml").read_text("utf-8"))
    kinds = yaml.safe_load((HERE / "kinds.yaml").read_text("utf-8"))
    by_name = {one["names"][0]: one["names"] for one in kinds}
    return found | dict.fromkeys(KINDS, by_name)


def human(label: str) -> str:
    """A label's name in words: NumberPatients is number patients."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", label)
    return re.sub(r"[_/-]+", " ", apart).strip().lower()


@dataclass(frozen=True)
class Words:
    """A document: per word its place and its pieces' ids, and spans (first, last, label)."""

    places: list[tuple[int, int]]
    pieces: list[list[int]]
    spans: list[tuple[int, int, str]]
    gold: frozenset[tuple[int, int, str]]
    """Every entity in code points, also one that no span of words can be."""


class Pieces:
    """The pieces of a word, remembered."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._known: dict[str, list[int]] = {}

    def __call__(self, word: str) -> list[int]:
        """Their ids."""
        if word not in self._known:
            self._known[word] = self._tokenizer.encode(word, add_special_tokens=False).ids
        return self._known[word]


def documents(rows: Iterator[dict], labels: set[str], pieces: Pieces) -> Iterator[Words]:
    """Rows {"text", "entities"} as words; entities of other labels are left out."""
    for row in rows:
        text = row["text"]
        places = [match.span() for match in WORD.finditer(text)]
        first = {start: i for i, (start, _) in enumerate(places)}
        last = {end: i for i, (_, end) in enumerate(places)}
        spans, gold = [], set()
        for entity in row["entities"]:
            if entity["label"] not in labels:
                continue
            gold.add((entity["start"], entity["end"], entity["label"]))
            a, b = first.get(entity["start"]), last.get(entity["end"])
            whole = not entity.get("fragments")
            if whole and a is not None and b is not None and 0 <= b - a < WIDTH:
                spans.append((a, b, entity["label"]))
        yield Words(
            places, [pieces(text[start:end]) for start, end in places], spans, frozenset(gold)
        )


def read(data: Path, corpus: str, part: str) -> Iterator[dict]:
    """The rows of `<corpus>/<part>.jsonl` or `.jsonl.gz`."""
    path = data / corpus / f"{part}.jsonl"
    if path.exists():
        lines = path.read_text("utf-8").splitlines()
    else:
        with gzip.open(f"{path}.gz", "rt", encoding="utf-8") as file:
            lines = file.read().splitlines()
    return map(json.loads, lines)


def training(
    data: Path, work: Path, pieces: Pieces, only: tuple[str, ...] = tuple(SHARES)
) -> dict[str, list[Words]]:
    """Train parts without texts that stand in some dev part.

    `notes` and the corpora of kinds are read from WORK.
    """
    asked = names()
    folder = {name: work if name in KINDS else data for name in only if name != "notes"}
    held_out = {_key(row) for name in folder for row in read(folder[name], name, "dev")}
    corpora = {}
    for name in only:
        if name == "notes":
            rows = map(json.loads, (work / "notes.jsonl").read_text("utf-8").splitlines())
        else:
            rows = read(folder[name], name, "train")
        kept = (row for row in rows if _key(row) not in held_out)
        corpora[name] = [one for one in documents(kept, set(asked[name]), pieces) if one.places]
    return corpora


def _key(row: dict) -> str:
    return "".join(row["text"].casefold().split())[:200]
