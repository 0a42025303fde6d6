"""Shared by ``run`` and ``enrich``: the progress bar and the summary of a run."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

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

from pipelines.cli.drift_display import differences_table
from pipelines.cli.errors import show_error

if TYPE_CHECKING:
    from pipelines.batch.run import Outcome
    from pipelines.runs.store import RunStore
    from pipelines.runs.tally import Tally

_REPORT_DOCUMENTS = 200


class Bar:
    """Progress bar of a run: documents done, documents failed, entities found, and what is done in
    units under way."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("starting", total=None, facts="", work="")
        self._finished = 0

    def update(self, tally: Tally, documents: int) -> None:
        """Show the counts so far; ``documents`` is the total of the run."""
        failed = tally.documents["failed"]
        facts = f"{sum(tally.entities.values()):,} entities"
        if failed:
            facts += f", [red]{failed:,} failed[/]"
        self._finished = tally.total
        # It does not go back: what was under way may not be in the counts yet.
        shown = self._progress.tasks[self._task].completed
        self._progress.update(
            self._task,
            description="documents",
            total=documents,
            completed=max(shown, tally.total),
            facts=facts,
        )

    def working(self, documents: float, steps: int) -> None:
        """Show what is done in units under way: as many documents, and steps."""
        task = self._progress.tasks[self._task]
        shown = max(task.completed, min(self._finished + documents, task.total or 0.0))
        self._progress.update(self._task, completed=shown, work=f", {steps:,} steps")


@contextmanager
def bar_on(console: Console) -> Iterator[Bar]:
    """A transient progress bar, removed when the block ends."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[facts]}{task.fields[work]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield Bar(progress)


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """Treat SIGTERM (from Kubernetes, systemd or `ray job stop`) like Ctrl-C. A second one is
    ignored, so that the shutdown is not interrupted."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def stdout_to_stderr(enabled: bool) -> Iterator[None]:
    """Redirect stdout to stderr if ``enabled``: Ray and its libraries print to stdout, where
    ``--json`` promises exactly one document."""
    if not enabled:
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
def explain_run_errors(
    console: Console, config: str, sink: str, run_id: str | None = None
) -> Iterator[None]:
    """Translate the errors that end a run early into messages and exit codes."""
    from pipelines.batch.run import DriftError, RunFailedError
    from pipelines.tables.folder import RunError

    def next_steps(known: str | None) -> str:
        kept = "Finished units are kept; nothing is committed."
        if known is None:
            return f"{kept}\n  resume:   medspan enrich {config}"
        return (
            f"{kept}\n  resume:   medspan run {config} --resume {known}"
            f"\n  discard:  medspan runs discard {sink} {known}"
        )

    try:
        yield
    except RunError as error:
        show_error(error, console)
        raise typer.Exit(2) from error
    except KeyboardInterrupt:
        console.print(
            f"\nInterrupted. {escape(next_steps(run_id))}", soft_wrap=True, highlight=False
        )
        raise typer.Exit(1) from None
    except DriftError as error:
        beyond = error.drift.beyond(error.limit)
        console.print(differences_table(beyond, "Drift of the pass against the live runs"))
        console.print(
            escape(
                f"Run {error.run_id} was not committed: {error}\n"
                "Finished units are kept: no model runs again.\n"
                f"  accept:   medspan enrich {config} --max-drift 1\n"
                f"  discard:  medspan runs discard {sink} {error.run_id}"
            ),
            soft_wrap=True,
            highlight=False,
        )
        raise typer.Exit(3) from error
    except RunFailedError as error:
        console.print(
            f"[red]Run {error.run_id} failed:[/]",
            escape(f"{error}\n{next_steps(error.run_id)}"),
            soft_wrap=True,
            highlight=False,
        )
        raise typer.Exit(1) from error


def show(outcome: Outcome, store: RunStore, console: Console, as_json: bool) -> None:
    """Print the summary of a committed run: counts, report and utilisation per stage."""
    from pipelines.cli.report import write_report
    from pipelines.source.listing import passed_over_words
    from pipelines.terminal import run_table

    report = ""  # plain files have no report
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
            failures=counts["failures"],
            carried_over=sum(outcome.tally.carried.values()),
        )
    )
    if copies := max(outcome.tally.copied.values(), default=0):
        console.print(f"same content as another document: {copies:,}, computed once")
    if statuses := outcome.tally.deidentified:
        words = ", ".join(f"{statuses[name]:,} {name}" for name in ("ok", "residue", "failed"))
        console.print(f"de-identified: {words}", soft_wrap=True, highlight=False)
    if passed := outcome.marker["source"]["passed_over"]:
        words = passed_over_words(passed)
        console.print(f"files passed over: {escape(words)}", soft_wrap=True, highlight=False)
    console.print(utilisation(outcome.marker), soft_wrap=True, highlight=False)
    where = escape(store.path)
    console.print(f"run {outcome.run_id} in {where}", soft_wrap=True, highlight=False)


def utilisation(marker: Mapping[str, Any]) -> str:
    """Format the utilisation of each stage of a run, and balanced pool sizes."""
    timing = marker["timing"]
    if timing["busiest"] is None:
        return "no work was left"
    busy = [f"{name} {stage['share']:.0%}" for name, stage in timing["stages"].items()]
    bottleneck = list(timing["stages"]).index(timing["busiest"])
    busy[bottleneck] += " (bottleneck)"
    line = f"utilisation over {timing['seconds']:.1f} s: {', '.join(busy)}"
    counts = timing.get("balanced") or {}
    now = {name: stage["workers"] for name, stage in timing["stages"].items() if name in counts}
    if not counts or now == counts:
        return line
    proposed = ", ".join(f"{name}={count}" for name, count in counts.items())
    return f"{line}\nbalanced max_actors for this cluster: {proposed}"
