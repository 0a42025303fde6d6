"""Keeping the tables small: joining files, removing those that nothing needs. Both are delta-rs's;
what is ours is what they must leave alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pipelines.runs.lease import Lease, LeaseHeldError
from pipelines.runs.store import RunStore, begun_at
from pipelines.tables.delta_table import ConflictError
from pipelines.tables.folder import RunError
from pipelines.tables.page_files import unneeded_pages

_ATTEMPTS = 5
_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Compacted:
    """Files of each table before and after, by the table's name."""

    before: dict[str, int]
    after: dict[str, int]


@dataclass(frozen=True, slots=True)
class Waste:
    """Unneeded files below the sink, and abandoned runs."""

    files: tuple[str, ...]
    open_runs: tuple[str, ...]


def compact_sink(store: RunStore, target_mb: int = 128) -> Compacted:
    """Join small files of each table into files of about ``target_mb``.

    Units keep their facts, no reader of an earlier version is disturbed, and a run that commits
    meanwhile wins. Raises RunError where runs commit faster than files are joined.
    """
    store.finish_pending()
    before: dict[str, int] = {}
    after: dict[str, int] = {}
    for name in store.tables.there():
        for attempt in range(_ATTEMPTS):
            table = store.tables.existing(name)
            before.setdefault(name, len(table.files()))
            try:
                table.compact(target_mb * _MB)
                break
            except ConflictError:
                if attempt == _ATTEMPTS - 1:
                    raise RunError(
                        f"{store.path}: runs were committed to {name} repeatedly; try again"
                    ) from None
        after[name] = len(store.tables.existing(name).files())
    return Compacted(before, after)


def vacuum_sink(
    store: RunStore, older_than: timedelta, remove: bool, now: datetime | None = None
) -> Waste:
    """Find, and with ``remove`` remove, what no version of the tables younger than ``older_than``
    needs: files that were replaced, files of attempts that no commit took, de-identified pages that
    no row names, and open runs that nobody has worked on for so long.

    Nothing is removed that an open run could still need: files that were replaced or written
    after the oldest open run began stay. One that is being driven (its lease is held) is open.
    """
    real = datetime.now(UTC)
    now = now or real
    store.finish_pending()
    limit = now - older_than
    given_up = []
    for run_id in store.open_runs():
        times = store.folder.times(f"_runs/{run_id}").values()
        idle = datetime.fromtimestamp(max(times, default=0.0), UTC)
        if max(idle, begun_at(run_id)) <= limit and _discard(store, run_id, remove):
            given_up.append(run_id)
        else:
            limit = min(limit, begun_at(run_id))
    for run_id in store.folder.names("_runs") if remove else ():
        if store.is_committed(run_id):  # its driver died before it cleared up
            store.folder.remove(f"_runs/{run_id}")
    hours = max(0, math.ceil((real - limit) / timedelta(hours=1)))
    files = []
    for name in store.tables.there():
        table = store.tables.open(name)
        if table is not None:
            there = store.folder.times(name).keys()
            # delta-rs names what it removed before once more, and some by their whole path.
            found = (path.rpartition(f"/{name}/")[2] for path in table.vacuum(hours, remove))
            files += [f"{name}/{path}" for path in found if path in there]
    pages = unneeded_pages(store.folder, limit, files)
    for path in pages if remove else ():
        store.folder.remove(path)
    files += pages
    return Waste(tuple(files), tuple(given_up))


def _discard(store: RunStore, run_id: str, remove: bool) -> bool:
    """True if an open run is, or could be, discarded: not where it is being driven."""
    try:
        with Lease(store.folder, f"run-{run_id}"):
            if remove:
                store.discard(run_id)
    except LeaseHeldError:
        return False
    if remove:
        store.folder.remove(f"_leases/run-{run_id}")
    return True
