"""What a run's documents look like in numbers: rates, shares and scores, with their spread.

Each measure is a ratio of two sums over documents, so that its spread follows from documents, which
are independent, and not from entities, which are not: those of one document resemble each other.
Only sums are kept, so memory does not grow with the run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from actors.spans import Grounding, Status
from pipelines.tables.delta import UnitKey
from pipelines.tables.snapshot import Snapshot, among, keys_of

Values = npt.NDArray[np.float64]
MeasureUnit = Literal["share", "per document", "mean"]

LENGTHS = (500, 2_000, 8_000, 32_000)
"""Edges of the ranges of a text's length, in characters."""
SCORE_RANGES = 10
_DOCUMENTS = ["doc_id", "run_id", "unit", "status", "text"]
_ENTITIES = ["doc_id", "run_id", "unit", "label", "score", "grounding", "assertion", "codes"]
_STATUS = ("negated", "uncertain", "hypothetical", "conditional", "historical")


@dataclass(slots=True)
class Ratio:
    """Sums over documents of y, x and their products; the measure is the ratio of y to x.
    ``documents``: those with an x."""

    documents: int = 0
    y: float = 0.0
    x: float = 0.0
    yy: float = 0.0
    xy: float = 0.0
    xx: float = 0.0

    def add(self, y: Values, x: Values) -> None:
        """Add documents."""
        self.documents += int(np.count_nonzero(x))
        self.y += float(y.sum())
        self.x += float(x.sum())
        self.yy += float(y @ y)
        self.xy += float(x @ y)
        self.xx += float(x @ x)

    @property
    def value(self) -> float | None:
        """The measure; None if there is nothing to measure."""
        return self.y / self.x if self.x else None

    @property
    def variance(self) -> float | None:
        """The variance of the measure over samples of as many documents (Cochran, Sampling
        Techniques, 1977, section 6.3): n / (n - 1) * sum (y - R x)^2 / (sum x)^2. None for fewer
        than two documents."""
        if self.documents < 2:
            return None
        ratio = self.y / self.x
        squares = max(self.yy - 2 * ratio * self.xy + ratio * ratio * self.xx, 0.0)
        return self.documents / (self.documents - 1) * squares / self.x**2


@dataclass(frozen=True, slots=True)
class Measure:
    """The name of a measure, within a group of them."""

    group: str
    name: str
    unit: MeasureUnit


@dataclass(frozen=True, slots=True)
class Profile:
    """The measures of a run."""

    run_id: str
    documents: int
    measures: dict[Measure, Ratio]


def profile(snapshot: Snapshot, run_id: str) -> Profile:
    """Measure the live documents that a run wrote, one file in memory at a time."""
    measures: dict[Measure, Ratio] = defaultdict(Ratio)
    total = 0
    for documents, entities in _files(snapshot, run_id):
        count = documents.num_rows
        total += count
        _add_documents(measures, documents)
        _add_entities(measures, documents, entities)
    for measure, ratio in measures.items():
        if measure.unit == "per document":  # documents without any were not in the sums
            ratio.documents, ratio.x, ratio.xx, ratio.xy = total, total, total, ratio.y
    return Profile(run_id, total, dict(measures))


def _files(snapshot: Snapshot, run_id: str) -> Iterator[tuple[pa.Table, pa.Table | None]]:
    """The documents of each file, with the entities of their units."""
    units = [one.key for one in snapshot.units if one.run_id == run_id]
    paths = snapshot.paths("entities", units)
    for file, keys in keys_of(snapshot.folder, snapshot.table("documents"), units):
        documents = _read(snapshot, f"documents/{file.path}", _DOCUMENTS, keys)
        files = dict.fromkeys(path for key in keys for path in paths.get(key, ()))
        parts = [_read(snapshot, path, _ENTITIES, keys) for path in files]
        if documents.num_rows:
            yield documents, pa.concat_tables(parts) if parts else None


def _read(snapshot: Snapshot, path: str, columns: list[str], keys: set[UnitKey]) -> pa.Table:
    table = snapshot.folder.read_table(path, columns)
    return table.filter(among(table, keys))


def _add_documents(measures: dict[Measure, Ratio], documents: pa.Table) -> None:
    one = np.ones(documents.num_rows)
    status = documents["status"]
    for outcome in (Status.FAILED, Status.TRUNCATED):
        y = _floats(pc.equal(status, outcome.value))
        measures[Measure("documents", outcome.value, "share")].add(y, one)
    lengths = _floats(pc.fill_null(pc.utf8_length(documents["text"]), 0))
    measures[Measure("text", "characters", "mean")].add(lengths, one)
    edges = (0, *LENGTHS)
    for low, high in zip(edges, (*LENGTHS, None), strict=True):
        inside = (lengths >= low) & (lengths < (high or np.inf))
        name = f"{low:,} to {high:,} characters" if high else f"{low:,} characters or more"
        measures[Measure("text", name, "share")].add(inside.astype(np.float64), one)


def _add_entities(
    measures: dict[Measure, Ratio], documents: pa.Table, entities: pa.Table | None
) -> None:
    if entities is None:
        return
    count = documents.num_rows
    at = pc.index_in(entities["doc_id"], value_set=documents["doc_id"].combine_chunks())
    # Files of a table may be joined apart from those of another.
    entities, place = entities.filter(pc.is_valid(at)), at.drop_null().to_numpy()

    def each(mask: npt.NDArray[np.bool_], weights: Values | None = None) -> Values:
        """The sum over the chosen entities of each document."""
        chosen = None if weights is None else weights[mask]
        return np.bincount(place[mask], weights=chosen, minlength=count).astype(np.float64)

    def share(group: str, name: str, mask: Any, of: Any) -> None:
        measures[Measure(group, name, "share")].add(each(mask & of), each(of))

    every = np.ones(entities.num_rows, dtype=bool)
    scored = pc.is_valid(entities["score"]).to_numpy()
    scores = pc.fill_null(entities["score"], 0.0).to_numpy()
    labels = entities["label"].to_numpy()
    measures[Measure("entities", "all", "per document")].add(each(every), np.ones(count))
    for label in pc.unique(entities["label"]).to_pylist():
        mine = labels == label
        measures[Measure("entities", label, "per document")].add(each(mine), np.ones(count))
        if (mine & scored).any():
            score = measures[Measure("score", label, "mean")]
            score.add(each(mine & scored, scores), each(mine & scored))
    for at_ in range(SCORE_RANGES):
        low, high = at_ / SCORE_RANGES, (at_ + 1) / SCORE_RANGES
        last = at_ == SCORE_RANGES - 1
        inside = (scores >= low) & ((scores < high) | last)
        share("score", f"{low:.1f} to {high:.1f}", inside, scored)
    for grounding in (Grounding.UNGROUNDED, Grounding.FUZZY):
        mask = pc.equal(entities["grounding"], grounding.value).to_numpy()
        share("grounding", grounding.value, mask, every)
    assertion = entities["assertion"]
    decided = pc.is_valid(assertion).to_numpy()
    for name in _STATUS:
        said = pc.fill_null(pc.struct_field(assertion, name), False).to_numpy()
        share("status", name, said, decided)
    patient = pc.equal(pc.struct_field(assertion, "experiencer"), "patient")
    share("status", "of another person", ~pc.fill_null(patient, True).to_numpy(), decided)
    coded = pc.greater(pc.fill_null(pc.list_value_length(entities["codes"]), 0), 0).to_numpy()
    share("codes", "entities with a code", coded, every)


def _floats(column: pa.ChunkedArray) -> Values:
    found: Values = column.to_numpy().astype(np.float64)
    return found
