"""``medspan runs``: inspect and maintain the runs of a sink."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from pipelines.cli.sinks import SinkPath, lake_of

if TYPE_CHECKING:
    from pipelines.lake.layout import Sink

app = typer.Typer(no_args_is_help=True)
_Run = Annotated[str, typer.Argument(help="A run id.")]
_COUNTS = ("documents", "failed", "entities", "seconds")
_Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


@app.command("list")
def list_runs(sink: SinkPath, as_json: _Json = False) -> None:
    """List the runs of a sink: committed ones in commit order, then uncommitted ones."""
    lake = lake_of(sink)
    rows = [_row(lake, run) for run in lake.committed()]
    rows += [{"run_id": run, "state": "open"} for run in lake.open_runs()]
    if as_json:
        print(json.dumps(rows))
        return
    table = Table(box=None, padding=(0, 1))
    table.add_column("run", no_wrap=True)  # the other commands need it in full
    table.add_column("kind", no_wrap=True)
    table.add_column("pipeline", overflow="fold")
    for column in _COUNTS:
        table.add_column(column, justify="right")
    for row in rows:
        kind = row.get("kind", row["state"])
        counts = (row.get(column, "") for column in _COUNTS)
        table.add_row(
            *(str(cell) for cell in (row["run_id"], kind, row.get("pipeline", ""))),
            *(f"{count:,}" if isinstance(count, int) else str(count) for count in counts),
        )
    Console().print(table)


def _row(lake: Sink, run: str) -> dict[str, object]:
    marker = lake.marker(run)
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
    run: _Run,
    units: Annotated[bool, typer.Option("--units", help="Include the ids of its units.")] = False,
) -> None:
    """Print the marker of a committed run as JSON."""
    from pipelines.lake.layout import RunError

    try:
        marker = lake_of(sink).marker(run)
    except RunError as error:
        _refuse(error)
    if not units:
        marker["units"] = len(marker["units"])
    print(json.dumps(marker, indent=1))


@app.command()
def current(sink: SinkPath, as_json: _Json = False) -> None:
    """List the live files of the current snapshot; every document is in exactly one row."""
    from pipelines.lake.layout import RunError
    from pipelines.lake.state import current as current_snapshot

    try:
        now = current_snapshot(lake_of(sink))
    except RunError as error:
        _refuse(error)
    files = {"documents": now.files("documents"), "entities": now.files("entities")}
    if as_json:
        print(json.dumps({"run_id": now.run_id, **files}))
        return
    for paths in files.values():
        print("\n".join(paths))


@app.command()
def diff(sink: SinkPath, before: _Run, after: _Run, as_json: _Json = False) -> None:
    """Compare two commits: documents, texts, statuses and entities."""
    from pipelines.lake.diff import compare
    from pipelines.lake.layout import RunError

    try:
        found = compare(lake_of(sink), before, after)
    except RunError as error:
        _refuse(error)
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


@app.command()
def vacuum(
    sink: SinkPath,
    keep: Annotated[
        int, typer.Option(min=1, help="Number of latest commits that stay readable.")
    ] = 1,
    older_than_days: Annotated[
        float, typer.Option(min=0, help="Only remove uncommitted runs older than this.")
    ] = 7.0,
    yes: Annotated[
        bool, typer.Option("--yes", help="Remove the files instead of only listing them.")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Remove superseded units, old markers and abandoned runs."""
    from pipelines.lake.vacuum import find_waste, remove

    lake = lake_of(sink)
    waste = find_waste(lake, keep, timedelta(days=older_than_days))
    if yes:
        remove(lake, waste)
    if as_json:
        print(json.dumps({**asdict(waste), "removed": yes}))
        return
    done = "removed" if yes else "can be removed (pass --yes to remove them)"
    Console(highlight=False).print(
        f"{len(waste.files):,} files, {len(waste.runs):,} obsolete commits, "
        f"{len(waste.open_runs):,} uncommitted runs: {done}",
        soft_wrap=True,
    )


@app.command()
def compact(sink: SinkPath, as_json: _Json = False) -> None:
    """Merge the small units left by many enrichment passes; runs no model."""
    from pipelines.enrich.compact import compact as compact_sink
    from pipelines.lake.layout import RunError

    try:
        done = compact_sink(lake_of(sink))
    except RunError as error:
        _refuse(error)
    if as_json:
        print(json.dumps(asdict(done)))
    elif done.run_id is None:
        Console().print(f"nothing to do: none of the {done.before:,} units can be merged")
    else:
        Console(highlight=False).print(
            f"merged {done.before:,} units into {done.after:,} in run {done.run_id}; "
            "`medspan runs vacuum` removes the old ones",
            soft_wrap=True,
        )


@app.command()
def discard(sink: SinkPath, run: _Run) -> None:
    """Remove an uncommitted run and its files."""
    from pipelines.lake.layout import RunError
    from pipelines.lake.lease import Lease

    lake = lake_of(sink)
    try:
        with Lease(lake, f"run-{run}"):
            lake.discard(run)
    except RunError as error:
        _refuse(error)
    lake.remove(f"_leases/run-{run}")
    Console().print(f"discarded {run}")


def _refuse(error: Exception) -> None:
    Console(stderr=True, highlight=False).print(f"[red]medspan:[/] {error}", soft_wrap=True)
    raise typer.Exit(2) from error
