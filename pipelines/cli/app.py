"""The application: its commands, and how errors end it.

Exit codes: 0 done; 1 the work failed or was interrupted; 2 the request is wrong (a flag, a file).
"""

from __future__ import annotations

import logging
import sys

import typer
from rich.console import Console
from rich.logging import RichHandler

from actors.config import ConfigError
from actors.weights import WeightsError
from pipelines.cli import (
    deidentify,
    enrich,
    evaluate,
    extract,
    models,
    plan,
    report,
    run,
    runs,
    schema,
    serve,
)
from pipelines.storage import StoreError

app = typer.Typer(
    name="medspan",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Medical entities at data-lake scale, each traceable to the characters it came from.",
)
app.command("run")(run.run)
app.command("enrich")(enrich.enrich)
app.command("plan")(plan.plan)
app.command("extract")(extract.extract)
app.command("deidentify")(deidentify.deidentify)
app.command("serve")(serve.serve)
app.command("token")(serve.token)
app.command("evaluate")(evaluate.evaluate)
app.command("report")(report.report)
app.command("schema")(schema.schema)
app.add_typer(models.app, name="models", help="Look at models and fetch their weights.")
app.add_typer(runs.app, name="runs", help="Look at the runs of a sink.")


@app.callback()
def _callback(
    verbose: bool = typer.Option(False, "--verbose", "-v", help="Log what happens, to stderr."),
) -> None:
    handler = RichHandler(console=Console(stderr=True), show_path=False, show_time=False)
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        handlers=[handler],
        format="%(message)s",
    )


def main() -> None:
    """The entry point of the ``medspan`` command."""
    try:
        app()
    except (ConfigError, WeightsError, FileNotFoundError, PermissionError) as error:
        # These messages are ours or the system's: they name files and keys, never text.
        Console(stderr=True, highlight=False).print(f"[red]medspan:[/] {error}", soft_wrap=True)
        sys.exit(2)
    except StoreError as error:
        Console(stderr=True, highlight=False).print(f"[red]medspan:[/] {error}", soft_wrap=True)
        sys.exit(1)
