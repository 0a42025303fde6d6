"""The profile of a run's documents: rates, shares and scores, with their spread.

Each measure is a ratio of two sums over documents, so that its spread follows from documents, which
are independent, and not from entities, which are not: those of one document resemble each other.
Only sums are kept, so they add up over units of work, and a run's profile fits into its marker.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field, fields
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from actors.spans import Grounding, Status
from pipelines.text.language import language

Values = npt.NDArray[np.float64]
MeasureUnit = Literal["share", "share of documents", "per document", "mean"]
_OF_ALL = ("share of documents", "per document")
"""Units of measures that are per document."""

LENGTHS = (500, 2_000, 8_000, 32_000)
"""Edges of the ranges of a text's length, in characters."""
SCORE_RANGES = 10
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

    def join(self, other: Ratio) -> None:
        """Add the documents of another ratio."""
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))

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


@dataclass(slots=True)
class Profile:
    """The measures of documents. Profiles of several units or runs add up to one of all of them."""

    documents: int = 0
    sums: dict[Measure, Ratio] = field(default_factory=lambda: defaultdict(Ratio))

    @property
    def measures(self) -> dict[Measure, Ratio]:
        """The measures by name."""
        return {one: self.measure(one) for one in self.sums}

    def measure(self, one: Measure) -> Ratio:
        """A measure; one of all documents is 0 where no document has anything of it."""
        found = self.sums.get(one, Ratio())
        if one.unit not in _OF_ALL:
            return found
        # A unit of work without, say, a label has no sums for it, but its documents count.
        count = self.documents
        return Ratio(count, found.y, count, found.yy, found.y, count)

    def update(self, other: Profile) -> None:
        """Add the documents of another profile."""
        self.documents += other.documents
        for measure, ratio in other.sums.items():
            self.sums[measure].join(ratio)

    def as_dict(self) -> dict[str, Any]:
        """As JSON values: the sums of each measure, after its name."""
        return {
            "documents": self.documents,
            "measures": [
                [one.group, one.name, one.unit, *map(_short, astuple(ratio))]
                for one, ratio in self.sums.items()
            ],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Profile:
        """The inverse of ``as_dict``."""
        made = cls(values["documents"])
        for group, name, unit, *sums in values["measures"]:
            made.sums[Measure(group, name, unit)] = Ratio(*sums)
        return made


def _short(value: float) -> float:
    return int(value) if value == int(value) else value


def profile(documents: pa.Table, entities: pa.Table) -> Profile:
    """Measure rows of the documents table, and of the entities table those of these documents."""
    made = Profile(documents.num_rows)
    if documents.num_rows:
        _add_documents(made.sums, documents)
        _add_tokens(made.sums, documents)
        _add_entities(made.sums, documents, entities)
    return made


def _add_documents(measures: dict[Measure, Ratio], documents: pa.Table) -> None:
    one = np.ones(documents.num_rows)
    status = documents["status"]
    for outcome in (Status.FAILED, Status.TRUNCATED):
        y = _floats(pc.equal(status, outcome.value))
        measures[Measure("documents", outcome.value, "share of documents")].add(y, one)
    lengths = _floats(pc.fill_null(pc.utf8_length(documents["text"]), 0))
    measures[Measure("text", "characters", "mean")].add(lengths, one)
    edges = (0, *LENGTHS)
    for low, high in zip(edges, (*LENGTHS, None), strict=True):
        inside = (lengths >= low) & (lengths < (high or np.inf))
        name = f"{low:,} to {high:,} characters" if high else f"{low:,} characters or more"
        measures[Measure("text", name, "share of documents")].add(inside.astype(np.float64), one)
    spoken = np.array([language(text) for text in documents["text"].to_pylist()])
    for code in np.unique(spoken):
        mask = (spoken == code).astype(np.float64)
        measures[Measure("language", str(code), "share of documents")].add(mask, one)


def _add_tokens(measures: dict[Measure, Ratio], documents: pa.Table) -> None:
    """The share of tokens that a model's vocabulary does not have, by model."""
    steps = documents["steps"].combine_chunks()
    place = pc.list_parent_indices(steps).to_numpy()
    flat = pc.list_flatten(steps)
    if not len(flat):
        return
    of = flat.field("model").to_numpy(zero_copy_only=False)
    counts = [
        pc.fill_null(flat.field(name), 0).to_numpy() for name in ("unknown_tokens", "prompt_tokens")
    ]
    for model in sorted(set(of)):
        mine = of == model
        y, x = (
            np.bincount(place[mine], one[mine], documents.num_rows).astype(np.float64)
            for one in counts
        )
        if x.any():  # OCR reads no tokens
            measures[Measure("tokens", f"unknown to {model}", "share")].add(y, x)


def _add_entities(measures: dict[Measure, Ratio], documents: pa.Table, entities: pa.Table) -> None:
    count = documents.num_rows
    at = pc.index_in(entities["doc_id"], value_set=documents["doc_id"].combine_chunks())
    entities, place = entities.filter(pc.is_valid(at)), at.drop_null().to_numpy()
    found = np.bincount(place, minlength=count).astype(np.float64)
    measures[Measure("entities", "all", "per document")].add(found, np.ones(count))
    if not entities.num_rows:
        return

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
        flags = pc.fill_null(pc.struct_field(assertion, name), False).to_numpy()
        share("status", name, flags, decided)
    patient = pc.equal(pc.struct_field(assertion, "experiencer"), "patient")
    share("status", "of another person", ~pc.fill_null(patient, True).to_numpy(), decided)
    coded = pc.greater(pc.fill_null(pc.list_value_length(entities["codes"]), 0), 0).to_numpy()
    share("codes", "entities with a code", coded, every)


def _floats(column: pa.ChunkedArray) -> Values:
    found: Values = column.to_numpy().astype(np.float64)
    return found
