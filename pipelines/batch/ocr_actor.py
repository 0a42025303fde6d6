"""The actor of the OCR stage: adds text to documents that are images."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

import pyarrow as pa

from actors.config import ConfigError
from actors.config.ocr import OcrModel
from actors.pages import OcrResult
from actors.spans import Document, Extraction, Failure, Status, Usage
from pipelines.batch.crash_guard import CrashGuard, poison
from pipelines.batch.ocr_rows import READING, reading_row
from pipelines.batch.stage_actor import StageActor, StageWork
from pipelines.runs.carry import content_hash
from pipelines.tables.rows import extraction_row
from pipelines.tables.schema import EXTRACTION
from pipelines.worker.events import count_batch

_TimedResult = tuple[OcrResult | Failure, float]


class OcrActor(StageActor):
    """Applies an OcrReader to units."""

    def _load(self, work: StageWork) -> Mapping[str, int]:
        if not isinstance(work.stage.config, OcrModel):
            raise ConfigError(f"{work.stage.name}: this is not an OCR stage")
        from actors.ocr import OcrReader  # imported here: only OCR needs the extra

        share = work.share
        self._reader = OcrReader(
            work.stage.config,
            share.threads or 1,
            share.gpu or 0,
            work.on_progress,
            share.cpu_fallback,
        )
        self._dropped = [] if work.keep_pictures else ["image"]
        self._careful = CrashGuard(work.attempts, self._submit, work.on_progress)
        self._last = 0.0
        return self._reader.memory_used

    async def _apply(self, unit: str, table: pa.Table) -> tuple[pa.Table, int]:
        # Images become text, each with a READING. The images are dropped here unless a later stage
        # needs them.
        rows = table.select(["doc_id", "image", "prompt", "prior", "error_type"]).to_pylist()
        pending = [
            i
            for i, row in enumerate(rows)
            if row["image"] is not None and not row["error_type"] and not row["prior"]
        ]
        documents = [Document(id=rows[i]["doc_id"], image=rows[i]["image"]) for i in pending]
        answers = await self._careful.submit_unit(unit, documents)
        texts: list[str | None] = table["text"].to_pylist()
        errors = table.select(["error_type", "error_message"]).to_pylist()
        readings: list[dict[str, Any] | None] = [None] * len(rows)
        stages: list[dict[str, Any] | None] = [None] * len(rows)
        for i, answer in zip(pending, answers, strict=True):
            reason = Failure("PoisonDocument", poison(self._work.max_attempts))
            found, seconds = answer or (reason, 0.0)
            if isinstance(found, OcrResult):
                identity = content_hash(rows[i]["image"], rows[i]["prompt"])
                texts[i], readings[i] = found.text, reading_row(found) | {"identity": identity}
            else:
                errors[i] = {"error_type": found.type, "error_message": found.message}
            stages[i] = extraction_row(self._extraction(rows[i]["doc_id"], found, seconds))
        count_batch(
            self._work.stage.name,
            len(answers),
            0,
            sum(one[1] for one in answers if one is not None),
        )
        table = table.drop_columns([*self._dropped, "text", "error_type", "error_message"])
        for name, column in (
            ("text", pa.array(texts, pa.string())),
            ("error_type", pa.array([e["error_type"] for e in errors], pa.string())),
            ("error_message", pa.array([e["error_message"] for e in errors], pa.string())),
            ("reading", pa.array(readings, READING)),
            (self._work.column, pa.array(stages, EXTRACTION)),
        ):
            table = table.append_column(name, column)
        return table, len(answers)

    def _submit(self, document: Document) -> Future[_TimedResult]:
        """The document's OCR result and its seconds. Pages of several documents are read together,
        so a document is charged the time since the previous one finished."""
        began = time.perf_counter()
        answer: Future[_TimedResult] = Future()

        def pass_on(found: Future[OcrResult | Failure]) -> None:
            error = found.exception()
            if error is not None:
                answer.set_exception(error)
                return
            now = time.perf_counter()
            seconds, self._last = now - max(self._last, began), now
            answer.set_result((found.result(), seconds))

        self._reader.submit(document).add_done_callback(pass_on)
        return answer

    def _extraction(self, id_: str, found: OcrResult | Failure, seconds: float) -> Extraction:
        """The OCR stage's entry in the document's list of steps."""
        failure = found if isinstance(found, Failure) else None
        return Extraction(
            document_id=id_,
            model=self._work.stage.pooled.name,
            fingerprint=self._reader.fingerprint,
            status=Status.OK if failure is None else Status.FAILED,
            failure=failure,
            problems=() if isinstance(found, Failure) else found.problems,
            usage=Usage(seconds=seconds),
        )
