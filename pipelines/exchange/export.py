"""Writing documents in a format, one at a time."""

from __future__ import annotations

from collections.abc import Iterable

from actors.spans import Status
from pipelines.exchange.export_files import ExportFiles
from pipelines.exchange.exporter import Exporter, ExportOptions, Lost
from pipelines.exchange.formats import ExportFormat
from pipelines.runs.results import Result


def export_documents(
    results: Iterable[Result], format_: ExportFormat, path: str, options: ExportOptions, lost: Lost
) -> int:
    """Write documents to ``path`` in a format, one at a time; the number of documents written.

    What has no place in the format is counted in ``lost``. Raises ExportError; then nothing is
    left at ``path``.
    """
    count = 0
    with ExportFiles(path) as output:
        exporter = _exporter(format_, output, options, lost)
        for result in results:
            if result.text is None:
                lost["documents without a text"] += 1
                continue
            if result.status == Status.FAILED:
                lost["failed documents, written without entities"] += 1
            exporter.write(result, result.text)
            count += 1
        exporter.close()
    return count


def _exporter(
    format_: ExportFormat, output: ExportFiles, options: ExportOptions, lost: Lost
) -> Exporter:
    # Imported where needed: each format's library belongs to an extra or takes its time.
    match format_:
        case ExportFormat.JSONL:
            from pipelines.exchange.jsonl import JsonlExporter

            return JsonlExporter(output.file(), options, lost)
        case ExportFormat.CONLL:
            from pipelines.exchange.conll import ConllExporter

            return ConllExporter(output.file(), options, lost)
        case ExportFormat.BRAT:
            from pipelines.exchange.brat import BratExporter

            return BratExporter(output, lost)
        case ExportFormat.LABEL_STUDIO:
            from pipelines.exchange.label_studio import LabelStudioExporter

            return LabelStudioExporter(output, options, lost)
        case ExportFormat.DOCBIN:
            from pipelines.exchange.docbin import DocBinExporter

            return DocBinExporter(output, lost)
        case ExportFormat.OMOP:
            from pipelines.exchange.omop import OmopExporter

            return OmopExporter(output, options, lost)
        case ExportFormat.FHIR:
            from pipelines.exchange.fhir import FhirExporter

            return FhirExporter(output.file(), options, lost)
        case ExportFormat.SPARK_NLP:
            from pipelines.exchange.spark_nlp import SparkNlpExporter

            return SparkNlpExporter(output, options, lost)
