"""Files of de-identified pages: ``deidentified/pages/<run>/<unit>.<attempt>.<hash>.<ending>``.

They belong to the attempt at a unit that wrote them, and are there before its tables. A row of
``deidentified/documents`` names its file. One that no row names is waste, like a table's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime

from pipelines.tables.folder import SinkFolder, ahead

_DEIDENTIFIED = "deidentified"
_PAGES = f"{_DEIDENTIFIED}/pages"
_ROWS = f"{_DEIDENTIFIED}/documents"
_COLUMN = "page_file"


def page_place(run_id: str, unit: str, attempt: str) -> str:
    """Return the beginning of a unit's page files' names, below the folder ``deidentified``."""
    return f"pages/{run_id}/{unit}.{attempt}"


def write_page(folder: SinkFolder, path: str, content: bytes) -> None:
    """Write a file of pages; ``path`` is below the folder ``deidentified``."""
    folder.write(f"{_DEIDENTIFIED}/{path}", content)


def discard_pages(folder: SinkFolder, run_id: str) -> None:
    """Remove all page files of a run."""
    folder.remove(f"{_PAGES}/{run_id}")


def keep_attempts(folder: SinkFolder, run_id: str, attempts: Collection[str]) -> None:
    """Remove a run's page files that are not of these attempts, each ``<unit>.<attempt>``."""
    for name in folder.names(f"{_PAGES}/{run_id}"):
        if ".".join(name.split(".")[:2]) not in attempts:
            folder.remove(f"{_PAGES}/{run_id}/{name}")


def unneeded_pages(folder: SinkFolder, limit: datetime, going: Iterable[str]) -> list[str]:
    """Page files last written before ``limit`` that no row names, by path below the sink.

    The rows are those of every file of ``deidentified/documents`` that is there, live or kept for
    older versions of the table, except ``going``: files below the sink that are to be removed.
    """
    old = {
        path
        for path, written in folder.times(_PAGES).items()
        if datetime.fromtimestamp(written, UTC) <= limit
    }
    if not old:
        return []
    gone = set(going)
    tables = [
        f"{_ROWS}/{path}"
        for path in folder.times(_ROWS)
        if path.endswith(".parquet") and not path.startswith("_delta_log/")
    ]
    for names in ahead(lambda path: _named(folder, path), [t for t in tables if t not in gone]):
        old -= names
    return sorted(f"{_PAGES}/{path}" for path in old)


def _named(folder: SinkFolder, path: str) -> set[str]:
    """The page files that the rows of a file name, below the folder of pages."""
    if _COLUMN not in folder.read_schema(path).names:
        return set()
    column = folder.read_table(path, [_COLUMN])[_COLUMN]
    return {name.removeprefix("pages/") for name in column.to_pylist() if name}
