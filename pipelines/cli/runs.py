"""``medspan runs``: inspect and maintain the runs of a sink."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines.cli.drift_display import drift_table
from pipelines.cli.errors import show_error
from pipelines.cli.run_display import utilisation
from pipelines.cli.sink_argument import RunName, SinkPath, committed_run, store_of
from pipelines.markup.numbers import counted

app = typer.Typer(no_args_is_help=True)
_COUNTS = ("documents", "failed", "entities", "seconds")
_Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


@app.command("list")
def list_runs(sink: SinkPath, as_json: _Json = False) -> None:
    """List the runs of a sink: committed ones in commit order, then uncommitted ones."""
    store = store_of(sink)
    rows = [_row(run, facts) for run, facts in store.ledger().all_facts.items()]
    rows += [{"run_id": run, "state": "open"} for run in store.open_runs()]
    if as_json:
        print(json.dumps(rows))
        return
    Console().print(runs_table(rows))


def runs_table(rows: Sequence[Mapping[str, object]]) -> Table:
    """The table of ``runs list``. In 80 columns, ids and counts are never truncated: the names of
    several pipelines are shortened, and a single one becomes the title."""
    names = {str(row["pipeline"]) for row in rows if "pipeline" in row}
    title = f"pipeline: {escape(names.pop())}" if len(names) == 1 else None
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column("run", no_wrap=True)  # the other commands need it in full
    table.add_column("kind", no_wrap=True)
    for column in _COUNTS:
        table.add_column(column, justify="right", no_wrap=True)
    if names:
        table.add_column("pipeline", overflow="ellipsis")  # the only column that may shrink
    for row in rows:
        kind = row.get("kind", row["state"])
        counts = (row.get(column, "") for column in _COUNTS)
        table.add_row(
            *(str(cell) for cell in (row["run_id"], kind)),
            *(f"{count:,}" if isinstance(count, int) else str(count) for count in counts),
            *([escape(str(row.get("pipeline", "")))] if names else []),
        )
    return table


def _row(run: str, marker: dict[str, Any]) -> dict[str, object]:
    counts = marker["counts"]
    return {
        "run_id": run,
        "state": "committed",
        "pipeline": marker["name"],
        "kind": marker["kind"],
        "documents": sum(counts["documents"].values()),
        "failed": counts["documents"].get("failed", 0),
        "entities": sum(counts["entities"].values()),
        "seconds": round(marker["seconds"], 1),
    }


@app.command()
def show(
    sink: SinkPath,
    run: RunName,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print everything the run recorded, its settings among them."),
    ] = False,
) -> None:
    """Show a committed run: counts, failures by type, entities by label, time of each stage."""
    from pipelines.tables.folder import RunError
    from pipelines.terminal import run_table

    try:
        store = store_of(sink)
        marker = store.marker(committed_run(store, run))
    except RunError as error:
        _refuse(error)
    if as_json:
        print(json.dumps(marker, indent=1))
        return
    counts, console = marker["counts"], Console(highlight=False)
    documents, base = counts["documents"], marker["base"]
    console.print(
        escape(
            f"{marker['run_id']}: pipeline {marker['name']}, {marker['kind']} run, "
            f"committed {marker['committed_at'][:19]} UTC"
            + (f", after {base}" if base is not None else "")
        ),
        soft_wrap=True,
    )
    console.print(
        run_table(
            documents_ok=documents.get("ok", 0),
            documents_truncated=documents.get("truncated", 0),
            documents_failed=documents.get("failed", 0),
            seconds=marker["seconds"],
            entity_counts=counts["entities"],
            failures=counts["failures"],
            carried_over=sum(counts["carried"].values()),
        )
    )
    read, units = counted(marker["source"]["files"], "file"), counted(marker["units"], "unit")
    console.print(f"source: {read} in {units}")
    console.print(escape(utilisation(marker)), soft_wrap=True)
    versions = ", ".join(f"{name} {number}" for name, number in marker["versions"].items())
    console.print(escape(f"versions: {versions}"), soft_wrap=True)


@app.command()
def current(sink: SinkPath, as_json: _Json = False) -> None:
    """List the live files of the current snapshot, for readers without Delta support."""
    from pipelines.tables.folder import RunError

    try:
        now = store_of(sink).snapshot()
        run_id = now.run_id
    except RunError as error:
        _refuse(error)
    files = {name: now.files(name) for name in now.names}
    if as_json:
        versions = {name: now.table(name).version for name in files}
        print(json.dumps({"run_id": run_id, "versions": versions, **files}))
        return
    for paths in files.values():
        print("\n".join(paths))


@app.command()
def diff(sink: SinkPath, before: RunName, after: RunName, as_json: _Json = False) -> None:
    """Compare two commits: documents, texts, statuses and entities."""
    from pipelines.tables.diff import compare
    from pipelines.tables.folder import RunError

    try:
        store = store_of(sink)
        before, after = committed_run(store, before), committed_run(store, after)
        found = compare(store.snapshot(before), store.snapshot(after))
    except (RunError, FileNotFoundError) as error:
        _refuse(_vacuumed(before, error))
    if as_json:
        print(json.dumps(asdict(found)))
        return
    console = Console(highlight=False)
    table = Table(
        "documents", "count", "examples", title=f"{before} to {after}", box=box.SIMPLE_HEAD
    )
    for kind, count in found.documents.items():
        table.add_row(kind, f"{count:,}", ", ".join(found.examples[kind][:3]))
    console.print(table)
    changed = {label: pair for label, pair in found.labels.items() if pair[0] != pair[1]}
    if changed:
        table = Table("entities", "before", "after", box=box.SIMPLE_HEAD)
        for label, (old, new) in changed.items():
            table.add_row(label, f"{old:,}", f"{new:,}")
        console.print(table)


def _vacuumed(run: str, error: Exception) -> Exception:
    if isinstance(error, FileNotFoundError):
        return RuntimeError(f"files of {run} no longer exist: `medspan runs vacuum` removed them")
    return error


@app.command()
def compare(
    sink: SinkPath,
    before: RunName,
    after: RunName,
    every: Annotated[bool, typer.Option("--all", help="Also show what has not changed.")] = False,
    plot: Annotated[str | None, typer.Option(help="Write a plot to this SVG file.")] = None,
    as_json: _Json = False,
) -> None:
    """Compare the results of two runs: list rates, scores and shares that changed beyond chance."""
    from pipelines.markup.reader_page import save
    from pipelines.runs.drift import compare_profiles
    from pipelines.runs.drift_plot import drift_svg
    from pipelines.runs.profile import Profile
    from pipelines.tables.folder import RunError

    try:
        store = store_of(sink)
        before, after = committed_run(store, before), committed_run(store, after)
        profiles = (Profile.from_dict(store.marker(run)["profile"]) for run in (before, after))
        drift = compare_profiles(*profiles)
    except RunError as error:
        _refuse(error)
    if plot:
        save(plot, drift_svg(drift, (before, after), every))
    if as_json:
        print(json.dumps({"runs": [before, after]} | drift.as_dict()))
        return
    Console(highlight=False).print(drift_table(drift, every))


@app.command()
def lineage(
    sink: SinkPath,
    run: RunName,
    out: Annotated[
        str | None,
        typer.Option(help="Write JSON lines to this file; default: send them to OPENLINEAGE_URL."),
    ] = None,
) -> None:
    """Send OpenLineage the files that a run read, with their versions, and the tables it wrote."""
    from importlib.metadata import version

    from pipelines.exchange.export_files import ExportFiles
    from pipelines.exchange.exporter import ExportError
    from pipelines.exchange.lineage import as_lines, lineage_events, send
    from pipelines.tables.folder import RunError

    try:
        store = store_of(sink)
        snapshot = store.snapshot(committed_run(store, run))
        events = list(lineage_events(snapshot, version("medspan")))
        if out is None:
            send(events)
        else:
            with ExportFiles(out) as output:
                output.file().writelines(as_lines(events))
    except (ExportError, RunError) as error:
        _refuse(error)


@app.command()
def vacuum(
    sink: SinkPath,
    older_than_days: Annotated[
        float,
        typer.Option(min=0, help="Keep table versions and uncommitted runs younger than this."),
    ] = 7.0,
    yes: Annotated[
        bool, typer.Option("--yes", help="Remove the files instead of only listing them.")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Remove superseded files and abandoned runs."""
    from pipelines.runs.maintenance import vacuum_sink

    try:
        waste = vacuum_sink(store_of(sink), timedelta(days=older_than_days), remove=yes)
    except RuntimeError as error:
        _refuse(error)
    if as_json:
        print(json.dumps({**asdict(waste), "removed": yes}))
        return
    done = "removed" if yes else "can be removed (pass --yes to remove them)"
    Console(highlight=False).print(
        f"{len(waste.files):,} obsolete files, {len(waste.open_runs):,} uncommitted runs: {done}",
        soft_wrap=True,
    )


@app.command()
def compact(
    sink: SinkPath,
    target_mb: Annotated[int, typer.Option(min=1, help="Target size of a compacted file.")] = 128,
    as_json: _Json = False,
) -> None:
    """Compact the small files left by many enrichment passes; runs no model."""
    from pipelines.runs.maintenance import compact_sink
    from pipelines.tables.folder import RunError

    try:
        done = compact_sink(store_of(sink), target_mb)
    except RunError as error:
        _refuse(error)
    if as_json:
        print(json.dumps(asdict(done)))
        return
    changes = ", ".join(
        f"{name} {count:,} to {done.after[name]:,}" for name, count in done.before.items()
    )
    Console(highlight=False).print(
        f"files: {changes}; `medspan runs vacuum` removes the old ones", soft_wrap=True
    )


@app.command()
def register(pipeline: Annotated[str, typer.Argument(help="A pipeline file.")]) -> None:
    """Register the live files in the Iceberg tables of sink.iceberg, as every commit does.

    Needed after `runs compact`, before `runs vacuum` removes the files that were joined.
    """
    from pipelines.batch.run import register_tables
    from pipelines.config import load_pipeline
    from pipelines.runs.store import RunStore

    loaded = load_pipeline(pipeline)
    if loaded.pipeline.sink.iceberg is None:
        _refuse(ValueError(f"{pipeline}: sink.iceberg is not set"))
    loaded.pipeline.storage.apply()
    print(json.dumps(register_tables(RunStore(loaded.pipeline.sink.path), loaded)))


@app.command()
def discard(
    sink: SinkPath, run: Annotated[str, typer.Argument(help="The id of an uncommitted run.")]
) -> None:
    """Remove an uncommitted run and its files."""
    from pipelines.runs.lease import Lease
    from pipelines.tables.folder import RunError

    store = store_of(sink)
    try:
        with Lease(store.folder, f"run-{run}"):
            store.discard(run)
    except RunError as error:
        _refuse(error)
    store.folder.remove(f"_leases/run-{run}")
    Console().print(f"discarded {run}")


def _refuse(error: Exception) -> None:
    show_error(error)
    raise typer.Exit(2) from error
