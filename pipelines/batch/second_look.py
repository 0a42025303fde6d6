"""The second look at what may leave: its columns in a unit, and what follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from actors.spans import Extraction
from pipelines.batch.page_rows import COVERED, PAGE_TEXT, row_page_again
from pipelines.batch.stage_actor import RELEASED, is_page_look_column, is_second_look_column
from pipelines.release import Release, Releaser, withheld
from pipelines.tables.rows import row_extraction

if TYPE_CHECKING:
    from actors.deidentify.page_again import PageAgain


@dataclass(frozen=True, slots=True)
class SecondLook:
    """Extractions of models from a de-identified text; ``text`` is the version that they read.
    ``page``: the same of the document's covered pages, if it has any."""

    text: str | None
    extractions: tuple[Extraction, ...]
    page: PageLook | None = None

    @property
    def all_extractions(self) -> tuple[Extraction, ...]:
        """From the text and from the pages."""
        return (*self.extractions, *(() if self.page is None else self.page.extractions))

    def of(
        self, release: Release, releaser: Releaser, original: str | None, names: Sequence[str]
    ) -> Release:
        """Return the release with the identifiers that were still found added as residue.

        ``original``: the document's text; ``names``: known names to look for.
        """
        if release.done.text != self.text:
            # Two workers with the same key made two texts: their libraries differ.
            return withheld("UnstableText")
        release = releaser.second_look(release, self.extractions)
        if self.page is None or original is None:
            return release
        return releaser.page_look(release, original, self.page.read, self.page.extractions, names)


@dataclass(frozen=True, slots=True)
class PageLook:
    """The text that OCR read on a document's covered pages, and extractions of models from it.

    ``kind``: the ending of the file of these pages."""

    kind: str
    read: PageAgain
    extractions: tuple[Extraction, ...]


class SecondLooks:
    """The second look at the documents of a unit, from its columns."""

    def __init__(self, table: pa.Table) -> None:
        names = table.schema.names
        self._of_texts = [name for name in names if is_second_look_column(name)]
        self._of_pages = [name for name in names if is_page_look_column(name)]
        found = {RELEASED, PAGE_TEXT, COVERED} & {*names}
        self.columns = frozenset((*self._of_texts, *self._of_pages, *found))
        """All of its columns."""
        self.large = frozenset({COVERED} & found)
        """The column of covered pages, which ``at`` does not need in its row."""
        self._kinds = [None] * table.num_rows
        if COVERED in found:
            self._kinds = pc.struct_field(table[COVERED], "kind").to_pylist()

    def at(self, index: int, row: dict[str, Any]) -> SecondLook | None:
        """The second look at a document, given by its row; None if there was none."""
        if not self._of_texts:
            return None
        page, kind = row.get(PAGE_TEXT), self._kinds[index]
        look = None
        if page is not None and kind is not None:
            look = PageLook(kind, row_page_again(page), _extractions(row, self._of_pages))
        return SecondLook(row[RELEASED], _extractions(row, self._of_texts), look)


def _extractions(row: dict[str, Any], columns: Sequence[str]) -> tuple[Extraction, ...]:
    return tuple(row_extraction(row[n], row["doc_id"]) for n in columns if row[n] is not None)
