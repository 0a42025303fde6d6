"""The section ``source``: which documents a pipeline reads."""

from __future__ import annotations

import codecs
from typing import Literal

from pydantic import ConfigDict, Field, field_validator

from actors.config import ConfigSection
from pipelines.storage import refuse_secret_names, refuse_secrets


class Between(ConfigSection):
    """An inclusive range of values, compared as numbers if both sides are numbers, else as text."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    from_: str | int | float | None = Field(None, alias="from")
    to: str | int | float | None = None


class Csv(ConfigSection):
    """The dialect of CSV files."""

    delimiter: str | None = Field(
        None, min_length=1, max_length=1, description="Default: a comma, or a tab for .tsv files."
    )
    quote: str = Field('"', min_length=1, max_length=1)
    escape: str | None = Field(
        None,
        min_length=1,
        max_length=1,
        description='Escape character before quotes within fields, such as "\\" in files of Spark; '
        "doubled quotes are accepted, too.",
    )


class IcebergCatalog(ConfigSection):
    """A catalog of Iceberg tables."""

    name: str = Field(
        "default",
        description="A catalog of pyiceberg: its secrets come from ~/.pyiceberg.yaml or the "
        "environment (PYICEBERG_CATALOG__<NAME>__TOKEN).",
    )
    properties: dict[str, str] = Field(
        default_factory=dict,
        description="pyiceberg's properties, without secrets: {type: rest, uri: https://...}. "
        "Default for a local sink: a SQL catalog in a file, _iceberg/catalog.db.",
    )

    @field_validator("properties")
    @classmethod
    def _no_secrets(cls, properties: dict[str, str]) -> dict[str, str]:
        refuse_secret_names(properties, "catalog.properties")
        if "uri" in properties:
            refuse_secrets(properties["uri"], "catalog.properties.uri")
        return properties


class Source(ConfigSection):
    """The input documents."""

    path: str | tuple[str, ...] = Field(
        description="A file, a folder, a glob, or a list of them: local, s3://, gs://, az://, "
        "any fsspec URL."
    )
    format: Literal[
        "auto",
        "parquet",
        "jsonl",
        "json",
        "csv",
        "tsv",
        "text",
        "docx",
        "image",
        "delta",
        "iceberg",
    ] = Field(
        "auto",
        description="auto uses the suffix: .parquet, .jsonl or .ndjson, .json, .csv, .tsv; one "
        "document per file: .txt, .rtf, .html, .xml, .hl7 (except for Parquet all also followed by "
        ".gz, .bz2, .xz or .zst), .docx (as it looks with its tracked changes accepted); and "
        "image, one document per file: .png, .jpg, .tiff, .webp, .bmp, .gif, .heic, .avif, .jp2, "
        ".pdf, .dcm. Image files are decoded by content, not by suffix. delta, iceberg: a table's "
        "current snapshot.",
    )
    catalog: IcebergCatalog | None = Field(
        None,
        description="With format iceberg: the catalog in which path names a table; without it, "
        "path is the table's folder or one of its metadata files.",
    )
    strict: bool = Field(
        False,
        description="Treat files that would be skipped (unknown suffix, hidden, links to folders) "
        "as errors.",
    )
    where: dict[str, tuple[str | int | float, ...] | Between] = Field(
        default_factory=dict,
        description="Only files with these Hive partition values in their path: "
        "{site: [a, b], year: {from: 2024, to: 2025}} for site=a/year=2024/.",
    )
    encoding: str = Field(
        "utf-8",
        description="Encoding of text, JSON and CSV files without a byte-order mark, e.g. cp1252.",
    )
    csv: Csv = Field(Csv(), description="The dialect of CSV files.")
    markup: Literal["auto", "html", "rtf", "cda", "fhir", "hl7", "none"] = Field(
        "auto",
        description="Markup of the texts. The visible text is processed and stored, and offsets "
        "refer to it; the original's hash is stored. auto: detected from the start of each text.",
    )
    max_markup_s: float = Field(
        20.0,
        gt=0,
        description="Maximum CPU seconds to parse the markup of one text; beyond: BadMarkup. Only "
        "texts of more than 100,000 characters can take that long.",
    )
    max_inflated_mb: float = Field(
        16_000.0, gt=0, description="Maximum inflated MB of a compressed file; beyond: BadFile."
    )
    id: str | None = Field(
        None,
        description="Column with the document's id; without it, or if it is null, the id is "
        "<file>#<row>, which is stable across runs over the same files.",
    )
    on_duplicate: Literal["fail_row", "keep_first", "error"] = Field(
        "fail_row",
        description="Rows with an id of an earlier row, or of a live document of another file: "
        "fail them (DuplicateId), drop them, or raise an error before work starts. Rows come in "
        "the order of their files' URIs, changed files before new ones, then in that of the file.",
    )
    text: str = Field("text", description="Column with the text; not used for plain-text files.")
    image: str | None = Field(
        None, description="Parquet: column with the bytes of an image or PDF, instead of a text."
    )
    prompt: str | None = Field(None, description="Column with a prompt per row.")
    extra_columns: tuple[str, ...] = Field(
        (), description="Extra columns to copy to the documents table."
    )
    unit_rows: int = Field(
        512,
        ge=1,
        description="Maximum documents per unit of work. A unit is retried as a whole if a worker "
        "crashes, and is one file of each table.",
    )
    unit_images: int = Field(
        16, ge=1, description="Maximum images or PDFs per unit: each takes seconds."
    )
    unit_mb: float = Field(16.0, gt=0, description="Maximum MB of text per unit, by file size.")
    max_document_mb: float = Field(
        64.0, gt=0, description="A longer text fails its row instead of exhausting the worker."
    )

    @field_validator("encoding")
    @classmethod
    def _known(cls, encoding: str) -> str:
        try:
            codecs.lookup(encoding)
        except LookupError:
            raise ValueError(f"{encoding!r} is not an encoding known to Python") from None
        return encoding

    RUNNING = frozenset(
        {
            "path",
            "format",
            "catalog",
            "strict",
            "where",
            "max_inflated_mb",
            "max_markup_s",
            "on_duplicate",
            "extra_columns",
            "unit_rows",
            "unit_images",
            "unit_mb",
        }
    )
