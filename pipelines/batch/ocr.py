"""The actor before the steps: gives documents that are pictures their text."""

from __future__ import annotations

import time
from concurrent.futures import Future
from typing import Any

import pyarrow as pa

from actors.config.ocr import OcrModel
from actors.pages import Reading
from actors.spans import Document, Extraction, Failure, Status, Usage
from pipelines.batch.careful import Attempts, Careful, poison
from pipelines.batch.life import Life
from pipelines.batch.step import Stopwatch, add_busy, pack, unpack
from pipelines.lake.carry import content_hash
from pipelines.lake.readings import READING, reading_row
from pipelines.lake.schema import EXTRACTION, extraction_row
from pipelines.storage import Storage
from pipelines.worker.events import count_batch
from pipelines.worker.vitals import FOR_EVER, Lifespan

STEP = "step_ocr"
_Told = tuple[Reading | Failure, float]


class OcrActor:
    """One reader, applied to units. Calls may overlap, so that it always has pages to batch."""

    def __init__(
        self,
        config: OcrModel,
        attempts: Attempts,
        threads: int,
        gpu: float,
        storage: Storage,
        keep_pictures: bool = False,
        lifespan: Lifespan = FOR_EVER,
    ) -> None:
        """``keep_pictures``: whether a later step is to see them, too."""
        from actors.ocr import OcrReader  # here: a run without pictures needs no extra for them

        storage.apply()  # the weights may be on an object store
        started = time.monotonic()
        self._reader = OcrReader(config, threads=threads, gpu=gpu)
        self._attempts = attempts
        self._dropped = [] if keep_pictures else ["image"]
        self._careful = Careful(attempts, self._submit)
        self._watch = Stopwatch()
        self._last = 0.0
        self._life = Life(lifespan, gpu, attempts.run_id, config.name)
        self._life.born(round(time.monotonic() - started, 3), self._reader.took)

    async def __call__(self, block: pa.Table) -> pa.Table:
        """A packed unit whose pictures have become text, each with a READING beside it. Unless
        they are to be kept, the pictures themselves end here."""
        async with self._life.turn():
            return await self._do(block)

    async def _do(self, block: pa.Table) -> pa.Table:
        self._watch.enter()
        unit, table = unpack(block)
        rows = table.select(["doc_id", "image", "prompt", "prior", "error_type"]).to_pylist()
        wanted = [
            i
            for i, row in enumerate(rows)
            if row["image"] is not None and not row["error_type"] and not row["prior"]
        ]
        documents = [Document(id=rows[i]["doc_id"], image=rows[i]["image"]) for i in wanted]
        told = await self._careful.give(unit, documents)
        texts: list[str | None] = table["text"].to_pylist()
        errors = table.select(["error_type", "error_message"]).to_pylist()
        readings: list[dict[str, Any] | None] = [None] * len(rows)
        steps: list[dict[str, Any] | None] = [None] * len(rows)
        for i, answer in zip(wanted, told, strict=True):
            reason = Failure("PoisonDocument", poison(self._attempts.most_tries))
            found, seconds = answer or (reason, 0.0)
            if isinstance(found, Reading):
                identity = content_hash(rows[i]["image"], rows[i]["prompt"])
                texts[i], readings[i] = found.text, reading_row(found) | {"identity": identity}
            else:
                errors[i] = {"error_type": found.type, "error_message": found.message}
            steps[i] = extraction_row(self._step(rows[i]["doc_id"], found, seconds))
        self._life.did(len(told))
        count_batch(
            self._reader.config.name, len(told), 0, sum(one[1] for one in told if one is not None)
        )
        table = table.drop_columns([*self._dropped, "text", "error_type", "error_message"])
        for name, column in (
            ("text", pa.array(texts, pa.string())),
            ("error_type", pa.array([e["error_type"] for e in errors], pa.string())),
            ("error_message", pa.array([e["error_message"] for e in errors], pa.string())),
            ("reading", pa.array(readings, READING)),
            (STEP, pa.array(steps, EXTRACTION)),
        ):
            table = table.append_column(name, column)
        return pack(unit, add_busy(table, self._reader.config.name, self._watch.leave()))

    def _submit(self, document: Document) -> Future[_Told]:
        """A document's reading, and the reader's seconds that it took: pages are read together,
        so its share is the time since the document before it was done."""
        began = time.perf_counter()
        answer: Future[_Told] = Future()

        def pass_on(found: Future[Reading | Failure]) -> None:
            error = found.exception()
            if error is not None:
                answer.set_exception(error)
                return
            now = time.perf_counter()
            seconds, self._last = now - max(self._last, began), now
            answer.set_result((found.result(), seconds))

        self._reader.submit(document).add_done_callback(pass_on)
        return answer

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
