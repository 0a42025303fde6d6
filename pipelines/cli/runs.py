"""``medspan runs``: what a sink holds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from pipelines.lake.layout import Sink

app = typer.Typer(no_args_is_help=True)
_SinkPath = Annotated[str, typer.Argument(help="The folder that runs wrote to.")]
_Run = Annotated[str, typer.Argument(help="The id of a run.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


@app.command("list")
def list_runs(sink: _SinkPath, as_json: _Json = False) -> None:
    """The runs of a sink, oldest first, and whether they are committed."""
    from pipelines.lake.layout import Sink

    lake = Sink(sink)
    rows = [_row(lake, run) for run in lake.committed()]
    rows += [{"run_id": run, "state": "open"} for run in lake.open_runs()]
    if as_json:
        print(json.dumps(rows))
        return
    columns = ("run_id", "state", "pipeline", "documents", "failed", "entities", "seconds")
    table = Table(*columns)
    for row in rows:
        table.add_row(*(str(row.get(column, "")) for column in columns))
    Console().print(table)


def _row(lake: Sink, run: str) -> dict[str, object]:
    marker = lake.marker(run)
    counts = marker["counts"]
    return {
        "run_id": run,
        "state": "committed",
        "pipeline": marker["name"],
        "documents": sum(counts["documents"].values()),
        "failed": counts["documents"].get("failed", 0),
        "entities": sum(counts["entities"].values()),
        "seconds": round(marker["seconds"], 1),
    }


@app.command()
def show(sink: _SinkPath, run: _Run) -> None:
    """The marker of a committed run, as JSON."""
    from pipelines.lake.layout import RunError, Sink

    try:
        print(json.dumps(Sink(sink).marker(run), indent=1))
    except RunError as error:
        _refuse(error)


@app.command()
def current(sink: _SinkPath, as_json: _Json = False) -> None:
    """The files of the latest committed run: the rows that hold now."""
    from pipelines.lake.layout import RunError, Sink

    lake = Sink(sink)
    try:
        run = lake.latest()
    except RunError as error:
        _refuse(error)
    units = lake.marker(run)["units"]
    files = {
        table: [lake.file(run, table, unit) for unit in units]
        for table in ("documents", "entities")
    }
    if as_json:
        print(json.dumps({"run_id": run, **files}))
        return
    for paths in files.values():
        print("\n".join(paths))


@app.command()
def discard(sink: _SinkPath, run: _Run) -> None:
    """Remove a run that was never committed, and its files."""
    from pipelines.lake.layout import RunError, Sink

    try:
        Sink(sink).discard(run)
    except RunError as error:
        _refuse(error)
    Console().print(f"discarded {run}")


def _refuse(error: Exception) -> None:
    Console(stderr=True, highlight=False).print(f"[red]medspan:[/] {error}", soft_wrap=True)
    raise typer.Exit(2) from error
