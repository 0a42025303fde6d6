"""Cover the pages of de-identified documents and read them again.

The key stays in this process, so covering does too, in a few threads of its own. A page is decoded
by a child process with limits; of a file one page, of DICOM all frames, are held as pixels.
"""

from __future__ import annotations

import asyncio
import threading
from base64 import b64encode
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from actors.pages import DecodeLimits, OcrResult
from actors.spans import Document, Failure
from pipelines.release import CoveredPages, Release, Releaser, withheld
from pipelines.serve.answering.pending import PendingDocument
from pipelines.serve.wire.responses import CoveredFileOut

if TYPE_CHECKING:
    from actors.deidentify.page_again import PageAgain

_T = TypeVar("_T")
_AT_ONCE = 2  # documents, whose pages take a core each
ReadPages = Callable[[Sequence[Document]], Awaitable[Sequence[OcrResult | Failure]]]
"""Has OCR read images; returns the results in order."""
_MEDIA_TYPES = {
    "png": "image/png",
    "tiff": "image/tiff",
    "pdf": "application/pdf",
    "dcm": "application/dicom",
}


@dataclass(frozen=True, slots=True)
class CoveredDocument:
    """The covered pages of a document, and what OCR read of them."""

    pages: CoveredPages
    seen: PageAgain

    @property
    def out(self) -> CoveredFileOut:
        """The file, as the response has it."""
        return CoveredFileOut(
            kind=self.pages.kind,
            media_type=_MEDIA_TYPES[self.pages.kind],
            content=b64encode(self.pages.content).decode(),
        )


class PageCoverer:
    """Covers pages of one server. ``limits``: of the OCR stage, which measured the boxes."""

    def __init__(self, limits: DecodeLimits) -> None:
        self._limits = limits
        self._threads = ThreadPoolExecutor(_AT_ONCE, "cover-pages")

    async def find_bar_codes(self, pending: Sequence[PendingDocument], releaser: Releaser) -> None:
        """Put the bar codes of each document's pages into its reading; a document whose pages
        cannot be searched fails."""
        for one in pending:
            if one.failure is not None or one.reading is None or one.document.image is None:
                continue
            work = partial(releaser.with_bar_codes, one.document.image, one.reading, self._limits)
            found = await self._in_thread(work)
            if isinstance(found, Failure):
                one.failure = found
            else:
                one.reading = found

    async def cover(
        self,
        pending: Sequence[PendingDocument],
        releases: list[Release],
        releaser: Releaser,
        read: ReadPages,
    ) -> dict[int, CoveredDocument]:
        """Cover the pages of documents that have a release, and read them again; by index.

        A document whose pages cannot be covered or read fails, in ``pending`` and ``releases``.
        """
        from actors.deidentify.page_again import page_again

        made: dict[int, CoveredPages] = {}
        for at, (one, release) in enumerate(zip(pending, releases, strict=True)):
            if release.done.text is None or one.reading is None or one.document.image is None:
                continue
            found = await self._in_thread(
                partial(releaser.cover, release, one.document.image, one.reading, self._limits)
            )
            if isinstance(found, Failure):
                _fail(at, found, pending, releases)
            else:
                made[at] = found
        if not made:
            return {}
        documents = [
            Document(pending[at].document.id, image=one.content) for at, one in made.items()
        ]
        covered = {}
        for at, seen in zip(made, await read(documents), strict=True):
            if isinstance(seen, Failure):
                _fail(at, seen, pending, releases)
            else:
                again = page_again(seen, made[at].patches, printed=False)
                covered[at] = CoveredDocument(made[at], again)
        return covered

    async def _in_thread(self, work: Callable[..., _T | Failure]) -> _T | Failure:
        """Run work that polls ``cancelled`` in a thread; if cancelled, it stops after the current
        page."""
        cancelled = threading.Event()
        polled = partial(work, cancelled=cancelled.is_set)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, polled)
        finally:
            cancelled.set()


def _fail(
    at: int, reason: Failure, pending: Sequence[PendingDocument], releases: list[Release]
) -> None:
    pending[at].failure, releases[at] = reason, withheld(reason.type)
