"""The actor of a step: holds a model, and gives every document of a unit its Extraction."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from actors.config import GgufModel, ModelConfig
from actors.extractor import Extractor, Share
from actors.spans import Document, Extraction, Failure, Status
from pipelines.batch.careful import Attempts, Careful, poison
from pipelines.batch.life import Life
from pipelines.storage import Storage
from pipelines.tables.rows import extraction_row
from pipelines.tables.schema import EXTRACTION
from pipelines.worker.events import count_batch
from pipelines.worker.vitals import FOR_EVER, Lifespan

BUSY = b"busy"
"""Key of a unit's schema metadata: seconds that stages were busy for it, as JSON."""
OVER = b"over"
"""Key of a unit's schema metadata: models whose actor was over its share of a card, as JSON."""


class Model(Protocol):
    """What a step needs of an Extractor."""

    @property
    def fingerprint(self) -> str:
        """Digest of the configuration and the weights."""

    def submit(self, document: Document) -> Future[Extraction]:
        """Queue a document; an exception in the future means that the model is lost."""


Load = Callable[[ModelConfig, Share], Model]


@dataclass(frozen=True, slots=True)
class StepWork:
    """What an actor of a step is to do: which model, for which run. ``load`` is Extractor, but
    for tests and benchmarks."""

    index: int
    config: ModelConfig
    sink: str
    run_id: str
    most_tries: int
    load: Load = Extractor


def pack(unit: str, table: pa.Table) -> pa.Table:
    """A unit as one row of a Ray dataset: its id, and its table as an Arrow stream.

    One row, because Ray Data may split a block between any two rows, and a unit must stay whole.
    """
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return pa.table(
        {
            "unit": pa.array([unit]),
            "content": pa.array([sink.getvalue().to_pybytes()], pa.large_binary()),
        }
    )


def unpack(block: pa.Table) -> tuple[str, pa.Table]:
    """The reverse of ``pack``."""
    with pa.ipc.open_stream(block["content"][0].as_buffer()) as reader:
        return block["unit"][0].as_py(), reader.read_all()


def add_busy(table: pa.Table, stage: str, seconds: float) -> pa.Table:
    """The unit, with the time that a stage was busy for it."""
    metadata = dict(table.schema.metadata or {})
    busy = {**json.loads(metadata.get(BUSY, b"{}")), stage: round(seconds, 6)}
    return table.replace_schema_metadata({**metadata, BUSY: json.dumps(busy).encode()})


def add_over(table: pa.Table, model: str) -> pa.Table:
    """The unit, with a model whose actor was over its share when it had done it."""
    metadata = dict(table.schema.metadata or {})
    over = [*json.loads(metadata.get(OVER, b"[]")), model]
    return table.replace_schema_metadata({**metadata, OVER: json.dumps(over).encode()})


class Stopwatch:
    """Seconds in which at least one call was under way, each handed out once."""

    def __init__(self) -> None:
        self._calls = 0
        self._since = 0.0

    def enter(self) -> None:
        """A call begins."""
        if not self._calls:
            self._since = time.monotonic()
        self._calls += 1

    def leave(self) -> float:
        """A call ends: the seconds since the last one that ended, or since the first began."""
        self._calls -= 1
        now = time.monotonic()
        seconds, self._since = now - self._since, now
        return seconds


class StepActor:
    """One model, applied to units. Calls may overlap: the Extractor takes documents of several
    units at once, so that its model stays busy across their edges."""

    def __init__(
        self,
        work: StepWork,
        threads: int,
        gpu: float,
        storage: Storage,
        lifespan: Lifespan = FOR_EVER,
    ) -> None:
        storage.apply()  # the weights may be on an object store
        self._work = work
        self._sees = isinstance(work.config, GgufModel) and work.config.sees
        self._watch = Stopwatch()
        started = time.monotonic()
        self._model = work.load(work.config, Share(threads=threads, gpu=gpu))
        attempts = Attempts(
            work.sink, work.run_id, str(work.index), work.config.name, work.most_tries
        )
        self._careful = Careful(attempts, self._model.submit)
        self._life = Life(lifespan, gpu, work.run_id, work.config.name)
        # A model of a test says nothing of what it took.
        took = getattr(self._model, "took", {})
        self._life.born(round(time.monotonic() - started, 3), took)

    async def __call__(self, block: pa.Table) -> pa.Table:
        """A packed unit with one more column of EXTRACTION; null where a row was not readable, or
        is carried over from an earlier run."""
        async with self._life.turn():
            return await self._do(block)

    async def _do(self, block: pa.Table) -> pa.Table:
        self._watch.enter()
        unit, table = unpack(block)
        columns = ["doc_id", "text", "prompt", "prior", "error_type"]
        columns += ["image"] if self._sees else []
        rows = table.select(columns).to_pylist()
        wanted = [i for i, row in enumerate(rows) if not row["error_type"] and not row["prior"]]
        documents = [
            Document(rows[i]["doc_id"], rows[i]["text"], rows[i].get("image"), rows[i]["prompt"])
            for i in wanted
        ]
        results: list[dict[str, Any] | None] = [None] * len(rows)
        answers = await self._careful.give(unit, documents)
        found = [one or self._poison(d) for one, d in zip(answers, documents, strict=True)]
        for i, extraction in zip(wanted, found, strict=True):
            results[i] = extraction_row(extraction)
        count_batch(
            self._work.config.name,
            len(found),
            sum(e.usage.prompt_tokens + e.usage.completion_tokens for e in found),
            sum(e.usage.seconds for e in found),
        )
        self._life.did(len(found))
        column = pa.array(results, type=EXTRACTION)
        table = table.append_column(f"step_{self._work.index}", column)
        if self._life.over_share:
            table = add_over(table, self._work.config.name)
        return pack(unit, add_busy(table, self._work.config.name, self._watch.leave()))

    def _poison(self, document: Document) -> Extraction:
        return Extraction(
            document_id=document.id,
            model=self._work.config.name,
            fingerprint=self._model.fingerprint,
            status=Status.FAILED,
            failure=Failure("PoisonDocument", poison(self._work.most_tries)),
        )
