"""Documents with entities, under many names: what the extractor learns from.

Corpora are read as they are laid out in DATA (see README.md); texts that also stand in a dev split
are left out. `teach` adds what the starter token classifier says of texts that have other labels.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

HERE = Path(__file__).parent
NAMES: dict[str, dict[str, list[str]]] = yaml.safe_load((HERE / "labels.yaml").read_text())
"""Corpus to label to its synonyms; the last item is a definition."""

SHARES = {
    "ctro_21": 0.24,
    "taught": 0.05,
    "neurotrialner": 0.23,
    "bc5cdr": 0.20,
    "ncbi_disease": 0.02,
    "phee": 0.04,
    "vietbioner": 0.15,
    "notes": 0.07,
}
"""Sampling weights of the corpora."""

_TAUGHT = ("bc5cdr", "ncbi_disease", "phee", "neurotrialner")
_FOLDERS = {name: (name,) for name in SHARES if name not in ("taught", "notes")}
_FOLDERS["vietbioner"] = ("vietbioner", "vietbioner_docs")


@dataclass(frozen=True)
class Span:
    """[start, end) in code points."""

    start: int
    end: int
    label: str


@dataclass(frozen=True)
class Text:
    """A document with its entities, in the order of their places, wider ones first."""

    text: str
    spans: tuple[Span, ...]


def read(path: Path) -> Iterator[Text]:
    """A file of lines {"text", "entities": [{"start", "end", "label"}]}."""
    for line in path.read_text("utf-8").splitlines():
        row = json.loads(line)
        found = {Span(e["start"], e["end"], e["label"]) for e in row["entities"]}
        yield Text(row["text"], ordered(found))


def ordered(spans: set[Span] | Sequence[Span]) -> tuple[Span, ...]:
    """Spans as an answer names them: by start, wider first, then by label."""
    return tuple(sorted(spans, key=lambda s: (s.start, -s.end, s.label)))


def training(data: Path, work: Path) -> dict[str, list[Text]]:
    """Return the training documents of every corpus, without texts of any dev split."""
    seen = {
        _key(text)
        for folders in _FOLDERS.values()
        for folder in folders
        for text in read(data / folder / "dev.jsonl")
    }
    files = {
        name: [data / folder / "train.jsonl" for folder in folders]
        for name, folders in _FOLDERS.items()
    }
    for extra in ("taught", "notes"):
        files[extra] = [work / f"{extra}.jsonl"]
    corpora = {}
    for name, paths in files.items():
        asked = set(NAMES["ctro_21" if name == "taught" else name])
        corpora[name] = [
            Text(text.text, tuple(span for span in text.spans if span.label in asked))
            for path in paths
            if path.exists()
            for text in read(path)
            if _key(text) not in seen
        ]
    return {name: texts for name, texts in corpora.items() if texts}


def _key(text: Text) -> str:
    return "".join(text.text.casefold().split())[:200]


def teach(data: Path, work: Path) -> None:
    """Write what the starter token classifier says of the other English corpora's texts."""
    import actors

    model = actors.load_extractor("starter:token-classifier")
    texts = [text for name in _TAUGHT for text in read(data / name / "train.jsonl")]
    documents = [actors.Document(id=str(n), text=text.text) for n, text in enumerate(texts)]
    with (work / "taught.jsonl").open("w", encoding="utf-8") as file:
        for text, said in zip(texts, model.extract(documents), strict=True):
            rows = [{"start": e.start, "end": e.end, "label": e.label} for e in said.entities]
            file.write(json.dumps({"text": text.text, "entities": rows}, ensure_ascii=False) + "\n")
    model.close()


def notes(data: Path, work: Path, count: int = 6000) -> None:
    """Write made-up sentences of clinical notes: frames of notes.yaml, filled.

    Drugs, diseases and effects are mentions of the training corpora, the rest stands in the file.
    """
    rng = random.Random(0)
    content = yaml.safe_load((HERE / "notes.yaml").read_text("utf-8"))
    lists: dict[str, list[str]] = content["lists"]
    for slot, (corpus, label) in {
        "DRUG": ("phee", "Drug"),
        "PROBLEM": ("phee", "Effect"),
        "CANCER": ("ncbi_disease", "SpecificDisease"),
    }.items():
        words = {
            " ".join(text.text[s.start : s.end].split())
            for text in read(data / corpus / "train.jsonl")
            for s in text.spans
            if s.label == label and s.end - s.start < 40
        }
        if slot == "CANCER":
            wanted = ("cancer", "carcinoma", "oma ", "tumor", "leukemia", "lymphoma", "melanoma")
            words = {word for word in words if any(part in word + " " for part in wanted)}
        lists[slot] = lists[slot] * max(1, len(words) // len(lists[slot])) + sorted(words)
    with (work / "notes.jsonl").open("w", encoding="utf-8") as file:
        for _ in range(count):
            frames = rng.sample(content["frames"], rng.randint(1, 4))
            text = " ".join(frames) if rng.random() < 0.7 else "\n".join(frames)
            row = _filled(text, lists, rng)
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _filled(frame: str, lists: dict[str, list[str]], rng: random.Random) -> dict[str, object]:
    """``{LABEL}`` in a frame becomes a word of that list and an entity; ``{n}`` a number."""
    text, entities = "", []
    while frame:
        before, opened, rest = frame.partition("{")
        text += before
        if not opened:
            break
        slot, _, frame = rest.partition("}")
        word = _numbered(rng.choice(lists[slot]), rng) if slot != "n" else str(rng.randint(1, 300))
        if slot in NAMES["notes"]:
            entities.append({"start": len(text), "end": len(text) + len(word), "label": slot})
        text += word
    return {"text": text, "entities": entities}


def _numbered(word: str, rng: random.Random) -> str:
    """Every 9 becomes a digit, of which the first in a number is not 0."""
    made = ""
    for character in word:
        if character == "9":
            least = 0 if made and made[-1].isdigit() else 1
            made += str(rng.randint(least, 9))
        else:
            made += character
    return made


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    notes(given.data, given.work)
    teach(given.data, given.work)
