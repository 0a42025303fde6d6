"""``medspan enrich``: only what is new, changed, stale or failed, once or on a schedule."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from pipelines.cli.driving import (
    bar_on,
    interrupted_by_sigterm,
    show,
    stdout_to_stderr,
    telling,
)

if TYPE_CHECKING:
    from pipelines.config import LoadedPipeline


def enrich(
    config: Annotated[Path, typer.Argument(help="A pipeline file.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what there is to do, and do nothing.")
    ] = False,
    on_model_change: Annotated[
        Literal["reprocess", "keep"] | None,
        typer.Option(help="Instead of the file's enrich.on_model_change."),
    ] = None,
    failed: Annotated[
        Literal["keep", "retry"] | None, typer.Option(help="Instead of the file's enrich.failed.")
    ] = None,
    cron: Annotated[
        str | None,
        typer.Option(help='Again and again, such as "*/15 * * * *" (local time), until stopped.'),
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="A Ray cluster; default: RAY_ADDRESS, else start one here.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON on stdout, a line a pass.")
    ] = False,
) -> None:
    """Bring the tables up to date with the lake: new and changed files, by path and version."""
    from actors.extras import require
    from pipelines.config import load_pipeline

    loaded = load_pipeline(config)
    require("medspan enrich", *loaded.extras, "lake")
    from pipelines.enrich.schedule import check_expression, run_on_schedule, stopping_on_sigterm

    changes = {"on_model_change": on_model_change, "failed": failed}
    given = {name: value for name, value in changes.items() if value is not None}
    section = loaded.pipeline.enrich.model_copy(update=given)
    pipeline = loaded.pipeline.model_copy(update={"enrich": section})
    loaded = replace(loaded, pipeline=pipeline)
    console = Console(stderr=as_json)
    if dry_run:
        _dry_run(loaded, console, as_json)
    elif cron is None:
        with interrupted_by_sigterm(), telling(console, loaded.path, pipeline.sink.path):
            _pass(loaded, address, console, as_json)
    else:
        expression = check_expression(cron)
        with stopping_on_sigterm() as stopped, telling(console, loaded.path, pipeline.sink.path):
            run_on_schedule(expression, lambda: _pass(loaded, address, console, as_json), stopped)


def _pass(loaded: LoadedPipeline, address: str | None, console: Console, as_json: bool) -> None:
    from pipelines.batch.cluster import cluster
    from pipelines.enrich import enrich as one_pass
    from pipelines.runs.store import RunStore

    with stdout_to_stderr(as_json), bar_on(console) as bar:
        done = one_pass(loaded, bar, cluster(address))
    if done.outcome is not None:
        if not as_json:
            console.print(_listed(done.changes))
        show(done.outcome, RunStore(loaded.pipeline.sink.path), console, as_json)
    elif as_json:
        print(json.dumps({"run_id": None, "changes": done.changes}))
    else:
        console.print(f"Nothing to do: {_listed(done.changes)}")


def _dry_run(loaded: LoadedPipeline, console: Console, as_json: bool) -> None:
    from pipelines.enrich import decide

    decision = decide(loaded)
    if as_json:
        print(json.dumps({"documents": decision.documents, "changes": decision.changes}))
        return
    console.print(f"{decision.documents:,} documents to look at: {_listed(decision.changes)}")


def _listed(changes: dict[str, int]) -> str:
    words = [f"{count:,} {name}" for name, count in changes.items() if count]
    return ", ".join(words) or "no file has changed"
