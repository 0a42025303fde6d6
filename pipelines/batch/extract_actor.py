"""The actor of an entity-finding stage: adds an Extraction to every document of a unit."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

import pyarrow as pa

from actors.extractor import Extractor
from actors.spans import Document, Extraction, Failure, Status
from pipelines.batch.copies import Copies
from pipelines.batch.crash_guard import CrashGuard, poison
from pipelines.batch.page_rows import PAGE_TEXT
from pipelines.batch.stage_actor import RELEASED, Model, StageActor, StageWork
from pipelines.tables.rows import extraction_row
from pipelines.tables.schema import EXTRACTION
from pipelines.worker.events import count_batch


class ExtractActor(StageActor):
    """Applies an Extractor to units."""

    def _load(self, work: StageWork) -> Mapping[str, int]:
        on_progress = work.on_progress
        if work.load is Extractor:
            extractor = Extractor(work.stage.model, work.share, on_progress)
            self._model: Model = extractor

            def submit(document: Document) -> Future[Extraction]:
                return extractor.submit(document, on_text=lambda *_: on_progress())

        else:
            self._model = work.load(work.stage.model, work.share)
            submit = self._model.submit
        self._careful = CrashGuard(work.attempts, Copies(submit).submit, on_progress)
        # Test models do not report their memory.
        return getattr(self._model, "took", {})

    async def _apply(self, unit: str, table: pa.Table) -> tuple[pa.Table, int]:
        pending = self._pending(table)
        documents = [document for rows in pending.values() for _, document in rows]
        answers = await self._careful.submit_unit(unit, documents)
        found = [one or self._quarantined(d) for one, d in zip(answers, documents, strict=True)]
        count_batch(
            self._work.stage.name,
            len(found),
            sum(e.usage.prompt_tokens + e.usage.completion_tokens for e in found),
            sum(e.usage.seconds for e in found),
        )
        remaining = iter(found)
        for column, rows in pending.items():
            results: list[dict[str, Any] | None] = [None] * table.num_rows
            for i, _ in rows:
                results[i] = extraction_row(next(remaining))
            table = table.append_column(column, pa.array(results, type=EXTRACTION))
        return table, len(found)

    def _pending(self, table: pa.Table) -> dict[str, list[tuple[int, Document]]]:
        """The documents to read, with their rows, by the column of their results."""
        stage = self._work.stage
        if stage.second_look:
            released = {self._work.column: table[RELEASED].to_pylist()}
            if PAGE_TEXT in table.schema.names:
                released[self._work.page_column] = [
                    one and one["text"] for one in table[PAGE_TEXT].to_pylist()
                ]
            rows = table.select(["doc_id", "prompt"]).to_pylist()
            return {
                column: [
                    (i, Document(row["doc_id"], text, prompt=row["prompt"]))
                    for i, (row, text) in enumerate(zip(rows, texts, strict=True))
                    if text is not None
                ]
                for column, texts in released.items()
            }
        # The column is null if a row could not be read or is carried over from an earlier run.
        columns = ["doc_id", "text", "prompt", "prior", "error_type"]
        columns += ["image"] if stage.sees_pictures else []
        rows = table.select(columns).to_pylist()
        return {
            self._work.column: [
                (i, Document(row["doc_id"], row["text"], row.get("image"), row["prompt"]))
                for i, row in enumerate(rows)
                if not row["error_type"] and not row["prior"]
            ]
        }

    def _quarantined(self, document: Document) -> Extraction:
        return Extraction(
            document_id=document.id,
            model=self._work.stage.name,
            fingerprint=self._model.fingerprint,
            status=Status.FAILED,
            failure=Failure("PoisonDocument", poison(self._work.max_attempts)),
        )
