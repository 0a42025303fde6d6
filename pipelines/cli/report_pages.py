"""Page images for a report, re-read from the source files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import fsspec
import pyarrow.parquet as pq

from actors.config.ocr import PageLimits
from actors.pages import DecodeLimits, PageError, open_pages
from pipelines.markup.page_image import Sheet, small
from pipelines.runs.results import Result


def sheets(result: Result, config: Mapping[str, Any], most: int) -> list[Sheet]:
    """The first ``most`` pages of a document, without marks.

    Empty if the source is gone; cut short where it is no longer the file that was processed.
    """
    content = _content(result, config["pipeline"]["source"].get("image"))
    if content is None:
        return []
    ocr: dict[str, Any] = next((s["config"] for s in config["stages"] if s["kind"] == "ocr"), {})
    page_limits = PageLimits.model_validate(ocr.get("pages") or {})
    limits = replace(DecodeLimits.of(page_limits), text_layer=False)
    found: list[Sheet] = []
    try:
        for number, page in enumerate(open_pages(content, limits)):
            if number >= min(most, len(result.page_sizes)):
                break
            size = result.page_sizes[number]
            # A different size means a different image, on which the boxes would be wrong.
            if page.picture is None or abs(page.width - size["width"]) > 2:
                break
            found.append(
                Sheet(
                    number,
                    small(page.picture),
                    "webp",
                    size["width"],
                    size["height"],
                    size["turn"],
                )
            )
    except PageError:
        return found
    return found


def _content(result: Result, column: str | None) -> bytes | None:
    try:
        with fsspec.open(result.source, "rb") as file:
            if column is None:
                return bytes(file.read())
            table = pq.ParquetFile(file)
            row = result.source_row
            for group in range(table.metadata.num_row_groups):
                rows = table.metadata.row_group(group).num_rows
                if row < rows:
                    value = table.read_row_group(group, columns=[column])[column][row]
                    return value.as_py()  # type: ignore[no-any-return]
                row -= rows
    except (OSError, ValueError, KeyError):
        return None
    return None
