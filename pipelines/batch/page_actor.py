"""The actor that reads covered pages again: the second look of OCR."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from actors.pages import OcrResult
from actors.spans import Document, Failure
from pipelines.batch.crash_guard import poison
from pipelines.batch.ocr_actor import OcrActor
from pipelines.batch.page_rows import COVERED, PAGE_AGAIN, PAGE_TEXT, page_again_row, row_patches
from pipelines.tables.rows import extraction_row
from pipelines.tables.schema import EXTRACTION
from pipelines.worker.events import count_batch


class PageActor(OcrActor):
    """Applies an OcrReader to the covered pages of units."""

    async def _apply(self, unit: str, table: pa.Table) -> tuple[pa.Table, int]:
        from actors.deidentify.page_again import page_again

        ids, covered = table["doc_id"].to_pylist(), table[COVERED].to_pylist()
        pending = [i for i, one in enumerate(covered) if one and one["content"] is not None]
        documents = [Document(id=ids[i], image=covered[i]["content"]) for i in pending]
        answers = await self._careful.submit_unit(unit, documents)
        pages: list[dict[str, Any] | None] = [None] * len(ids)
        stages: list[dict[str, Any] | None] = [None] * len(ids)
        for i, one in enumerate(covered):
            if one and one["content"] is None:  # it has no second look, but a reason
                failure = Failure(one["error_type"], one["error_message"])
                stages[i] = extraction_row(self._extraction(ids[i], failure, 0.0))
        for i, answer in zip(pending, answers, strict=True):
            reason = Failure("PoisonDocument", poison(self._work.max_attempts))
            found, seconds = answer or (reason, 0.0)
            if isinstance(found, OcrResult):
                patches = row_patches(covered[i]["patches"])
                pages[i] = page_again_row(page_again(found, patches, printed=False))
            stages[i] = extraction_row(self._extraction(ids[i], found, seconds))
        seconds = sum(one[1] for one in answers if one is not None)
        count_batch(self._work.stage.name, len(answers), 0, seconds)
        table = table.append_column(PAGE_TEXT, pa.array(pages, PAGE_AGAIN))
        return table.append_column(self._work.column, pa.array(stages, EXTRACTION)), len(answers)
