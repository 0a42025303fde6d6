"""The actor before the steps: gives documents that are pictures their text."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from typing import Any

import pyarrow as pa

from actors.config.ocr import OcrModel
from actors.ocr import OcrReader
from actors.pages import Reading
from actors.spans import Document, Extraction, Failure, Status, Usage
from pipelines.batch.step import pack, unpack
from pipelines.lake.readings import READING, reading_row
from pipelines.lake.schema import EXTRACTION, extraction_row
from pipelines.storage import Storage

log = logging.getLogger(__name__)

STEP = "step_ocr"


class OcrActor:
    """One reader, applied to units. Calls may overlap, so that it always has pages to batch."""

    def __init__(self, config: OcrModel, threads: int, gpu: float, storage: Storage) -> None:
        storage.apply()  # the weights may be on an object store
        self._reader = OcrReader(config, threads=threads, gpu=gpu)

    async def __call__(self, block: pa.Table) -> pa.Table:
        """A packed unit whose pictures have become text, each with a READING beside it. The
        pictures themselves end here."""
        unit, table = unpack(block)
        rows = table.select(["doc_id", "image", "error_type"]).to_pylist()
        started = time.perf_counter()
        futures = [
            None
            if row["error_type"] or row["image"] is None
            else self._reader.submit(Document(id=row["doc_id"], image=row["image"]))
            for row in rows
        ]
        texts: list[str | None] = table["text"].to_pylist()
        errors = table.select(["error_type", "error_message"]).to_pylist()
        readings: list[dict[str, Any] | None] = [None] * len(rows)
        steps: list[dict[str, Any] | None] = [None] * len(rows)
        count = sum(future is not None for future in futures)
        for i, future in enumerate(futures):
            if future is None:
                continue
            try:
                found = await asyncio.wrap_future(future)
            except Exception as error:
                # A picture's failure is data: what comes here is a lost reader. Ending the
                # process makes Ray start another and give it this unit.
                log.critical("reader lost in unit %s: %s", unit, type(error).__name__)
                os._exit(1)
            # Pages are read together: a document's share of the unit's time is all there is.
            seconds = (time.perf_counter() - started) / count
            if isinstance(found, Reading):
                texts[i], readings[i] = found.text, reading_row(found)
            else:
                errors[i] = {"error_type": found.type, "error_message": found.message}
            steps[i] = extraction_row(self._step(rows[i]["doc_id"], found, seconds))
        table = table.drop_columns(["image", "text", "error_type", "error_message"])
        for name, column in (
            ("text", pa.array(texts, pa.string())),
            ("error_type", pa.array([e["error_type"] for e in errors], pa.string())),
            ("error_message", pa.array([e["error_message"] for e in errors], pa.string())),
            ("reading", pa.array(readings, READING)),
            (STEP, pa.array(steps, EXTRACTION)),
        ):
            table = table.append_column(name, column)
        return pack(unit, table)

    def _step(self, id_: str, found: Reading | Failure, seconds: float) -> Extraction:
        """The reader's line in a document's list of steps: what was used, and how it went."""
        failure = found if isinstance(found, Failure) else None
        return Extraction(
            document_id=id_,
            model=self._reader.config.name,
            fingerprint=self._reader.fingerprint,
            status=Status.OK if failure is None else Status.FAILED,
            failure=failure,
            usage=Usage(seconds=seconds),
        )
