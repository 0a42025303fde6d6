"""``medspan run``: process the whole source of a pipeline on Ray."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines.cli.errors import show_error
from pipelines.cli.run_display import (
    bar_on,
    explain_run_errors,
    interrupted_by_sigterm,
    show,
    stdout_to_stderr,
)
from pipelines.cli.sink_argument import committed_run
from pipelines.markup.numbers import counted

if TYPE_CHECKING:
    from pipelines.config import LoadedPipeline
    from pipelines.runs.plan import RunPlan


def run(
    config: Annotated[Path, typer.Argument(help="A pipeline file.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Validate everything and print the plan; run nothing.")
    ] = False,
    resume: Annotated[
        str | None,
        typer.Option(help="Resume this run with its original plan."),
    ] = None,
    retry_failed: Annotated[
        str | None,
        typer.Option(
            help="Reprocess only the failed documents of this committed run: an id, or latest."
        ),
    ] = None,
    max_failure_rate: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Abort above this share of failed documents; overrides the file."
        ),
    ] = None,
    sink: Annotated[str | None, typer.Option(help="Overrides sink.path of the file.")] = None,
    address: Annotated[
        str | None,
        typer.Option(help="Ray cluster to join; default: RAY_ADDRESS, else a local one."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
) -> None:
    """Extract entities from the whole source, write the tables and commit the run."""
    from actors.extras import require
    from actors.weights import WeightsError
    from pipelines.config import load_pipeline

    if resume is not None and (dry_run or retry_failed is not None):
        raise typer.BadParameter("--resume cannot be combined with --dry-run or --retry-failed")
    loaded = load_pipeline(config)
    require("medspan run", *loaded.extras, "lake")
    from pipelines.tables.folder import RunError

    loaded.pipeline.storage.apply()
    changes: dict[str, object] = {}
    if max_failure_rate is not None:
        changes["max_failure_rate"] = max_failure_rate
    if sink is not None:
        path = sink if "://" in sink else str(Path(sink).resolve())
        changes["sink"] = loaded.pipeline.sink.model_copy(update={"path": path})
    if changes:
        loaded = replace(loaded, pipeline=loaded.pipeline.model_copy(update=changes))
    console = Console(stderr=as_json)
    if dry_run:
        try:
            _dry_run(loaded, retry_failed, console, as_json)
        except (RunError, WeightsError) as error:
            show_error(error, console)
            raise typer.Exit(2) from error
        return
    _run(loaded, resume, retry_failed, address, console, as_json)


def _dry_run(
    loaded: LoadedPipeline, retry_failed: str | None, console: Console, as_json: bool
) -> None:
    from actors.model_folder import CLASSIFIER_FILES
    from actors.weights import check, check_model
    from pipelines.batch.describe import describe
    from pipelines.runs.store import RunStore
    from pipelines.source.listing import passed_over_words
    from pipelines.source.units import plan_source
    from pipelines.tables.column_types import extra_columns

    plan = plan_source(loaded.pipeline.source)
    for stage in loaded.pooled:
        check_model(stage.pooled)
    if (context := loaded.pipeline.context) and context.classifier:
        weights = context.classifier.weights
        check(weights.model, CLASSIFIER_FILES.chosen(weights.file))
    for vocabulary in loaded.pipeline.linking.vocabularies if loaded.pipeline.linking else ():
        if vocabulary.embedding is not None:
            weights = vocabulary.embedding.weights
            check(weights.model, CLASSIFIER_FILES.chosen(weights.file))
    store = RunStore(loaded.pipeline.sink.path)
    if loaded.pipeline.sink.format == "parquet":
        store.check_plain()
    else:
        extra_columns(plan.keep)
        store.check(loaded.pipeline.storage.s3.single_writer)
    found = describe(loaded, plan)
    retried = None if retry_failed is None else _failed_documents(loaded, retry_failed)
    if as_json:
        print(json.dumps(found | ({} if retried is None else {"retried": retried}), indent=1))
        return
    title = f"plan of {found['name']}"
    table = Table(title=title, title_justify="left", show_header=False, box=box.SIMPLE)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row(
        "source",
        f"{counted(found['documents'], 'document')} in {counted(found['files'], 'file')}, "
        f"{found['megabytes']:,.1f} MB, {counted(found['units'], 'unit')}",
    )
    if retried is not None:
        table.add_row("retry", f"{counted(retried, 'failed document')} of {retry_failed}")
    for number, stage in enumerate(found["stages"], start=1):
        actors = _actors(stage["pool"])
        table.add_row(f"stage {number}", f"{stage['name']} ({stage['kind']}){actors}")
    if found["passed_over"]:
        table.add_row("skipped", escape(passed_over_words(found["passed_over"])))
    table.add_row("merge", f"overlaps: {found['merge']['overlaps']}")
    for name, path in found["output"].items():
        table.add_row(name, path)
    console.print(table)
    console.print("All checks passed.")


def _failed_documents(loaded: LoadedPipeline, run: str) -> int:
    increment = _retry(loaded, run).increment
    return dict(increment.changes)["failed"] if increment is not None else 0


def _retry(loaded: LoadedPipeline, run: str) -> RunPlan:
    from pipelines.enrich import decide_retry
    from pipelines.runs.store import RunStore

    return decide_retry(loaded, committed_run(RunStore(loaded.pipeline.sink.path), run))


def _actors(pool: dict[str, Any] | None) -> str:
    if pool is None:
        return ""
    actors = str(pool["min_actors"])
    if pool["max_actors"] != pool["min_actors"]:
        actors += f" to {pool['max_actors']}"
    fallback = " or none" if pool["cpu_fallback"] else ""
    return (
        f": {actors} actor{'s' * (actors != '1')}, each {pool['num_cpus']:g} CPU, "
        f"{pool['num_gpus'] or 0} GPU{fallback}"
    )


def _run(
    loaded: LoadedPipeline,
    resume: str | None,
    retry_failed: str | None,
    address: str | None,
    console: Console,
    as_json: bool,
) -> None:
    from pipelines.batch.run import drive_run
    from pipelines.ray_cluster import cluster
    from pipelines.runs.store import RunStore

    store = RunStore(loaded.pipeline.sink.path)
    with interrupted_by_sigterm(), explain_run_errors(console, loaded.path, store.path, resume):
        run_id = resume or _begin(loaded, retry_failed)
        if resume is not None:
            store.plan(resume)  # report an unknown run before Ray starts
    with interrupted_by_sigterm(), explain_run_errors(console, loaded.path, store.path, run_id):
        with stdout_to_stderr(as_json), bar_on(console) as bar, cluster(address):
            outcome = drive_run(store, run_id, bar)
        show(outcome, store, console, as_json)


def _begin(loaded: LoadedPipeline, retry_failed: str | None) -> str:
    from pipelines.batch.run import begin_run, write_plan
    from pipelines.source.units import plan_source

    if retry_failed is not None:
        return write_plan(loaded, _retry(loaded, retry_failed))
    mix = loaded.pipeline.enrich.deleted == "drop"
    return begin_run(loaded, plan_source(loaded.pipeline.source, mix=mix))
