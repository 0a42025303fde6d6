"""The formats by name, and in which unit they count. Imports nothing of any format."""

from __future__ import annotations

from enum import StrEnum

from pipelines.exchange.exporter import ExportError
from pipelines.offset_units import OffsetUnit

FHIR_RESOURCES = ("Condition", "MedicationStatement", "Observation")
"""The types of resources that an entity can become."""


class ExportFormat(StrEnum):
    """A format of ``medspan export``."""

    JSONL = "jsonl"
    CONLL = "conll"
    BRAT = "brat"
    LABEL_STUDIO = "label-studio"
    DOCBIN = "docbin"
    OMOP = "omop"
    FHIR = "fhir"
    SPARK_NLP = "spark-nlp"

    @property
    def is_folder(self) -> bool:
        """True if it writes a folder of files, and not one file."""
        return self in (
            ExportFormat.BRAT,
            ExportFormat.LABEL_STUDIO,
            ExportFormat.DOCBIN,
            ExportFormat.OMOP,
        )

    def unit(self, wanted: OffsetUnit | None) -> OffsetUnit:
        """The unit of offsets; raises ExportError where the format has another by definition."""
        if self in _FIXED:
            if wanted not in (None, "code_points"):
                raise ExportError(f"--offsets {wanted}: {self} {_FIXED[self]}")
            return "code_points"
        return wanted or ("utf16" if self is ExportFormat.SPARK_NLP else "code_points")

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the documents table that the exporter reads beyond a Result's own."""
        return ("steps", "finished_at") if self in (ExportFormat.OMOP, ExportFormat.FHIR) else ()


_FIXED = {
    ExportFormat.BRAT: "counts code points",
    ExportFormat.LABEL_STUDIO: "counts code points",
    ExportFormat.DOCBIN: "has tokens, and no offsets",
}


class GoldFormat(StrEnum):
    """A format that holds gold annotations."""

    JSONL = "jsonl"
    CONLL = "conll"
    BRAT = "brat"
    LABEL_STUDIO = "label-studio"
    DOCBIN = "docbin"
