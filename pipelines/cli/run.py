"""``medspan run``: a pipeline over its whole source, with Ray."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

if TYPE_CHECKING:
    from pipelines.batch import Outcome
    from pipelines.batch.finish import Tally
    from pipelines.config import LoadedPipeline
    from pipelines.lake.layout import Sink

_REPORT_DOCUMENTS = 200


def run(
    config: Annotated[Path, typer.Argument(help="A pipeline file.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Validate everything and print the plan.")
    ] = False,
    resume: Annotated[
        str | None,
        typer.Option(help="Finish this run, as it was planned, instead of beginning one."),
    ] = None,
    max_failure_rate: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Instead of the file's: end a run that is going wrong."),
    ] = None,
    sink: Annotated[str | None, typer.Option(help="Instead of the file's sink.path.")] = None,
    address: Annotated[
        str | None, typer.Option(help="A Ray cluster; default: RAY_ADDRESS, else start one here.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
) -> None:
    """Read a lake, extract entities, write entity Parquet, commit the run."""
    from actors.weights import WeightsError
    from pipelines.config import Sink as SinkSection
    from pipelines.config import load_pipeline
    from pipelines.lake.layout import RunError

    loaded = load_pipeline(config)
    loaded.pipeline.storage.apply()
    changes: dict[str, object] = {}
    if max_failure_rate is not None:
        changes["max_failure_rate"] = max_failure_rate
    if sink is not None:
        changes["sink"] = SinkSection(path=sink if "://" in sink else str(Path(sink).resolve()))
    if changes:
        loaded = replace(loaded, pipeline=loaded.pipeline.model_copy(update=changes))
    console = Console(stderr=as_json)
    if dry_run:
        try:
            _dry_run(loaded, console, as_json)
        except (RunError, WeightsError) as error:
            console.print(f"[red]medspan:[/] {error}", soft_wrap=True, highlight=False)
            raise typer.Exit(2) from error
        return
    _run(loaded, resume, address, console, as_json)


def _dry_run(loaded: LoadedPipeline, console: Console, as_json: bool) -> None:
    from actors.weights import check
    from pipelines.batch.describe import describe
    from pipelines.lake.layout import Sink
    from pipelines.lake.units import plan_source

    plan = plan_source(loaded.pipeline.source)
    for model in loaded.models:
        check(model.weights.model)
    Sink(loaded.pipeline.sink.path).check_writable()
    found = describe(loaded, plan)
    if as_json:
        print(json.dumps(found, indent=1))
        return
    table = Table(title=f"plan of {found['name']}", title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row(
        "source",
        f"{found['documents']:,} documents in {found['files']:,} files, "
        f"{found['megabytes']:,.1f} MB, {found['units']:,} units",
    )
    for number, step in enumerate(found["steps"], start=1):
        pool = step["pool"]
        actors = str(pool["min_actors"])
        if pool["max_actors"] != pool["min_actors"]:
            actors += f" to {pool['max_actors']}"
        table.add_row(
            f"step {number}",
            f"{step['model']} ({step['kind']}): {actors} actors, each {pool['num_cpus']:g} CPU, "
            f"{pool['num_gpus']:g} GPU{' or none' if pool['cpu_fallback'] else ''}",
        )
    table.add_row("merge", f"overlaps: {found['merge']['overlaps']}")
    for name, path in found["output"].items():
        table.add_row(name, path)
    console.print(table)
    console.print("Everything that can be checked before the work is in order.")


class _Bar:
    """The progress bar of a run: documents done, failed, and entities found."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("starting", total=None, facts="")

    def update(self, tally: Tally, documents: int) -> None:
        failed = tally.documents["failed"]
        facts = f"{sum(tally.entities.values()):,} entities"
        if failed:
            facts += f", [red]{failed:,} failed[/]"
        self._progress.update(
            self._task,
            description="documents",
            total=documents,
            completed=tally.total,
            facts=facts,
        )


def _run(
    loaded: LoadedPipeline, resume: str | None, address: str | None, console: Console, as_json: bool
) -> None:
    from pipelines.batch import RunFailedError, begin_run, drive_run
    from pipelines.batch.cluster import cluster
    from pipelines.lake.layout import RunError, Sink
    from pipelines.lake.units import plan_source

    sink = Sink(loaded.pipeline.sink.path)
    try:
        if resume is not None:
            sink.plan(resume)  # an unknown run is said before Ray is started
            if resume in sink.committed():
                raise RunError(f"the run {resume} is committed; there is nothing to resume")
            run_id = resume
        else:
            run_id = begin_run(loaded, plan_source(loaded.pipeline.source))
    except RunError as error:
        console.print(f"[red]medspan:[/] {error}", soft_wrap=True)
        raise typer.Exit(2) from error
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[facts]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    again = f"medspan run {loaded.path} --resume {run_id}"
    drop = f"medspan runs discard {loaded.pipeline.sink.path} {run_id}"
    try:
        with Progress(*columns, console=console, transient=True) as progress:
            bar = _Bar(progress)
            with cluster(address):
                outcome = drive_run(sink, run_id, bar)
    except RunError as error:
        console.print(f"[red]medspan:[/] {error}", soft_wrap=True)
        raise typer.Exit(2) from error
    except KeyboardInterrupt:
        console.print(
            f"\nInterrupted. What is done is kept, nothing is committed.\n"
            f"  go on:      {again}\n  or forget:  {drop}",
            soft_wrap=True,
            highlight=False,
        )
        raise typer.Exit(1) from None
    except RunFailedError as error:
        console.print(
            f"[red]The run {run_id} failed:[/] {error}\n"
            f"What is done is kept, nothing is committed.\n"
            f"  go on:      {again}\n  or forget:  {drop}",
            soft_wrap=True,
            highlight=False,
        )
        raise typer.Exit(1) from error
    _show(outcome, sink, console, as_json)


def _show(outcome: Outcome, sink: Sink, console: Console, as_json: bool) -> None:
    from pipelines.cli.report import write_report
    from pipelines.terminal import run_table

    report = write_report(sink, outcome.run_id, limit=_REPORT_DOCUMENTS)
    counts = outcome.tally.as_dict()
    if as_json:
        facts = {
            "run_id": outcome.run_id,
            "seconds": outcome.seconds,
            "counts": counts,
            "report": report,
        }
        print(json.dumps(facts))
        return
    console.print(
        run_table(
            documents_ok=outcome.tally.documents["ok"],
            documents_truncated=outcome.tally.documents["truncated"],
            documents_failed=outcome.tally.documents["failed"],
            seconds=outcome.seconds,
            entity_counts=counts["entities"],
            report=report,
        )
    )
    console.print(f"run {outcome.run_id} in {sink.path}", soft_wrap=True, highlight=False)
