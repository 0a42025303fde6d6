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
        pending, documents = self._pending(table)
        results: list[dict[str, Any] | None] = [None] * table.num_rows
        answers = await self._careful.submit_unit(unit, documents)
        found = [one or self._quarantined(d) for one, d in zip(answers, documents, strict=True)]
        for i, extraction in zip(pending, found, strict=True):
            results[i] = extraction_row(extraction)
        count_batch(
            self._work.stage.name,
            len(found),
            sum(e.usage.prompt_tokens + e.usage.completion_tokens for e in found),
            sum(e.usage.seconds for e in found),
        )
        column = pa.array(results, type=EXTRACTION)
        return table.append_column(self._work.column, column), len(found)

    def _pending(self, table: pa.Table) -> tuple[list[int], list[Document]]:
        """The documents to read, and their rows."""
        stage = self._work.stage
        if stage.second_look:
            rows = table.select(["doc_id", RELEASED, "prompt"]).to_pylist()
            pending = [i for i, row in enumerate(rows) if row[RELEASED] is not None]
            return pending, [
                Document(rows[i]["doc_id"], rows[i][RELEASED], prompt=rows[i]["prompt"])
                for i in pending
            ]
        # The column is null if a row could not be read or is carried over from an earlier run.
        columns = ["doc_id", "text", "prompt", "prior", "error_type"]
        columns += ["image"] if stage.sees_pictures else []
        rows = table.select(columns).to_pylist()
        pending = [i for i, row in enumerate(rows) if not row["error_type"] and not row["prior"]]
        return pending, [
            Document(rows[i]["doc_id"], rows[i]["text"], rows[i].get("image"), rows[i]["prompt"])
            for i in pending
        ]

    def _quarantined(self, document: Document) -> Extraction:
        return Extraction(
            document_id=document.id,
            model=self._work.stage.name,
            fingerprint=self._model.fingerprint,
            status=Status.FAILED,
            failure=Failure("PoisonDocument", poison(self._work.max_attempts)),
        )
