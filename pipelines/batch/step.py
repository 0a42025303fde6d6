"""The actor of a step: holds a model, and gives every document of a unit its Extraction."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from actors.config import ModelConfig
from actors.extractor import Extractor, Share
from actors.spans import Document, Extraction, Failure, Status
from pipelines.batch.events import count_batch, say
from pipelines.batch.gate import Gate
from pipelines.batch.hunt import Hunt
from pipelines.lake.layout import Sink
from pipelines.lake.schema import EXTRACTION, extraction_row
from pipelines.storage import Storage

BUSY = b"busy"
"""Key of a unit's schema metadata: seconds that stages were busy for it, as JSON."""


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


class _Stopwatch:
    """Seconds in which at least one call was under way, each handed out once."""

    def __init__(self) -> None:
        self._calls = 0
        self._since = 0.0

    def enter(self) -> None:
        if not self._calls:
            self._since = time.monotonic()
        self._calls += 1

    def leave(self) -> float:
        self._calls -= 1
        now = time.monotonic()
        seconds, self._since = now - self._since, now
        return seconds


class StepActor:
    """One model, applied to units. Calls may overlap: the Extractor takes documents of several
    units at once, so that its model stays busy across their edges."""

    def __init__(self, work: StepWork, threads: int, gpu: float, storage: Storage) -> None:
        storage.apply()  # the weights may be on an object store
        self._work = work
        self._sink = Sink(work.sink)
        self._gate = Gate()
        self._watch = _Stopwatch()
        started = time.monotonic()
        self._model = work.load(work.config, Share(threads=threads, gpu=gpu))
        seconds = round(time.monotonic() - started, 3)
        say("model loaded", run=work.run_id, step=work.config.name, seconds=seconds)

    async def __call__(self, block: pa.Table) -> pa.Table:
        """A packed unit with one more column of EXTRACTION; null where a row was not readable, or
        is carried over from an earlier run."""
        self._watch.enter()
        unit, table = unpack(block)
        columns = ["doc_id", "text", "prompt", "prior", "error_type"]
        rows = table.select(columns).to_pylist()
        wanted = [i for i, row in enumerate(rows) if not row["error_type"] and not row["prior"]]
        documents = [
            Document(id=rows[i]["doc_id"], text=rows[i]["text"], prompt=rows[i]["prompt"])
            for i in wanted
        ]
        results: list[dict[str, Any] | None] = [None] * len(rows)
        found = await self._extract(unit, documents)
        for i, extraction in zip(wanted, found, strict=True):
            results[i] = extraction_row(extraction)
        count_batch(
            self._work.config.name,
            len(found),
            sum(e.usage.prompt_tokens + e.usage.completion_tokens for e in found),
            sum(e.usage.seconds for e in found),
        )
        column = pa.array(results, type=EXTRACTION)
        table = table.append_column(f"step_{self._work.index}", column)
        return pack(unit, add_busy(table, self._work.config.name, self._watch.leave()))

    async def _extract(self, unit: str, documents: Sequence[Document]) -> list[Extraction]:
        """The Extractions of a unit's documents, in their order.

        Before the model sees them it is written down that it does, so that a process which dies of
        them leaves a trace; see ``pipelines.batch.hunt``.
        """
        if not documents:
            return []
        name = f"_runs/{self._work.run_id}/attempts/{unit}.{self._work.index}.json"
        content = await asyncio.to_thread(self._sink.read, name)
        hunt = Hunt.from_json(content) if content else Hunt.of(len(documents))
        hunt.begin(self._work.most_tries)
        if not hunt.hunting:
            async with self._gate.shared():
                await asyncio.to_thread(self._sink.write, name, hunt.as_json())
                return await self._together(unit, documents)
        say(
            "a unit that its process died of is tried in groups",
            logging.WARNING,
            run=self._work.run_id,
            unit=unit,
            step=self._work.config.name,
            groups=len(hunt.groups),
        )
        found: list[Extraction | None] = [None] * len(documents)
        async with self._gate.exclusive():
            for low, high in hunt.order():
                hunt.running = (low, high)
                await asyncio.to_thread(self._sink.write, name, hunt.as_json())
                found[low:high] = await self._together(unit, documents[low:high])
            hunt.running = None
            await asyncio.to_thread(self._sink.write, name, hunt.as_json())
        return [e or self._poison(documents[i]) for i, e in enumerate(found)]

    async def _together(self, unit: str, documents: Sequence[Document]) -> list[Extraction]:
        futures = [self._model.submit(document) for document in documents]
        try:
            return [await asyncio.wrap_future(future) for future in futures]
        except Exception as error:
            # The Extractor turns a document's failure into data: what comes here is a lost
            # model. Ending the process makes Ray start another and give it this unit.
            say(
                "model lost",
                logging.CRITICAL,
                run=self._work.run_id,
                unit=unit,
                step=self._work.config.name,
                error_type=type(error).__name__,
            )
            os._exit(1)

    def _poison(self, document: Document) -> Extraction:
        say(
            "a document was set aside",
            logging.ERROR,
            run=self._work.run_id,
            document=document.id,
            step=self._work.config.name,
        )
        return Extraction(
            document_id=document.id,
            model=self._work.config.name,
            fingerprint=self._model.fingerprint,
            status=Status.FAILED,
            failure=Failure(
                "PoisonDocument",
                f"ended its process {self._work.most_tries} times while it was alone in it",
            ),
        )
