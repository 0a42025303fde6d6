"""The actor of a step: holds a model, and gives every document of a unit its Extraction."""

from __future__ import annotations

import asyncio
import logging
import os
from concurrent.futures import Future
from typing import Any

import pyarrow as pa

from actors.config import ModelConfig
from actors.extractor import Extractor, Share
from actors.spans import Document, Extraction
from pipelines.lake.schema import EXTRACTION, extraction_row
from pipelines.storage import Storage

log = logging.getLogger(__name__)


def pack(unit: str, table: pa.Table) -> pa.Table:
    """A unit as one row of a Ray dataset: its id, and its table as an Arrow stream.

    One row, because Ray Data may split a block between any two rows, and a unit must stay whole.
    """
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return pa.table(
        {
            "unit": pa.array([unit]),
            "content": pa.array([sink.getvalue().to_pybytes()], pa.large_binary()),
        }
    )


def unpack(block: pa.Table) -> tuple[str, pa.Table]:
    """The reverse of ``pack``."""
    with pa.ipc.open_stream(block["content"][0].as_buffer()) as reader:
        return block["unit"][0].as_py(), reader.read_all()


class StepActor:
    """One model, applied to units. Calls may overlap: the Extractor takes documents of several
    units at once, so that its model stays busy across their edges."""

    def __init__(
        self, index: int, config: ModelConfig, threads: int, gpu: float, storage: Storage
    ) -> None:
        storage.apply()  # the weights may be on an object store
        self._column = f"step_{index}"
        self._extractor = Extractor(config, Share(threads=threads, gpu=gpu))

    async def __call__(self, block: pa.Table) -> pa.Table:
        """A packed unit with one more column of EXTRACTION; null where a row was not readable."""
        unit, table = unpack(block)
        futures: list[Future[Extraction] | None] = [
            None
            if row["error_type"]
            else self._extractor.submit(
                Document(id=row["doc_id"], text=row["text"], prompt=row["prompt"])
            )
            for row in table.select(["doc_id", "text", "prompt", "error_type"]).to_pylist()
        ]
        rows: list[dict[str, Any] | None] = []
        for future in futures:
            if future is None:
                rows.append(None)
                continue
            try:
                rows.append(extraction_row(await asyncio.wrap_future(future)))
            except Exception as error:
                # The Extractor turns a document's failure into data: what comes here is a lost
                # model. Ending the process makes Ray start another and give it this unit.
                log.critical("model lost in unit %s: %s", unit, type(error).__name__)
                os._exit(1)
        column = pa.array(rows, type=EXTRACTION)
        return pack(unit, table.append_column(self._column, column))
