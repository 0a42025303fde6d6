"""The section ``sink``: where the tables go."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from actors.config import ConfigSection
from pipelines.config.source import IcebergCatalog


class IcebergSink(ConfigSection):
    """Registers the tables' files in Iceberg tables after each commit."""

    catalog: IcebergCatalog = IcebergCatalog()
    namespace: str = Field(
        pattern=r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$",
        description="The tables are <namespace>.documents, .entities and .relations, and with "
        "`deidentify` those of <namespace>_deidentified.",
    )


class Sink(ConfigSection):
    """The output tables and their location."""

    path: str = Field(
        description="A folder: local, s3://, gs://, az:// or abfs://. Below it are the Delta "
        "tables documents, entities, relations and units, and with `deidentify` the folder "
        "deidentified with tables of its own."
    )
    format: Literal["delta", "parquet"] = Field(
        "delta",
        description="parquet: plain files and no log, for one full run that nothing is added to: "
        "no enrich, no runs, no retry; any fsspec URL.",
    )
    entity_columns: tuple[str, ...] = Field(
        (), description="Columns of source.extra_columns to copy to the entities table, too."
    )
    iceberg: IcebergSink | None = Field(
        None, description="Register the same files in Iceberg tables after each commit."
    )

    @model_validator(mode="after")
    def _iceberg_shows_delta(self) -> Sink:
        if self.iceberg is not None and self.format != "delta":
            raise ValueError("iceberg registers the files of Delta tables: set format to delta")
        return self
