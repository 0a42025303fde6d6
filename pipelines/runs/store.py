"""The runs of a sink: begun, resumed, listed, discarded.

    _runs/<run>/plan.parquet     what an open run set out to do, written before any of its work
    _runs/<run>/attempts/        units that workers were about to try; see pipelines.batch.bisection
    _runs/<run>/commit-*         what its commit changes, written before the first table changes
    _leases/                     who is at work; see lease

A run is open until the ledger has it. Then its folder goes, and its facts are in
the ledger.
"""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.deidentification import Deidentification
from pipelines.runs.change import FinishedRun
from pipelines.runs.plan import RunPlan
from pipelines.tables.column_types import extra_columns, released_columns
from pipelines.tables.commit import commit, finish_pending
from pipelines.tables.delta_table import TABLES, Tables
from pipelines.tables.folder import RunError, SinkFolder
from pipelines.tables.ledger import Ledger
from pipelines.tables.page_files import discard_pages, keep_attempts
from pipelines.tables.schema import DATA
from pipelines.tables.snapshot import Snapshot, snapshot

PLAIN = "run.json"
"""Below a sink of plain files: the facts of its run, written last."""
_TIME = "r%Y%m%dT%H%M%S"


def new_run_id() -> str:
    """An id that sorts by time and begins with a letter: no reader takes it for a number."""
    return f"r{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


def begun_at(run_id: str) -> datetime:
    """When a run was begun, by its id; the earliest time for what is no id of ours."""
    try:
        return datetime.strptime(run_id.partition("-")[0], _TIME).replace(tzinfo=UTC)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)


class RunStore:
    """Reads and writes below a sink. Raises RunError for a sink in another layout."""

    def __init__(self, path: str) -> None:
        self.folder = SinkFolder(path)
        self.tables = Tables(self.folder)
        self.path = self.folder.path

    def check_plain(self) -> None:
        """Raise RunError where the folder cannot take plain Parquet files: it has a run."""
        self.folder.check_writable()
        if self.folder.read(PLAIN) is not None or self.tables.open("units") is not None:
            raise RunError(
                f"sink.path: {self.path} has a run, and sink.format: parquet keeps one; give it "
                "another path, or remove what is there"
            )

    def check(self, single_writer: bool = False) -> None:
        """Raise RunError where the sink cannot be written to, is in a layout of before the
        tables, or where its store ignores conditional puts, on which commits rest."""
        if self.folder.read(PLAIN) is not None:
            raise RunError(
                f"sink.path: {self.path} has plain Parquet files (sink.format: parquet), and not "
                "tables; give the tables another path"
            )
        if self.folder.names("_order"):
            raise RunError(
                f"sink.path: {self.path} has runs in medspan's old layout (_order/, _runs/*.json), "
                "which is no longer read; write to a new folder, with a full `medspan run`"
            )
        if not self.folder.has_conditional_put() and not single_writer:
            raise RunError(
                f"sink.path: the store of {self.path} ignores conditional puts, so two writers "
                "could overwrite each other's commits; use a store that has them, or state that "
                "never more than one process writes: storage.s3.single_writer: true"
            )

    def snapshot(self, run_id: str | None = None) -> Snapshot:
        """Return the snapshot after a run, or the latest. Raises RunError for an unknown run."""
        return snapshot(self.tables, run_id)

    def ledger(self) -> Ledger:
        """The ledger now."""
        return Ledger(self.folder, self.tables.open("units"))

    def committed(self) -> list[str]:
        """Ids of the runs that count, in the order of their commits."""
        return self.ledger().runs

    def is_committed(self, run_id: str) -> bool:
        """True if a run counts."""
        units = self.tables.open("units")
        return units is not None and units.has(run_id)

    def latest(self) -> str:
        """The id of the latest committed run; raises RunError where there is none."""
        return self.snapshot().run_id

    def marker(self, run_id: str) -> dict[str, Any]:
        """Return the facts of a committed run. Raises RunError if it is not committed."""
        return self.ledger().facts(run_id)

    def open_runs(self) -> list[str]:
        """Ids of the runs that were begun and do not count, oldest first."""
        names = [name for name in self.folder.names("_runs") if not name.startswith(".")]
        units = self.tables.open("units") if names else None
        return [name for name in names if units is None or not units.has(name)]

    def begin(
        self,
        run_id: str,
        plan: RunPlan,
        entity_columns: Sequence[str] = (),
        deidentify: Deidentification | None = None,
    ) -> None:
        """Make the tables where they are not there, and write the plan of a run.

        Raises ConfigError or RunError where its extra columns do not fit the tables.
        """
        extra = extra_columns(plan.keep)
        released = None if deidentify is None else released_columns(extra, deidentify)
        self.tables.create(extra, entity_columns, released)
        self.write_plan(run_id, plan)

    def write_plan(self, run_id: str, plan: RunPlan) -> None:
        """Write the plan of a run, or another in its place."""
        self.folder.write_table(f"_runs/{run_id}/plan.parquet", plan.as_table())

    def plan(self, run_id: str) -> RunPlan:
        """The plan of an open run; raises RunError where there is no such run."""
        if self.is_committed(run_id):
            raise RunError(f"the run {run_id} is committed; there is nothing to resume")
        content = self.folder.read(f"_runs/{run_id}/plan.parquet")
        if content is None:
            known = ", ".join([*self.open_runs(), *self.committed()][-5:]) or "none"
            raise RunError(f"{self.path} has no run {run_id}; the latest: {known}")
        return RunPlan.from_table(pq.read_table(io.BytesIO(content)))

    def extra_columns(self) -> pa.Schema:
        """The extra columns that the documents table has."""
        table = self.tables.open("documents")
        if table is None:
            return pa.schema([])
        return pa.schema([f for f in table.schema() if f.name not in DATA["documents"].names])

    def commit(self, run: FinishedRun) -> dict[str, Any]:
        """Commit a run and clear its folder. Returns its facts.

        Raises RunError where it does not fit on what was committed since it was planned.
        """
        commit(self.tables, run.run_id, run.change)
        facts = self.marker(run.run_id)
        self.folder.remove(f"_runs/{run.run_id}")
        return facts

    def commit_plain(self, run: FinishedRun) -> dict[str, Any]:
        """Make plain Parquet files complete: those of attempts that lost go, and ``run.json`` is
        written last. Returns the facts of the run. Raises RunError if another was quicker."""
        chosen = {f"{f.table}/{f.path}" for one in run.done.values() for f in one.files}
        for name in DATA:
            for file in self.folder.names(f"{name}/{run.run_id}"):
                if (path := f"{name}/{run.run_id}/{file}") not in chosen:
                    self.folder.remove(path)
        attempts = {
            f.path.partition("/")[2].removesuffix(".parquet")
            for one in run.done.values()
            for f in one.files
        }
        keep_attempts(self.folder, run.run_id, attempts)
        facts = dict(run.facts(run.units()))
        if not self.folder.create(PLAIN, json.dumps(facts, indent=1, sort_keys=True).encode()):
            self.check_plain()
        self.folder.remove(f"_runs/{run.run_id}")
        return facts

    def finish_pending(self) -> str | None:
        """Finish a commit that was interrupted by a crash; return its run, or None."""
        run_id = finish_pending(self.tables)
        if run_id is not None:
            self.folder.remove(f"_runs/{run_id}")
        return run_id

    def discard(self, run_id: str) -> None:
        """Remove a run that does not count, and its files; raises RunError for one that does."""
        self.finish_pending()
        if self.is_committed(run_id):
            raise RunError(f"{self.path}: the run {run_id} is committed and is not discarded")
        if run_id not in self.open_runs():
            raise RunError(f"{self.path} has no run {run_id}")
        # The plan goes last: a discard that was cut short can be done again.
        for name in TABLES:
            self.folder.remove(f"{name}/{run_id}")
        discard_pages(self.folder, run_id)
        self.folder.remove(f"_runs/{run_id}")
