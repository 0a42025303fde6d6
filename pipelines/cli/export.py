"""``medspan export``: a sink's documents and entities in a format of another tool."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from pipelines.cli.errors import show_error
from pipelines.cli.sink_argument import SinkPath, committed_run, store_of
from pipelines.exchange.formats import FHIR_RESOURCES, ExportFormat
from pipelines.offset_units import OffsetUnit

if TYPE_CHECKING:
    from pipelines.exchange.exporter import Lost
    from pipelines.tables.snapshot import Snapshot, TableName

DeidentifiedOption = Annotated[
    bool,
    typer.Option(
        "--deidentified",
        help="The de-identified documents; their column `patient` is a keyed hash of the id.",
    ),
]

_OPTIONS = {
    "--patient": (ExportFormat.LABEL_STUDIO, ExportFormat.OMOP, ExportFormat.FHIR),
    "--date": (ExportFormat.OMOP, ExportFormat.FHIR),
    "--parquet": (ExportFormat.OMOP,),
    "--section-concepts": (ExportFormat.OMOP,),
    "--resource": (ExportFormat.FHIR,),
}
"""Options that some formats only have a place for."""


def export(
    sink: SinkPath,
    to: Annotated[ExportFormat, typer.Option(help="The format.")],
    out: Annotated[
        str,
        typer.Option(
            help="The file (jsonl, conll, fhir, spark-nlp) or folder (brat, label-studio, docbin, "
            "omop) to write; it must not exist."
        ),
    ],
    offsets: Annotated[
        OffsetUnit | None,
        typer.Option(
            help="Unit of offsets; default: code points, in spark-nlp UTF-16 code units. "
            "brat and label-studio count code points."
        ),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(
            help="Only documents that this run wrote, as they were after it: a run id, or latest; "
            "default: all live documents."
        ),
    ] = None,
    deidentified: DeidentifiedOption = False,
    label: Annotated[list[str] | None, typer.Option(help="Only entities of these labels.")] = None,
    status: Annotated[
        list[str] | None,
        typer.Option(
            help="Only entities of these statuses: present, negated, uncertain, hypothetical, "
            "conditional, historical, family, other."
        ),
    ] = None,
    min_score: Annotated[
        float, typer.Option(min=0, max=1, help="Only entities with at least this score.")
    ] = 0.0,
    document: Annotated[list[str] | None, typer.Option(help="Only these documents.")] = None,
    patient: Annotated[
        str | None,
        typer.Option(
            help="Column of source.extra_columns that names the patient: OMOP's person_id, "
            "FHIR's subject, a field of Label Studio's tasks."
        ),
    ] = None,
    date: Annotated[
        str | None,
        typer.Option(help="Column of source.extra_columns with the date, for omop and fhir."),
    ] = None,
    parquet: Annotated[
        bool, typer.Option("--parquet", help="omop: Parquet instead of CSV.")
    ] = False,
    section_concepts: Annotated[
        Path | None,
        typer.Option(help="omop: a CSV file without a header, of section name and concept id."),
    ] = None,
    resource: Annotated[
        list[str] | None,
        typer.Option(
            help="fhir: LABEL=Condition, LABEL=MedicationStatement or LABEL=Observation, beyond "
            "common label names."
        ),
    ] = None,
) -> None:
    """Write a sink's documents with their entities in a format of another tool."""
    from pipelines.exchange.export import export_documents
    from pipelines.exchange.exporter import ExportError, ExportOptions, Lost
    from pipelines.exchange.selection import Selection
    from pipelines.runs.results import read_results
    from pipelines.tables.folder import RunError

    console = Console(highlight=False)
    lost = Lost()
    try:
        given = {
            "--patient": patient,
            "--date": date,
            "--parquet": parquet,
            "--section-concepts": section_concepts,
            "--resource": resource,
        }
        for option, formats in _OPTIONS.items():
            if given[option] and to not in formats:
                raise ExportError(f"{option} does not apply to {to}, only to {', '.join(formats)}")
        options = ExportOptions(
            unit=to.unit(offsets),
            system=software(),
            patient=patient,
            date=date,
            parquet=parquet,
            section_concepts=_concepts(section_concepts),
            resources=_resources(resource or []),
        )
        selection = Selection(
            frozenset(label or ()), _statuses(status or []), min_score, frozenset(document or ())
        )
        store = store_of(sink)
        snapshot = store.snapshot(committed_run(store, run) if run else None)
        check_columns(snapshot, {"--patient": patient, "--date": date}, deidentified)
        latest = snapshot.run_id  # raises where no run is committed
        columns = (*to.columns, *options.columns)
        results = read_results(
            snapshot, latest if run else None, columns=columns, deidentified=deidentified
        )
        count = export_documents(selection.apply(results, lost), to, out, options, lost)
    except (ExportError, RunError) as error:
        show_error(error)
        raise typer.Exit(2) from error
    console.print(f"{count:,} documents in {escape(out)}", soft_wrap=True)
    for line in not_expressed(lost):
        console.print(escape(line), soft_wrap=True)


def software() -> str:
    """The name and version of medspan."""
    return f"medspan {version('medspan')}"


def check_columns(
    snapshot: Snapshot, columns: Mapping[str, str | None], deidentified: bool
) -> None:
    """Raise ExportError if the table of documents lacks a column, given by the option that names
    it, and RunError if there is no such table."""
    from pipelines.exchange.exporter import ExportError
    from pipelines.runs.results import check_deidentified

    if deidentified:
        check_deidentified(snapshot)
    table: TableName = "deidentified/documents" if deidentified else "documents"
    key = "deidentify.extra_columns" if deidentified else "source.extra_columns"
    known = snapshot.table(table).schema().names
    for option, column in columns.items():
        if column is not None and column not in known:
            raise ExportError(
                f"{option} {column}: the table {table} has no such column; list source "
                f"columns in {key} to add them"
            )


def not_expressed(lost: Lost) -> list[str]:
    """List the losses of an export as lines, the most frequent first."""
    if not lost:
        return []
    width = max(len(f"{count:,}") for count in lost.values())
    ranked = sorted(lost.items(), key=lambda pair: (-pair[1], pair[0]))
    return ["without a place in this format:", *(f"  {n:>{width},}  {what}" for what, n in ranked)]


def _statuses(given: list[str]) -> frozenset[str]:
    from pipelines.exchange.exporter import ExportError
    from pipelines.exchange.selection import STATUSES

    if unknown := sorted(set(given) - set(STATUSES)):
        raise ExportError(f"--status {unknown[0]}: expected one of {', '.join(STATUSES)}")
    return frozenset(given)


def _concepts(path: Path | None) -> dict[str, int]:
    import csv

    from pipelines.exchange.exporter import ExportError

    if path is None:
        return {}
    found = {}
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.reader(file), start=1):
            if len(row) != 2 or not row[1].strip().isdecimal():
                raise ExportError(f"{path}, line {number}: expected a section and a concept id")
            found[row[0].strip()] = int(row[1])
    return found


def _resources(given: list[str]) -> dict[str, str]:
    from pipelines.exchange.exporter import ExportError

    found = {}
    for one in given:
        label, _, kind = one.rpartition("=")
        if not label or kind not in FHIR_RESOURCES:
            raise ExportError(
                f"--resource {one}: expected LABEL=TYPE with one of {', '.join(FHIR_RESOURCES)}"
            )
        found[label] = kind
    return found
