"""What ``run`` and ``enrich`` share: the progress bar, how a run's end is told."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from pipelines.cli.errors import show_error

if TYPE_CHECKING:
    from pipelines.batch import Outcome
    from pipelines.runs.store import RunStore
    from pipelines.runs.tally import Tally

_REPORT_DOCUMENTS = 200


class Bar:
    """The progress bar of a run: documents done, failed, and entities found."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("starting", total=None, facts="")

    def update(self, tally: Tally, documents: int) -> None:
        """The counts so far, and how many documents there are in all."""
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


@contextmanager
def bar_on(console: Console) -> Iterator[Bar]:
    """A bar while a run is driven; it leaves nothing behind."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[facts]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield Bar(progress)


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """SIGTERM, as Kubernetes, systemd and `ray job stop` send it, interrupts as Ctrl-C does. A
    second one is ignored, so that the end it began is not cut short."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def stdout_to_stderr(wanted: bool) -> Iterator[None]:
    """For the duration, stderr is where stdout goes: Ray and libraries below it print to stdout,
    where ``--json`` promises one document. Nothing happens unless ``wanted``."""
    if not wanted:
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


@contextmanager
def telling(console: Console, config: str, sink: str, run_id: str | None = None) -> Iterator[None]:
    """Turn the ways in which a run ends early into words and exit codes."""
    from pipelines.batch import RunFailedError
    from pipelines.tables.folder import RunError

    def ways(known: str | None) -> str:
        kept = "What is done is kept, nothing is committed."
        if known is None:
            return f"{kept}\n  go on:      medspan enrich {config}"
        return (
            f"{kept}\n  go on:      medspan run {config} --resume {known}"
            f"\n  or forget:  medspan runs discard {sink} {known}"
        )

    try:
        yield
    except RunError as error:
        show_error(error, console)
        raise typer.Exit(2) from error
    except KeyboardInterrupt:
        console.print(f"\nInterrupted. {escape(ways(run_id))}", soft_wrap=True, highlight=False)
        raise typer.Exit(1) from None
    except RunFailedError as error:
        console.print(
            f"[red]The run {error.run_id} failed:[/]",
            escape(f"{error}\n{ways(error.run_id)}"),
            soft_wrap=True,
            highlight=False,
        )
        raise typer.Exit(1) from error


def show(outcome: Outcome, store: RunStore, console: Console, as_json: bool) -> None:
    """The end of a committed run: its table and its report, and where its time went."""
    from pipelines.cli.report import write_report
    from pipelines.terminal import run_table

    report = ""  # of plain files there is none
    if outcome.marker["config"]["pipeline"]["sink"]["format"] == "delta":
        report = write_report(store, outcome.run_id, limit=_REPORT_DOCUMENTS)
    counts = outcome.tally.as_dict()
    if as_json:
        facts = {
            "run_id": outcome.run_id,
            "seconds": outcome.seconds,
            "counts": counts,
            "timing": outcome.marker["timing"],
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
    console.print(_time_went(outcome), soft_wrap=True, highlight=False)
    where = escape(store.path)
    console.print(f"run {outcome.run_id} in {where}", soft_wrap=True, highlight=False)


def _time_went(outcome: Outcome) -> str:
    timing = outcome.marker["timing"]
    stages = ", ".join(f"{name} {stage['share']:.0%}" for name, stage in timing["stages"].items())
    if timing["busiest"] is None:
        return "nothing was left to do"
    said = f"busy: {stages} of {timing['seconds']:.1f} s; most of all: {timing['busiest']}"
    counts = timing.get("balanced") or {}
    now = {name: stage["workers"] for name, stage in timing["stages"].items() if name in counts}
    if not counts or now == counts:
        return said
    wanted = ", ".join(f"{count} of {name}" for name, count in counts.items())
    return f"{said}\non this cluster no step would wait for another with {wanted} (max_actors)"
