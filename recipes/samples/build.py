"""Build the sample lake and its gold entities from the marked-up documents beside this file.

    python recipes/samples/build.py            # writes configs/samples/
    python recipes/samples/build.py --check    # exits 1 if what is committed differs

A source file is a few ``key: value`` lines, a line ``---``, then the document, with every gold
entity written as ``[[Label|surface text]]``. The text is what is left when the marks are taken
away, so an entity's offsets (code points, end exclusive) cannot be wrong. What is an entity, and
where it ends, is in ANNOTATION.md.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).resolve().parent
OUT = HERE.parents[1] / "configs" / "samples"

LABELS = frozenset(
    {
        "Age", "AllocationRatio", "Author", "BioAndMedicalUnit", "CTAnalysisApproach", "CTDesign",
        "Confidence", "Country", "DisorderOrSyndrome", "DoseValue", "Drug", "DrugTime", "Duration",
        "Journal", "NumberPatients", "PMID", "PValue", "PercentagePatients", "PublicationYear",
        "TimePoint", "Value",
    }
)  # fmt: skip
KINDS = {"abstracts": "abstract", "notes": "note"}
GOLD = "quickstart-gold.jsonl"
SCHEMA = pa.schema([(name, pa.string()) for name in ("note_id", "note", "kind", "department")])

MARK = re.compile(r"\[\[(?P<label>[A-Za-z]+)\|(?P<surface>.+?)\]\]", re.DOTALL)
NEWLINES = {"lf": "\n", "crlf": "\r\n"}


@dataclass(frozen=True)
class Entity:
    """One gold entity: code-point offsets into the document's text, end exclusive."""

    start: int
    end: int
    label: str
    text: str


@dataclass(frozen=True)
class Document:
    """One sample document."""

    id: str
    text: str
    kind: str
    department: str
    entities: tuple[Entity, ...]


def parse_markup(markup: str) -> tuple[str, tuple[Entity, ...]]:
    """Split marked-up text into plain text and the entities marked in it."""
    pieces: list[str] = []
    entities: list[Entity] = []
    length = done = 0
    for mark in MARK.finditer(markup):
        label, surface = mark["label"], mark["surface"]
        if label not in LABELS:
            raise ValueError(f"no such label: {mark[0]!r}")
        if surface != surface.strip():
            raise ValueError(f"white space at the edge of an entity: {mark[0]!r}")
        before = markup[done : mark.start()]
        start = length + len(before)
        length = start + len(surface)
        pieces += [before, surface]
        entities.append(Entity(start, length, label, surface))
        done = mark.end()
    text = "".join([*pieces, markup[done:]])
    left = re.search(r"\[\[|\]\]|\w\|", text)
    if left:
        near = text[max(0, left.start() - 30) : left.end() + 30]
        raise ValueError(f"a mark that is not closed, or not well formed: {near!r}")
    return text, tuple(entities)


def parse_file(path: Path) -> Document:
    """Read one source file."""
    head, separator, body = path.read_bytes().decode("utf-8").partition("\n---\n")
    if not separator:
        raise ValueError(f"{path.name}: no line '---' after the header")
    header = dict(line.split(": ", 1) for line in head.split("\n"))
    unknown = header.keys() - {"department", "newlines"}
    if unknown:
        raise ValueError(f"{path.name}: unknown header: {', '.join(sorted(unknown))}")
    markup = body.removesuffix("\n").replace("\n", NEWLINES[header.get("newlines", "lf")])
    try:
        text, entities = parse_markup(markup)
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error
    return Document(path.stem, text, KINDS[path.parent.name], header["department"], entities)


def load(source: Path = HERE) -> list[Document]:
    """All sample documents, abstracts first, by id."""
    paths = [path for folder in KINDS for path in sorted((source / folder).glob("*.txt"))]
    return [parse_file(path) for path in paths]


def table(documents: list[Document]) -> pa.Table:
    """Documents as the rows of the sample lake."""
    return pa.Table.from_pylist(
        [
            {"note_id": d.id, "note": d.text, "kind": d.kind, "department": d.department}
            for d in documents
        ],
        schema=SCHEMA,
    )


def gold_line(document: Document) -> str:
    """One document as a line of the gold file."""
    entities = [
        {"start": e.start, "end": e.end, "label": e.label, "text": e.text}
        for e in document.entities
    ]
    line = {"id": document.id, "text": document.text, "entities": entities}
    return json.dumps(line, ensure_ascii=False) + "\n"


def build(out: Path = OUT, source: Path = HERE) -> list[Path]:
    """Write the Parquet files and the gold file under ``out``; the same bytes each time."""
    documents = load(source)
    lake = out / "quickstart"
    lake.mkdir(parents=True, exist_ok=True)
    written = []
    for folder, kind in KINDS.items():
        path = lake / f"{folder}.parquet"
        pq.write_table(table([d for d in documents if d.kind == kind]), path, compression="zstd")
        written.append(path)
    gold = out / GOLD
    gold.write_bytes("".join(map(gold_line, documents)).encode("utf-8"))
    return [*written, gold]


def same(one: Path, other: Path) -> bool:
    """Return True if two built files have the same content.

    Parquet is compared by its rows and columns: the file names the pyarrow that wrote it.
    """
    if not other.is_file():
        return False
    if one.suffix == ".parquet":
        return bool(pq.read_table(one).equals(pq.read_table(other)))
    return one.read_bytes() == other.read_bytes()


def differing(out: Path = OUT, source: Path = HERE) -> list[str]:
    """The files under ``out`` that are not what a build would write; empty when all is well."""
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch)
        expected = {path.relative_to(fresh): path for path in build(fresh, source)}
        stray = [
            path.relative_to(out)
            for path in (out / "quickstart").glob("*")
            if path.relative_to(out) not in expected
        ]
        changed = [name for name, path in expected.items() if not same(path, out / name)]
        return sorted(str(name) for name in [*stray, *changed])


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the sample documents and their gold.")
    parser.add_argument("--out", type=Path, default=OUT, help="the folder to write under")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if it differs")
    arguments = parser.parse_args()
    if arguments.check:
        names = differing(arguments.out)
        for name in names:
            print(f"{name} differs: run python recipes/samples/build.py", file=sys.stderr)
        return 1 if names else 0
    for path in build(arguments.out):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
