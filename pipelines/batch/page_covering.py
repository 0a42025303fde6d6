"""Cover the pages of a unit's documents, and their bar codes, for the second look, and write those
that may leave.

A document's pages are decoded, covered and encoded one after the other. Encoded, the pages of a
unit stay in memory until it is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from actors.config.ocr import OcrModel
from actors.pages import DecodeLimits
from actors.spans import Failure
from pipelines.batch.ocr_rows import READING, mark_row, row_reading
from pipelines.batch.page_rows import COVERED, COVERED_PAGES, covered_row
from pipelines.config import LoadedPipeline
from pipelines.release import Release, releaser_with
from pipelines.tables.folder import SinkFolder
from pipelines.tables.page_files import write_page


def with_bar_codes(
    table: pa.Table, loaded: LoadedPipeline, key_check: str
) -> tuple[pa.Table, dict[int, Failure]]:
    """The unit with the bar codes of its pages among the marks of ``reading``, and by row why some
    could not be searched. Raises ConfigError as ``releaser_with``."""
    failed: dict[int, Failure] = {}
    releaser = releaser_with(loaded.stages, key_check)
    if releaser is None or "reading" not in table.schema.names:
        return table, failed
    limits = _limits(loaded)
    readings = table["reading"].to_pylist()
    for at, row in enumerate(readings):
        if row is None:
            continue  # a text, carried over, or read by a vision model alone
        reading = row_reading(row, table["text"][at].as_py())
        found = releaser.with_bar_codes(table["image"][at].as_py(), reading, limits)
        if isinstance(found, Failure):
            failed[at] = found
        else:
            row["marks"] = [mark_row(mark) for mark in found.marks]
    place = table.schema.get_field_index("reading")
    return table.set_column(place, "reading", pa.array(readings, READING)), failed


def cover_pages(
    table: pa.Table,
    releases: Sequence[Release | None],
    loaded: LoadedPipeline,
    key_check: str,
    failed: Mapping[int, Failure],
) -> pa.Table:
    """The unit with the column COVERED in place of its images.

    ``releases``: of each document; no pages leave of one without a text. ``failed``: why rows were
    not searched for bar codes; their pages are not covered. Raises ConfigError as
    ``releaser_with``.
    """
    covered: list[dict[str, Any] | None] = [None] * table.num_rows
    limits = _limits(loaded)
    for at, release in enumerate(releases):
        if release is None or release.done.text is None or "reading" not in table.schema.names:
            continue
        reading = table["reading"][at].as_py()
        if reading is None:
            continue  # a text, or read by a vision model alone
        if at in failed:
            covered[at] = covered_row(failed[at])
            continue
        releaser = releaser_with(loaded.stages, key_check)
        assert releaser is not None  # it made the release
        words = row_reading(reading, table["text"][at].as_py())
        image = table["image"][at].as_py()
        covered[at] = covered_row(releaser.cover(release, image, words, limits))
    table = table.drop_columns(["image"])
    return table.append_column(COVERED, pa.array(covered, COVERED_PAGES))


def _limits(loaded: LoadedPipeline) -> DecodeLimits:
    reader = next(stage.config for stage in loaded.stages if isinstance(stage.config, OcrModel))
    return DecodeLimits.of(reader.pages)


def write_pages(folder: SinkFolder, table: pa.Table, files: Sequence[str | None]) -> None:
    """Write the covered pages of a unit; ``files``: of each document, below the folder
    ``deidentified``, None where none may leave. Raises OSError."""
    for at, path in enumerate(files):
        if path is not None:
            write_page(folder, path, table[COVERED][at]["content"].as_py())
