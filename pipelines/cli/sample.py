"""``medspan sample``: documents of a sink that are worth a review, for an annotation tool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from pipelines.cli.errors import show_error
from pipelines.cli.export import DeidentifiedOption, check_columns, not_expressed, software
from pipelines.cli.sink_argument import SinkPath, store_of
from pipelines.exchange.formats import ExportFormat
from pipelines.exchange.sample import By

if TYPE_CHECKING:
    from pipelines.tables.snapshot import Snapshot


def sample(
    sink: SinkPath,
    out: Annotated[str, typer.Option(help="The file or folder to write.")],
    by: Annotated[
        By,
        typer.Option(
            help="doubt: lowest scores; disagreement: what only some models found; ungrounded: "
            "words that are not in the text; label: all labels equally; random."
        ),
    ] = By.RANDOM,
    n: Annotated[int, typer.Option(min=1, help="Number of documents.")] = 200,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    to: Annotated[ExportFormat, typer.Option(help="The format.")] = ExportFormat.LABEL_STUDIO,
    patient: Annotated[
        str | None,
        typer.Option(help="Column of source.extra_columns that names a document's patient."),
    ] = None,
    deidentified: DeidentifiedOption = False,
    per_patient: Annotated[
        int, typer.Option(min=1, help="With --patient: maximum number of documents per patient.")
    ] = 1,
) -> None:
    """Choose documents for people to review, and write them for an annotation tool."""
    from pipelines.exchange.export import export_documents
    from pipelines.exchange.exporter import ExportError, ExportOptions, Lost
    from pipelines.exchange.sample import sample_documents
    from pipelines.exchange.selection import Selection
    from pipelines.runs.results import read_results
    from pipelines.tables.folder import RunError

    console = Console(highlight=False)
    lost = Lost()
    try:
        snapshot = store_of(sink).snapshot()
        check_columns(snapshot, {"--patient": patient}, deidentified)
        options = ExportOptions(unit=to.unit(None), system=software(), patient=patient)
        chosen = sample_documents(
            read_results(snapshot, columns=options.columns, deidentified=deidentified),
            by,
            n,
            seed=seed,
            patient=patient,
            per_patient=per_patient,
            models=_models(snapshot, deidentified) if by is By.DISAGREEMENT else None,
        )
        columns = (*to.columns, *options.columns)
        selection = Selection(documents=frozenset(chosen.documents))
        all_of_them = read_results(snapshot, columns=columns, deidentified=deidentified)
        results = selection.apply(all_of_them, lost)
        count = export_documents(results, to, out, options, lost)
    except (ExportError, RunError) as error:
        show_error(error)
        raise typer.Exit(2) from error
    strata = ", ".join(f"{name} {many:,}" for name, many in sorted(chosen.strata.items()))
    console.print(escape(f"{count:,} documents in {out} ({strata})"), soft_wrap=True)
    for line in not_expressed(lost):
        console.print(escape(line), soft_wrap=True)


def _models(snapshot: Snapshot, deidentified: bool) -> dict[str, frozenset[str]]:
    from pipelines.exchange.sample import models_by_label
    from pipelines.runs.results import read_results

    results = read_results(snapshot, deidentified=deidentified)
    return models_by_label(e for result in results for e in result.entities)
