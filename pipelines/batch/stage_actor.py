"""Base class of stage actors: an actor holds a model and applies it to units."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa

from actors.config import ModelConfig
from actors.extractor import Extractor, Share
from actors.spans import Document, Extraction
from pipelines.batch.crash_guard import Attempts
from pipelines.batch.pulse import NoPulse, Pulse
from pipelines.batch.recycling import RecycledActor
from pipelines.batch.unit_row import Stopwatch, add_busy, add_over, characters, pack, unpack
from pipelines.stages import Stage
from pipelines.storage import Storage
from pipelines.worker.process_health import RecycleLimits
from pipelines.worker.traces import ParentSpan


class Model(Protocol):
    """The part of an Extractor that a stage uses."""

    @property
    def fingerprint(self) -> str:
        """Digest of the configuration and the weights."""

    def submit(self, document: Document) -> Future[Extraction]:
        """Queue a document; an exception in the future means that the model is lost."""


# A source column must not be mistaken for a stage: "/" is not valid in SQL identifiers.
_COLUMN = "medspan/stage/"
_SECOND_LOOK = "medspan/second_look/"
_PAGE_LOOK = "medspan/page_look/"
RELEASED = "medspan/released"
"""The column with the de-identified texts that the second look reads; null where none leaves."""

Load = Callable[[ModelConfig, Share], Model]


@dataclass(frozen=True, slots=True)
class StageWork:
    """The work of one actor: a stage of a run.

    ``index``: the stage's position in the pipeline, which names its column. ``keep_pictures``: a
    later stage needs the images too. ``load`` is Extractor except in tests and benchmarks.
    ``on_progress`` is called on progress within a unit.
    """

    index: int
    stage: Stage
    sink: str
    run_id: str
    max_attempts: int
    storage: Storage
    keep_pictures: bool = False
    load: Load = Extractor
    on_progress: Pulse = field(default_factory=NoPulse)
    run_span: ParentSpan = field(default_factory=ParentSpan)

    @property
    def column(self) -> str:
        """The column with this stage's result of each document."""
        if self.stage.second_look:
            return f"{_SECOND_LOOK}{self.index}"
        return stage_column(self.index)

    @property
    def page_column(self) -> str:
        """The column with what a model of the second look found on each document's covered
        pages."""
        return f"{_PAGE_LOOK}{self.index}"

    @property
    def attempts(self) -> Attempts:
        """The journal of attempts at units."""
        return Attempts(self.sink, self.run_id, str(self.index), self.stage.name, self.max_attempts)

    @property
    def share(self) -> Share:
        """The resources of the actor."""
        pool = self.stage.actors
        return Share(pool.threads, pool.gpus, pool.cpu_fallback)


def stage_column(index: int) -> str:
    """The column of the stage at this position in the pipeline."""
    return f"{_COLUMN}{index}"


def is_stage_column(name: str) -> bool:
    """True if a column has what a stage found in the documents."""
    return name.startswith(_COLUMN)


def is_second_look_column(name: str) -> bool:
    """True if a column has what a stage found in the de-identified texts."""
    return name.startswith(_SECOND_LOOK)


def is_page_look_column(name: str) -> bool:
    """True if a column has what a stage found on the covered pages."""
    return name.startswith(_PAGE_LOOK)


class StageActor(ABC):
    """Applies one model to units. Calls overlap, so that the model stays busy across unit
    boundaries."""

    def __init__(self, work: StageWork) -> None:
        work.storage.apply()  # the weights may be in an object store
        self._work = work
        self._watch = Stopwatch()
        started = time.monotonic()
        memory = self._load(work)
        pool = work.stage.actors
        lifespan = RecycleLimits(pool.recycle_documents, pool.recycle_growth_mb)
        self._life = RecycledActor(lifespan, pool.gpus, work.run_id, work.stage.name)
        self._life.log_loaded(round(time.monotonic() - started, 3), memory)

    async def __call__(self, block: pa.Table) -> pa.Table:
        """Add the stage's column to a packed unit."""
        async with self._life.call():
            self._watch.enter()
            unit, table = unpack(block)
            stage = self._work.stage.name
            with (
                self._work.on_progress.while_busy(characters(table)),
                self._work.run_span.span("stage", stage=stage, unit=unit) as span,
            ):
                table, documents = await self._apply(unit, table)
                span.set(documents=documents)
            self._life.record(documents)
            if self._life.over_share:
                table = add_over(table, stage)
            return pack(unit, add_busy(table, stage, self._watch.leave()))

    @abstractmethod
    def _load(self, work: StageWork) -> Mapping[str, int]:
        """Load the model; returns its memory use in bytes, by place and purpose."""

    @abstractmethod
    async def _apply(self, unit: str, table: pa.Table) -> tuple[pa.Table, int]:
        """Returns the unit with the stage's column, and how many documents the model processed."""
