"""``medspan enrich``: process new, changed, stale and failed documents, once or on a schedule."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from pipelines.cli.run_display import (
    bar_on,
    explain_run_errors,
    interrupted_by_sigterm,
    show,
    stdout_to_stderr,
)

if TYPE_CHECKING:
    from pipelines.config import LoadedPipeline


def enrich(
    config: Annotated[Path, typer.Argument(help="A pipeline file.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Report pending work without doing it.")
    ] = False,
    on_model_change: Annotated[
        Literal["reprocess", "keep"] | None,
        typer.Option(help="Overrides enrich.on_model_change of the file."),
    ] = None,
    failed: Annotated[
        Literal["keep", "retry"] | None, typer.Option(help="Overrides enrich.failed of the file.")
    ] = None,
    max_drift: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Overrides enrich.max_drift of the file; 1 accepts any drift."
        ),
    ] = None,
    cron: Annotated[
        str | None,
        typer.Option(help='Repeat on a cron schedule (local time), e.g. "*/15 * * * *".'),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="Ray cluster to join; default: RAY_ADDRESS, else a local one."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON line per pass on stdout.")
    ] = False,
) -> None:
    """Update the tables incrementally: process only new and changed files of the source."""
    from actors.extras import require
    from pipelines.config import load_pipeline

    loaded = load_pipeline(config)
    require("medspan enrich", *loaded.extras, "lake")
    from pipelines.enrich.schedule import check_expression, run_on_schedule, stopping_on_sigterm

    changes = {"on_model_change": on_model_change, "failed": failed, "max_drift": max_drift}
    overrides = {name: value for name, value in changes.items() if value is not None}
    section = loaded.pipeline.enrich.model_copy(update=overrides)
    pipeline = loaded.pipeline.model_copy(update={"enrich": section})
    loaded = replace(loaded, pipeline=pipeline)
    console = Console(stderr=as_json)
    if dry_run:
        _dry_run(loaded, console, as_json)
    elif cron is None:
        with interrupted_by_sigterm(), explain_run_errors(console, loaded.path, pipeline.sink.path):
            _pass(loaded, address, console, as_json)
    else:
        expression = check_expression(cron)
        with (
            stopping_on_sigterm() as stopped,
            explain_run_errors(console, loaded.path, pipeline.sink.path),
        ):
            run_on_schedule(expression, lambda: _pass(loaded, address, console, as_json), stopped)


def _pass(loaded: LoadedPipeline, address: str | None, console: Console, as_json: bool) -> None:
    from pipelines.batch.run import DriftError
    from pipelines.enrich import enrich_once
    from pipelines.ray_cluster import cluster
    from pipelines.runs.store import RunStore

    try:
        with stdout_to_stderr(as_json), bar_on(console) as bar:
            done = enrich_once(loaded, bar, cluster(address))
    except DriftError as error:
        if as_json:
            drift = [one.as_dict() for one in error.drift.beyond(error.limit)]
            print(json.dumps({"run_id": error.run_id, "committed": False, "drift": drift}))
        raise
    if done.outcome is not None:
        if not as_json:
            console.print(_summary(done.changes))
        show(done.outcome, RunStore(loaded.pipeline.sink.path), console, as_json)
    elif as_json:
        print(json.dumps({"run_id": None, "changes": done.changes}))
    else:
        console.print(f"Nothing to do: {_summary(done.changes)}")


def _dry_run(loaded: LoadedPipeline, console: Console, as_json: bool) -> None:
    from pipelines.enrich import decide

    decision = decide(loaded)
    if as_json:
        print(json.dumps({"documents": decision.documents, "changes": decision.changes}))
        return
    console.print(
        f"{decision.documents:,} documents to read; {_summary(decision.changes)}", soft_wrap=True
    )
    if decision.documents and not decision.changes.get("stale"):
        console.print("Documents whose id and content have not changed keep their results.")


def _summary(changes: dict[str, int]) -> str:
    parts = {
        "files": ("new", "changed", "gone", "unchanged"),
        "units to process again": ("stale", "failed"),
    }
    found = []
    for what, names in parts.items():
        words = [f"{changes[name]:,} {name}" for name in names if changes.get(name)]
        if words:
            found.append(f"{what}: {', '.join(words)}")
    return "; ".join(found) or "no files"
