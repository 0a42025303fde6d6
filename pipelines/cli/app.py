"""The Typer application: its commands and the exit code of each error.

Exit codes: 0 success; 1 the work failed or was interrupted; 2 invalid usage (a flag, a file); 3 a
pass of `medspan enrich` was not committed because of drift.
"""

from __future__ import annotations

import logging
import sys
from importlib.metadata import version

import typer
from rich.console import Console
from rich.logging import RichHandler

from actors.config import ConfigError
from actors.extras import MissingExtraError, optional_imports
from actors.weights import WeightsError
from pipelines.cli import (
    annotated,
    calibrate,
    deidentify,
    enrich,
    evaluate,
    export,
    extract,
    models,
    pages,
    plan,
    report,
    run,
    runs,
    sample,
    schema,
    serve,
    vocabulary,
)
from pipelines.cli.errors import show_error
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
app.command("export")(export.export)
app.command("sample")(sample.sample)
app.command("annotations")(annotated.annotated)
app.command("calibrate")(calibrate.calibrate)
app.command("report")(report.report)
app.command("schema")(schema.schema)
app.add_typer(models.app, name="models", help="Inspect models and fetch their weights.")
app.add_typer(pages.app, name="pages", help="Export what was read of images and PDFs.")
app.add_typer(runs.app, name="runs", help="Inspect and maintain the runs of a sink.")
app.add_typer(
    vocabulary.app, name="vocabulary", help="Build vocabulary indexes for entity linking."
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"medspan {version('medspan')}")
        raise typer.Exit


@app.callback()
def _callback(
    verbose: bool = typer.Option(False, "--verbose", "-v", help="Log progress to stderr."),
    show_version: bool = typer.Option(
        False,
        "--version",
        help="Show the version and exit.",
        callback=_print_version,
        is_eager=True,
    ),
) -> None:
    handler = RichHandler(console=Console(stderr=True), show_path=False, show_time=False)
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        handlers=[handler],
        format="%(message)s",
    )


def main() -> None:
    """Entry point of the ``medspan`` command."""
    try:
        with optional_imports("this command"):
            app()
    except (
        ConfigError,
        WeightsError,
        MissingExtraError,
        FileNotFoundError,
        PermissionError,
    ) as error:
        # These messages are ours or the operating system's: files and keys, never document text.
        show_error(error)
        sys.exit(2)
    except StoreError as error:
        show_error(error)
        sys.exit(1)
