"""The Ray Data plan of a run: read units, one pool of actors a step, write units.

A row of the dataset is a whole unit, so Ray can neither split one nor lose part of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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

from pipelines.batch.finish import write_unit
from pipelines.batch.ocr import OcrActor
from pipelines.batch.step import StepActor, pack
from pipelines.config import LoadedPipeline, Pool, Source
from pipelines.lake.read import read_units
from pipelines.lake.units import Unit
from pipelines.storage import Storage

_UNITS_A_READ = 32
# Reading and writing wait for storage more than they compute. Asking for no CPU keeps them from
# being starved for ever where the actors of the steps hold all of them.
_IO_CPUS = 0.0
_IO_TASKS = 4


class UnitSource(Datasource):  # type: ignore[misc]
    """Units as a Ray datasource: one row a unit, consecutive units of a file read by one task."""

    def __init__(
        self, units: Sequence[Unit], source: Source, keep: pa.Schema, storage: Storage
    ) -> None:
        super().__init__()
        self._units = units
        self._source = source
        self._keep = keep
        self._storage = storage

    def get_name(self) -> str:
        """The name that Ray shows."""
        return "medspan"

    def estimate_inmemory_data_size(self) -> int | None:
        """Unknown: text is not read to plan."""
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
                _Read(group, self._source, self._keep, self._storage),
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


class _Read:
    """What a read task does; a class, because it travels pickled."""

    def __init__(
        self, units: Sequence[Unit], source: Source, keep: pa.Schema, storage: Storage
    ) -> None:
        self._units = tuple(units)
        self._source = source
        self._keep = keep
        self._storage = storage

    def __call__(self) -> Iterator[pa.Table]:
        self._storage.apply()
        tables = read_units(self._units, self._source, self._keep)
        for unit, table in zip(self._units, tables, strict=True):
            yield pack(unit.id, table)


def _groups(units: Sequence[Unit]) -> Iterator[list[Unit]]:
    """Neighbours that begin in the same file, so that the file is opened once."""
    group: list[Unit] = []
    for unit in units:
        if group and (len(group) == _UNITS_A_READ or group[-1].slices[0].uri != unit.slices[0].uri):
            yield group
            group = []
        group.append(unit)
    if group:
        yield group


def _pooled(
    dataset: Dataset,
    actor: type[OcrActor | StepActor],
    pool: Pool,
    what: tuple[object, ...],
    storage: Storage,
) -> Dataset:
    """A pool of actors over the units: each is constructed with ``what``, then its share of a
    machine, then the storage."""
    return dataset.map_batches(
        actor,
        fn_constructor_args=(*what, pool.threads, pool.num_gpus, storage),
        batch_size=1,
        batch_format="pyarrow",
        zero_copy_batch=True,
        num_cpus=pool.num_cpus,
        num_gpus=pool.num_gpus,
        compute=ActorPoolStrategy(
            min_size=pool.min_actors,
            max_size=pool.max_actors,
            max_concurrent_calls_per_actor=pool.units_in_flight,
            max_tasks_in_flight_per_actor=pool.units_in_flight + 1,
        ),
    )


def build(
    run_id: str,
    loaded: LoadedPipeline,
    pools: Sequence[Pool],
    units: Sequence[Unit],
    keep: pa.Schema,
) -> Dataset:
    """The lazy dataset of a run; iterating it does the work and gives a row a unit: its id and
    its counts."""
    context = DataContext.get_current()
    # One unit a block: Ray closes a block at the row that passes this size, and a row is a unit.
    context.target_max_block_size = 1
    context.enable_progress_bars = False
    # A task that is no unit's fault (a lost node, a full disk) is tried again by Ray; an error
    # raised by our own code is not, and must end the run with its message.
    context.max_errored_blocks = 0
    pipeline = loaded.pipeline
    source = UnitSource(units, pipeline.source, keep, pipeline.storage)
    # Without the number of read tasks, Ray splits their blocks to reach a parallelism of its own.
    reads = sum(1 for _ in _groups(units))
    dataset = ray.data.read_datasource(
        source, num_cpus=_IO_CPUS, concurrency=min(_IO_TASKS, reads), override_num_blocks=reads
    )
    if loaded.ocr is not None:
        dataset = _pooled(dataset, OcrActor, pools[0], (loaded.ocr,), pipeline.storage)
    steps = pools[len(pools) - len(loaded.models) :]
    for index, (model, pool) in enumerate(zip(loaded.models, steps, strict=True)):
        dataset = _pooled(dataset, StepActor, pool, (index, model), pipeline.storage)
    return dataset.map_batches(
        write_unit,
        fn_kwargs={
            "storage": pipeline.storage,
            "sink": pipeline.sink.path,
            "run_id": run_id,
            "models": len(loaded.models),
            "policy": pipeline.merge,
        },
        batch_size=1,
        batch_format="pyarrow",
        zero_copy_batch=True,
        num_cpus=_IO_CPUS,
        compute=TaskPoolStrategy(_IO_TASKS),
    )
