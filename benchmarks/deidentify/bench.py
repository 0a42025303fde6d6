"""Measure de-identification on annotated corpora.

    python -m benchmarks.deidentify.bench --data FOLDER --part dev [--peer PYTHON] [--model NAME]

``FOLDER/<set>/<part>.jsonl[.gz]``: a document a line with ``text`` and ``entities``. ``--peer``:
the interpreter of an environment with presidio-analyzer. Every category is taken (preset strict).
Columns: the rules alone; the rules with the names of the gold standard (what a perfect model of
names gives, ``names_given``) and with all gold spans that no pattern can find
(``unstructured_given``); the rules with each ``--model``, and its second
look; the peer. The last line is JSON.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actors.config.deidentify import Category, Deidentify, DeidentifyLanguage
from actors.deidentify import Deidentified, Deidentifier
from actors.deidentify.detector import Detector
from actors.spans import Annotations, Document, Entity, spanning
from benchmarks.deidentify.scores import STRUCTURED, Counts, Span, identifying, ratio
from benchmarks.machine import machine

if TYPE_CHECKING:
    from actors.extractor import Extractor

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Corpus:
    """A set and the configuration that its texts ask for."""

    name: str
    languages: tuple[DeidentifyLanguage, ...]
    countries: tuple[str, ...]


CORPORA = (
    Corpus("meddocan", ("es",), ("ES",)),
    Corpus("asq_phi", ("en",), ("US",)),
    Corpus("grascco_phi", ("de",), ("DE", "AT")),
    Corpus("presidio_synth", ("en",), ("US", "GB", "ES", "DE", "FR")),
)


@dataclass(frozen=True)
class Row:
    """A document with the gold spans whose labels belong to a category."""

    text: str
    gold: tuple[Span, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--part", default="dev")
    parser.add_argument("--peer", help="Python with presidio-analyzer")
    parser.add_argument("--model", action="append", default=[], help="such as starter:extractor")
    parser.add_argument("--model-documents", type=int, default=50, help="most a set for models")
    parser.add_argument("--out", type=Path, help="where the JSON document is kept too")
    asked = parser.parse_args()
    scores: dict[str, Any] = {}
    skipped, left_out = [], {}
    for corpus in CORPORA:
        path = _path(asked.data / corpus.name, asked.part)
        if path is None:
            skipped.append(corpus.name)
            continue
        config = Deidentify(preset="strict", languages=corpus.languages, countries=corpus.countries)
        rows, unmapped = _rows(path, config)
        left_out[corpus.name] = unmapped
        scores[corpus.name] = _measured(rows, config, corpus, asked)
        _print(corpus.name, scores[corpus.name])
    result = {
        "benchmark": "deidentify",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "part": asked.part,
        "machine": machine(),
        "skipped": skipped,
        "labels_without_category": left_out,
        "scores": scores,
        "ratios": {
            name: {
                key: ratio(one["rules"], one["presidio_patterns"], key)
                for key in ("recall", "recall_structured", "precision", "documents_per_second")
            }
            for name, one in scores.items()
            if "presidio_patterns" in one
        },
    }
    if asked.out is not None:
        asked.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


def _path(folder: Path, part: str) -> Path | None:
    for name in (f"{part}.jsonl", f"{part}.jsonl.gz"):
        if (folder / name).is_file():
            return folder / name
    return None


def _rows(path: Path, config: Deidentify) -> tuple[list[Row], dict[str, int]]:
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8")
    rows, unmapped = [], Counter[str]()
    for line in filter(None, text.split("\n")):
        document = json.loads(line)
        gold = []
        for entity in document["entities"]:
            category = config.category(entity["label"])
            if category is None:
                unmapped[entity["label"]] += 1
            else:
                gold.append((entity["start"], entity["end"], str(category)))
        rows.append(Row(document["text"], tuple(gold)))
    return rows, dict(unmapped)


_Found = Callable[[Row], Iterable[Entity]]


def _measured(
    rows: Sequence[Row], config: Deidentify, corpus: Corpus, asked: argparse.Namespace
) -> dict[str, Any]:
    detector = Detector(config)
    columns = {
        "rules": _column(rows, detector, lambda row: ()),
        "names_given": _column(rows, detector, lambda row: _gold(row, {Category.NAME})),
        "unstructured_given": _column(
            rows, detector, lambda row: _gold(row, set(Category) - STRUCTURED)
        ),
    }
    for reference in asked.model:
        some = rows[: asked.model_documents]
        columns[reference] = _with_model(some, config, detector, reference)
    if asked.peer:
        columns["presidio_patterns"] = _peer(rows, corpus.languages[0], asked.peer)
    return columns


def _column(rows: Sequence[Row], detector: Detector, entities: _Found) -> dict[str, Any]:
    counts = Counts()
    given = [tuple(entities(row)) for row in rows]
    detector.find("John Smith came on 3 March 2020.")  # lists are read at the first use
    begun = time.perf_counter()
    found = [detector.find(row.text, one) for row, one in zip(rows, given, strict=True)]
    seconds = time.perf_counter() - begun
    for row, findings in zip(rows, found, strict=True):
        counts.add(row.text, row.gold, [(f.start, f.end, f.category) for f in findings])
    return counts.scores() | {"documents_per_second": round(len(rows) / seconds, 1)}


def _gold(row: Row, categories: set[Category]) -> list[Entity]:
    return [spanning(row.text, s, e, c) for s, e, c in row.gold if c in categories]


def _with_model(
    rows: Sequence[Row], config: Deidentify, detector: Detector, reference: str
) -> dict[str, Any]:
    """Findings of rules and a model, and of the model's second look."""
    from actors.extractor import load_extractor

    documents = [Document(id=str(number), text=row.text) for number, row in enumerate(rows)]
    begun = time.perf_counter()
    with load_extractor(reference) as extractor:
        extractions = extractor.extract(documents)
        seconds = time.perf_counter() - begun
        found = [one.entities for one in extractions]
        again = _second_look(rows, config, found, extractor)
    entities = dict(zip(rows, found, strict=True))
    column = _column(rows, detector, entities.__getitem__)
    return column | {
        "model_failures": sum(one.failure is not None for one in extractions),
        "documents_per_second": round(len(rows) / seconds, 2),
        "second_look": again | {"seconds_first": round(seconds, 1)},
    }


def _second_look(
    rows: Sequence[Row],
    config: Deidentify,
    found: Sequence[Sequence[Entity]],
    extractor: Extractor,
) -> dict[str, Any]:
    """The cost of a second look by the model, and the documents that it holds back: how many, and
    how many of those had a gold span left."""
    deidentifier = Deidentifier(config)
    begun = time.perf_counter()
    done = [
        deidentifier.apply(row.text, Annotations(tuple(entities)), str(number))
        for number, (row, entities) in enumerate(zip(rows, found, strict=True))
    ]
    seconds_edit = time.perf_counter() - begun
    clean = [number for number, one in enumerate(done) if one.text is not None]
    begun = time.perf_counter()
    said = extractor.extract([Document(str(number), done[number].text) for number in clean])
    seconds = time.perf_counter() - begun
    held = [
        number
        for number, one in zip(clean, said, strict=True)
        if deidentifier.second_look(done[number], one.entities).residue
    ]
    leaking = [number for number in clean if _leaks(rows[number], done[number])]
    return {
        "seconds_deidentify": round(seconds_edit, 2),
        "seconds_second": round(seconds, 1),
        "documents": len(rows),
        "held_back_by_rules": len(rows) - len(clean),
        "held_back_by_model": len(held),
        "held_back_by_model_with_a_leak": len({*held} & {*leaking}),
        "passed_with_a_leak": len({*leaking} - {*held}),
    }


def _leaks(row: Row, done: Deidentified) -> bool:
    taken = {at for edit in done.map.edits for at in range(edit.start, edit.end)}
    return any(not identifying(row.text, s, e) <= taken for s, e, _ in row.gold)


def _peer(rows: Sequence[Row], language: str, python: str) -> dict[str, Any]:
    done = subprocess.run(
        [python, "-P", "-W", "ignore", str(HERE / "presidio_peer.py"), language],
        input="".join(json.dumps(row.text) + "\n" for row in rows),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{done.stderr[-2000:]}\nthe peer failed; see above")
    *found, last = map(json.loads, done.stdout.splitlines())
    counts = Counts()
    for row, spans in zip(rows, found, strict=True):
        counts.add(row.text, row.gold, [(start, end, name) for start, end, name in spans])
    rate = round(len(rows) / last["seconds"], 1)
    return counts.scores() | {"documents_per_second": rate, "version": last["version"]}


def _print(name: str, columns: dict[str, Any]) -> None:
    for column, scores in columns.items():
        print(
            f"{name:16} {column:20} recall {scores['recall']} structured "
            f"{scores['recall_structured']} precision {scores['precision']} no leak "
            f"{scores['no_leak']} {scores['documents_per_second']} documents/s"
        )


if __name__ == "__main__":
    main()
