"""The Ray Data pipeline of a run: read units, one actor pool per stage, write units.

A row of the dataset is a whole unit, so Ray can neither split a unit nor lose part of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import ray
from ray.data import (
    ActorPoolStrategy,
    DataContext,
    Dataset,
    Datasource,
    ReadTask,
    TaskPoolStrategy,
)
from ray.data.block import BlockMetadata

from actors.extractor import Extractor
from pipelines.batch.extract_actor import ExtractActor
from pipelines.batch.finish import release_unit, write_unit
from pipelines.batch.ocr_actor import OcrActor
from pipelines.batch.page_actor import PageActor
from pipelines.batch.pulse import Observer, watched
from pipelines.batch.stage_actor import Load, StageActor, StageWork
from pipelines.batch.unit_row import add_busy, pack
from pipelines.config import LoadedPipeline, Source
from pipelines.runs.carry import Carrier, StoredUnit
from pipelines.runs.marker import IO_TASKS
from pipelines.runs.plan import RunPlan
from pipelines.source.read import read_units
from pipelines.source.units import Unit
from pipelines.stages import Stage
from pipelines.storage import Storage
from pipelines.tables.folder import SinkFolder
from pipelines.worker.traces import ParentSpan

_UNITS_A_READ = 32
# Reading and writing are I/O-bound. Requesting no CPU keeps them from starving when the stages'
# actors hold all CPUs.
_IO_CPUS = 0.0


@dataclass(frozen=True, slots=True)
class ReadWork:
    """Settings of read tasks."""

    source: Source
    keep: pa.Schema
    storage: Storage
    sink: str
    prior: Mapping[str, tuple[StoredUnit, ...]]
    """Live units of earlier runs to carry rows over from, by file."""
    retry_failed: bool
    carries_pictures: bool
    """False if images are read again, so that their pages can be covered."""

    def of(self, units: Sequence[Unit]) -> ReadWork:
        """A copy with ``prior`` reduced to what these units need."""
        uris = {part.uri for unit in units for part in unit.slices}
        return replace(self, prior={uri: self.prior[uri] for uri in uris if uri in self.prior})


class UnitSource(Datasource):  # type: ignore[misc]
    """Ray datasource of units: one row per unit; one task reads consecutive units of a file."""

    def __init__(self, units: Sequence[Unit], work: ReadWork) -> None:
        super().__init__()
        self._units = units
        self._work = work

    def get_name(self) -> str:
        """The name that Ray displays."""
        return "medspan"

    def estimate_inmemory_data_size(self) -> int | None:
        """Unknown: planning does not read the text."""
        return None

    def get_read_tasks(
        self,
        parallelism: int,
        per_task_row_limit: int | None = None,
        data_context: DataContext | None = None,
    ) -> list[ReadTask]:
        """One task for up to 32 neighbouring units."""
        return [
            ReadTask(
                ReadTaskBody(group, self._work.of(group)),
                BlockMetadata(
                    num_rows=len(group),
                    size_bytes=None,
                    input_files=None,
                    exec_stats=None,
                    task_exec_stats=None,
                ),
            )
            for group in _groups(self._units)
        ]


class ReadTaskBody:
    """The callable of a read task; a class, so that it can be pickled."""

    def __init__(self, units: Sequence[Unit], work: ReadWork) -> None:
        self._units = tuple(units)
        self._work = work

    def __call__(self) -> Iterator[pa.Table]:
        """Yield the packed units in order."""
        work = self._work
        work.storage.apply()
        carrier = Carrier(
            SinkFolder(work.sink), work.prior, work.retry_failed, work.carries_pictures
        )
        tables = read_units(self._units, work.source, work.keep)
        for unit in self._units:
            started = time.monotonic()
            table = carrier.mark(next(tables))
            yield pack(unit.id, add_busy(table, "read", time.monotonic() - started))


def _groups(units: Sequence[Unit]) -> Iterator[list[Unit]]:
    """Group adjacent units that start in the same file, so that it is opened once."""
    group: list[Unit] = []
    for unit in units:
        if group and (len(group) == _UNITS_A_READ or group[-1].slices[0].uri != unit.slices[0].uri):
            yield group
            group = []
        group.append(unit)
    if group:
        yield group


def actor_of(stage: Stage) -> type[StageActor]:
    """The class of a stage's actors."""
    if stage.reads_pictures:
        return PageActor if stage.second_look else OcrActor
    return ExtractActor


def _map_stage(dataset: Dataset, work: StageWork) -> Dataset:
    """Map the units through a stage's actor pool."""
    pool = work.stage.actors
    return dataset.map_batches(
        actor_of(work.stage),
        fn_constructor_args=(work,),
        batch_size=1,
        batch_format="pyarrow",
        zero_copy_batch=True,
        num_cpus=pool.num_cpus,
        num_gpus=pool.gpus,
        compute=ActorPoolStrategy(
            min_size=pool.min_actors,
            max_size=pool.max_actors,
            max_concurrent_calls_per_actor=pool.units_in_flight,
            max_tasks_in_flight_per_actor=pool.units_in_flight + 1,
        ),
    )


@dataclass(frozen=True, slots=True)
class RunWork:
    """The remaining work of a run: its units, and the settings of reading and of the stages."""

    run_id: str
    loaded: LoadedPipeline
    units: Sequence[Unit]
    plan: RunPlan
    prior: Mapping[str, tuple[StoredUnit, ...]]
    load: Load = Extractor
    observer: Observer = field(default_factory=Observer)
    span: ParentSpan = field(default_factory=ParentSpan)

    @property
    def reading(self) -> ReadWork:
        """Settings of the read tasks."""
        increment = self.plan.increment
        return ReadWork(
            source=self.loaded.pipeline.source,
            keep=self.plan.keep,
            storage=self.loaded.pipeline.storage,
            sink=self.loaded.pipeline.sink.path,
            prior=self.prior,
            retry_failed=increment is not None and increment.retry_failed,
            carries_pictures=self.loaded.carries_pictures,
        )

    @property
    def stages(self) -> list[StageWork]:
        """The settings of every stage with actors, in order."""
        pipeline = self.loaded.pipeline
        return [
            StageWork(
                index,
                stage,
                pipeline.sink.path,
                self.run_id,
                pipeline.max_attempts,
                pipeline.storage,
                self.loaded.sees_pictures or self.loaded.burns_pages,
                self.load,
                run_span=self.span,
            )
            for index, stage in enumerate(self.loaded.stages)
            if stage.pool is not None
        ]


def write_tasks(loaded: LoadedPipeline) -> int:
    """Return the number of concurrent write tasks.

    Writing waits for storage, and a few tasks suffice. De-identification is CPU time, tens of
    milliseconds a document: then there is a task for every CPU of the cluster.
    """
    if loaded.pipeline.deidentify is None or not ray.is_initialized():
        return IO_TASKS
    return max(IO_TASKS, int(ray.cluster_resources().get("CPU", 0)))


def build_dataset(work: RunWork) -> Dataset:
    """The lazy dataset of a run. Iterating it executes the run and yields a row per unit: its id,
    its files and its counts."""
    context = DataContext.get_current()
    # One unit per block: Ray closes a block at the row that exceeds this size.
    context.target_max_block_size = 1
    context.execution_no_progress_timeout_s = work.loaded.pipeline.no_progress_timeout_s
    context.enable_progress_bars = False
    # Ray retries tasks after system failures (a lost node, a full disk). An error raised by our
    # code is not retried and must end the run with its message.
    context.max_errored_blocks = 0
    pulse = watched(context, work.observer)  # before a dataset copies the context
    # Without the number of read tasks, Ray splits blocks to reach its own parallelism.
    reads = sum(1 for _ in _groups(work.units))
    dataset = ray.data.read_datasource(
        UnitSource(work.units, work.reading),
        num_cpus=_IO_CPUS,
        concurrency=min(IO_TASKS, reads),
        override_num_blocks=reads,
    )
    stages = [replace(stage, on_progress=pulse.of(stage.index)) for stage in work.stages]
    first = [stage for stage in stages if not stage.stage.second_look]
    for stage in first:
        dataset = _map_stage(dataset, stage)
    settings = {"loaded": work.loaded, "key_check": work.plan.key_check, "pulse": pulse}
    if len(first) < len(stages):
        dataset = _map_task(dataset, work, release_unit, settings)
    for stage in stages[len(first) :]:
        dataset = _map_stage(dataset, stage)
    return _map_task(
        dataset, work, write_unit, settings | {"run_id": work.run_id, "run_span": work.span}
    )


def _map_task(
    dataset: Dataset, work: RunWork, function: Callable[..., pa.Table], settings: dict[str, Any]
) -> Dataset:
    """Map the units through tasks."""
    return dataset.map_batches(
        function,
        fn_kwargs=settings,
        batch_size=1,
        batch_format="pyarrow",
        zero_copy_batch=True,
        num_cpus=_IO_CPUS,
        compute=TaskPoolStrategy(write_tasks(work.loaded)),
    )
