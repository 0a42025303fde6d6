"""``medspan runs``: what a sink holds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines.cli.errors import show_error
from pipelines.cli.sinks import SinkPath, lake_of

if TYPE_CHECKING:
    from pipelines.lake.layout import Sink

app = typer.Typer(no_args_is_help=True)
_Run = Annotated[str, typer.Argument(help="The id of a run.")]
_COUNTS = ("documents", "failed", "entities", "seconds")
_Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


@app.command("list")
def list_runs(sink: SinkPath, as_json: _Json = False) -> None:
    """The runs of a sink in the order of their commits, and then those without one."""
    lake = lake_of(sink)
    rows = [_row(lake, run) for run in lake.committed()]
    rows += [{"run_id": run, "state": "open"} for run in lake.open_runs()]
    if as_json:
        print(json.dumps(rows))
        return
    Console().print(runs_table(rows))


def runs_table(rows: Sequence[Mapping[str, object]]) -> Table:
    """Rows of ``runs list``. On 80 columns ids and counts stay whole: of several pipelines' names
    as much is shown as there is room for, and one pipeline's stands above."""
    names = {str(row["pipeline"]) for row in rows if "pipeline" in row}
    title = f"pipeline: {escape(names.pop())}" if len(names) == 1 else None
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column("run", no_wrap=True)  # it is what the other commands ask for
    table.add_column("kind", no_wrap=True)
    for column in _COUNTS:
        table.add_column(column, justify="right", no_wrap=True)
    if names:
        table.add_column("pipeline", overflow="ellipsis")  # the one that may shrink
    for row in rows:
        kind = row.get("kind", row["state"])
        counts = (row.get(column, "") for column in _COUNTS)
        table.add_row(
            *(str(cell) for cell in (row["run_id"], kind)),
            *(f"{count:,}" if isinstance(count, int) else str(count) for count in counts),
            *([escape(str(row.get("pipeline", "")))] if names else []),
        )
    return table


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
    units: Annotated[bool, typer.Option("--units", help="With the ids of its units.")] = False,
) -> None:
    """The marker of a committed run, as JSON."""
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
    """The files that hold now: all of their rows, one row per document."""
    from pipelines.lake.layout import RunError
    from pipelines.lake.state import current as held_now

    try:
        now = held_now(lake_of(sink))
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
    """What changed between two commits: documents, texts, statuses, entities."""
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
        "documents", "how many", "such as", title=f"{before} to {after}", box=box.SIMPLE_HEAD
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
    keep: Annotated[int, typer.Option(min=1, help="The latest commits that stay readable.")] = 1,
    older_than_days: Annotated[
        float, typer.Option(min=0, help="Runs that were begun later than this are not touched.")
    ] = 7.0,
    yes: Annotated[bool, typer.Option("--yes", help="Remove, not only say what.")] = False,
    as_json: _Json = False,
) -> None:
    """Remove replaced units, old markers, and runs that were never committed."""
    from pipelines.lake.vacuum import find_waste, remove

    lake = lake_of(sink)
    waste = find_waste(lake, keep, timedelta(days=older_than_days))
    if yes:
        remove(lake, waste)
    if as_json:
        print(json.dumps({**asdict(waste), "removed": yes}))
        return
    done = "removed" if yes else "can be removed (--yes does)"
    Console(highlight=False).print(
        f"{len(waste.files):,} files, {len(waste.runs):,} commits that nothing current needs, "
        f"{len(waste.open_runs):,} runs without a commit: {done}",
        soft_wrap=True,
    )


@app.command()
def compact(sink: SinkPath, as_json: _Json = False) -> None:
    """Join the small units that many passes of enrichment leave; no model is asked."""
    from pipelines.enrich.compact import compact as make_whole
    from pipelines.lake.layout import RunError

    try:
        done = make_whole(lake_of(sink))
    except RunError as error:
        _refuse(error)
    if as_json:
        print(json.dumps(asdict(done)))
    elif done.run_id is None:
        Console().print(f"nothing to do: {done.before:,} units, none of them can be joined")
    else:
        Console(highlight=False).print(
            f"{done.before:,} units are now {done.after:,}, in run {done.run_id}; "
            "`medspan runs vacuum` removes the old ones",
            soft_wrap=True,
        )


@app.command()
def discard(sink: SinkPath, run: _Run) -> None:
    """Remove a run that was never committed, and its files."""
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
    show_error(error)
    raise typer.Exit(2) from error
