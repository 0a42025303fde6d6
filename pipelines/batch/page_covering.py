"""Cover the pages of a unit's documents for the second look, and write those that may leave.

A document's pages are decoded, covered and encoded one after the other. Encoded, the pages of a
unit stay in memory until it is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from actors.config.ocr import OcrModel
from pipelines.batch.ocr_rows import row_reading
from pipelines.batch.page_rows import COVERED, COVERED_PAGES, covered_row
from pipelines.config import LoadedPipeline
from pipelines.release import Release, releaser_with
from pipelines.tables.folder import SinkFolder
from pipelines.tables.page_files import write_page


def cover_pages(
    table: pa.Table,
    releases: Sequence[Release | None],
    loaded: LoadedPipeline,
    key_check: str,
) -> pa.Table:
    """The unit with the column COVERED in place of its images.

    ``releases``: of each document; no pages leave of one without a text. Raises ConfigError as
    ``releaser_with``.
    """
    from actors.pages import DecodeLimits

    covered: list[dict[str, Any] | None] = [None] * table.num_rows
    reader = next(stage.config for stage in loaded.stages if isinstance(stage.config, OcrModel))
    limits = DecodeLimits.of(reader.pages)
    for at, release in enumerate(releases):
        if release is None or release.done.text is None or "reading" not in table.schema.names:
            continue
        reading = table["reading"][at].as_py()
        if reading is None:
            continue  # a text, or read by a vision model alone
        releaser = releaser_with(loaded.stages, key_check)
        assert releaser is not None  # it made the release
        words = row_reading(reading, table["text"][at].as_py())
        image = table["image"][at].as_py()
        covered[at] = covered_row(releaser.cover(release, image, words, limits))
    table = table.drop_columns(["image"])
    return table.append_column(COVERED, pa.array(covered, COVERED_PAGES))


def write_pages(folder: SinkFolder, table: pa.Table, files: Sequence[str | None]) -> None:
    """Write the covered pages of a unit; ``files``: of each document, below the folder
    ``deidentified``, None where none may leave. Raises OSError."""
    for at, path in enumerate(files):
        if path is not None:
            write_page(folder, path, table[COVERED][at]["content"].as_py())
