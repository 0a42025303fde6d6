"""A lake that is worked through while things are killed, and what must come of it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import fsspec

from actors.config import load_model
from actors.extractor import Share
from actors.spans import Document
from support.chaos import KINDS, Arena
from support.lake import HashModel, Row, rows_of, write_rows
from support.s3_server import S3Server

DOCUMENTS = 160


def uneven_lake(folder: Path) -> dict[str, Row]:
    """A lake of uneven files, and the rows that must come of it."""
    ids = [f"d{i}" for i in range(DOCUMENTS)]
    starts = [0, 90, 91, 100, 103, DOCUMENTS]
    for number, (start, end) in enumerate(itertools.pairwise(starts)):
        write_rows(folder / f"{number}.jsonl", ids[start:end])
    model = HashModel(load_model("starter:token-classifier"), Share(), 0, "")
    rows: dict[str, Row] = {}
    for i in ids:
        text = f"note {i}: aspirin, metformin and rest"
        found = model.submit(Document(id=i, text=text)).result().entities
        entities = tuple((e.label, e.start or 0, e.end or 0) for e in found)
        rows[i] = ("ok", "", entities)
    return rows


def chaos(
    server: S3Server, folder: Path, kills: int, seconds: float, seed: int
) -> Iterator[tuple[Counter[str], int, int]]:
    """Runs over one lake until so many kills have struck. After each: how many kills of each kind
    there were so far, in how many runs, and how many documents were lost or are not what they would
    have been in peace.

    Raises AssertionError where a document came out twice.
    """
    expected = uneven_lake(folder / "in")
    fsspec.filesystem("s3").put(str(folder / "in"), "lake/in", recursive=True)
    server.misbehave(rate=0.03, kinds=["500", "503", "lost", "hang"], hang_s=3)
    number = wrong = 0
    with Arena(seed) as arena:
        while sum(arena.kills[kind] for kind in KINDS) < kills:
            few = kills <= len(KINDS)
            order = list(KINDS) if few else arena.dice.choices(KINDS, weights=(3, 4, 4, 1), k=8)
            sink = f"s3://lake/out{number}"
            work = {
                "source": "s3://lake/in",
                "sink": sink,
                "seconds": seconds,
                "run": str(folder / f"run{number}"),
                "unit_rows": 8,
                "endpoint": server.url,
                "log": str(folder / f"log{number}"),
            }
            arena.run(work, order, (1.0, 4.0))
            rows = rows_of(sink)
            wrong += sum(rows.get(i) != expected.get(i) for i in expected.keys() | rows.keys())
            number += 1
            yield arena.kills, number, wrong
