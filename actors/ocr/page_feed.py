"""In-flight OCR documents: decode their pages in turns, assemble the result when all are read."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from actors.memory import OPEN_FILES
from actors.pages import (
    DecodeLimits,
    Note,
    OcrResult,
    Page,
    PageError,
    PageSize,
    PixelBudget,
    Strip,
    compose,
    open_pages,
    page_problems,
    size_of,
)
from actors.spans import Document, Failure, OnProgress, PageMark

_TURNS = 4

OnPage = Callable[[int], None]
"""Called with the number of pages read so far, from the reader's threads."""


def ignore_page(_: int) -> None:
    """An OnPage that does nothing."""


@dataclass(slots=True)
class OcrJob:
    """A document, the future of its result, and the pages read so far.

    ``on_progress`` is called after each page, and while one is decoded. The future can be cancelled
    until it has a result. Several threads may settle it; the first one wins.
    """

    document: Document
    future: Future[OcrResult | Failure]
    on_progress: OnProgress
    budget: PixelBudget | None = None
    on_page: OnPage = ignore_page
    pages: dict[int, tuple[PageSize, Sequence[Strip]]] = field(default_factory=dict)
    problems: dict[int, list[str]] = field(default_factory=dict)
    notes: dict[int, Mapping[Note, int]] = field(default_factory=dict)
    marks: dict[int, Sequence[PageMark]] = field(default_factory=dict)
    expected: int | None = None
    """Number of pages, known once the last one has been decoded."""
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)
    _answered: bool = field(init=False, default=False)

    def over(self) -> bool:
        """Return True if the job is settled or cancelled: no further page needs to be read."""
        if self.future.cancelled():
            self._claim()  # notifies waiters of concurrent.futures
        return self.future.done()

    def decoding_over(self) -> bool:
        """Like ``over``, polled while a page is decoded. It reports progress: a page has its own
        limits, so the reader does not hang while they hold."""
        self.on_progress()
        return self.over()

    def add(
        self,
        number: int,
        size: PageSize,
        strips: Sequence[Strip],
        notes: Mapping[Note, int],
        problems: Sequence[str] = (),
        marks: Sequence[PageMark] = (),
    ) -> None:
        """Store the result of a page."""
        self.marks[number] = marks
        self.notes[number] = notes
        self.pages[number] = (size, strips)
        self.note(number, problems)
        self.on_progress()
        self.on_page(len(self.pages))
        self.settle()

    def note(self, number: int, problems: Sequence[str]) -> None:
        """Store the problems of a page, beside those known already."""
        self.problems.setdefault(number, []).extend(problems)

    def settle(self) -> None:
        """Set the result if all pages are read."""
        if len(self.pages) == self.expected and not self.over():
            result = compose([self.pages[n] for n in range(self.expected)])
            marks = [mark for n in range(self.expected) for mark in self.marks[n]]
            result = replace(result, problems=tuple(self._problems(result)), marks=tuple(marks))
            if self._claim():
                self.future.set_result(result)

    def fail(self, kind: str, message: str) -> None:
        """Set a failure, unless the job is already settled."""
        if self._claim():
            self.future.set_result(Failure(kind, message))

    def lose(self, error: Exception) -> None:
        """Set an error of the OCR model itself, unless the job is already settled."""
        if self._claim():
            self.future.set_exception(error)

    def _problems(self, result: OcrResult) -> Iterator[str]:
        yield from page_problems([self.notes[n] for n in range(len(self.pages))])
        for number in sorted(self.problems):
            for problem in self.problems[number]:
                yield f"page {number + 1}: {problem}"
        if not result.words:
            yield f"no text found; pages: {len(result.pages)}"

    def _claim(self) -> bool:
        """Return True for the one caller that may settle the future, if it is not cancelled."""
        with self._lock:
            first, self._answered = not self._answered, True
        return first and self.future.set_running_or_notify_cancel()


@dataclass(slots=True, eq=False)
class _OpenDocument:
    """A document whose pages are being decoded. ``number``: pages decoded so far; ``ahead``: one of
    them that is decoded before its turn."""

    job: OcrJob
    pages: Generator[Page]
    number: int = 0
    ahead: tuple[int, Page] | None = None


class PageFeed:
    """The pages of queued documents, decoded on demand.

    The document with the fewest pages so far comes first, so a short one never waits for a whole
    long one. Every fourth turn is that of the oldest document, so a long one cannot starve.
    """

    def __init__(self, limits: DecodeLimits) -> None:
        self._limits = limits
        self._jobs: queue.SimpleQueue[OcrJob | None] = queue.SimpleQueue()
        self._open: list[_OpenDocument] = []  # oldest first
        self._turns = 0
        self._closing = False  # no further document will come
        self.ended = False

    def put(self, job: OcrJob | None) -> None:
        """Queue a document; None ends the feed."""
        self._jobs.put(job)

    def next(self, wait: bool) -> tuple[OcrJob, int, Page] | None:
        """Return the next page that needs OCR. None if ``wait`` is False and none is available now,
        or if the feed has ended (see ``ended``)."""
        while not self.ended:
            current = self._choose(wait)
            if current is None:
                return None
            self._turns += 1
            found, current.ahead = current.ahead or self._decode(current), None
            if current.number == 1:
                # Most documents end here: they need not stay open until their next turn.
                current.ahead = self._decode(current)
            if found is not None and not current.job.over():
                return current.job, *found
        return None

    def abandon(self) -> list[OcrJob]:
        """Return the jobs that are still queued and end the feed."""
        remaining = [one.job for one in self._open]
        while not self._jobs.empty():
            job = self._jobs.get()
            if job is not None:
                remaining.append(job)
        self.ended = True
        return remaining

    def _choose(self, wait: bool) -> _OpenDocument | None:
        """Return the document whose turn it is; None if there is none now."""
        for one in [one for one in self._open if one.job.over()]:
            self._close(one)
        of_oldest = self._turns % _TURNS == 0
        if not self._open or (len(self._open) < OPEN_FILES and not of_oldest):
            self._begin(wait and not self._open)
        if not self._open:
            self.ended = self._closing
            return None
        return self._open[0] if of_oldest else min(self._open, key=lambda one: one.number)

    def _begin(self, wait: bool) -> None:
        """Open the next queued document, if there is one."""
        while not self._closing:
            try:
                job = self._jobs.get(block=wait)
            except queue.Empty:
                return
            if job is None:
                self._closing = True
            elif job.document.image is None:
                job.fail("MissingImage", "the document has no image")
            elif not job.over():
                pages = open_pages(job.document.image, self._limits, job.decoding_over)
                self._open.append(_OpenDocument(job, pages))
                return

    def _close(self, one: _OpenDocument) -> None:
        self._open.remove(one)
        one.pages.close()

    def _decode(self, one: _OpenDocument) -> tuple[int, Page] | None:
        """Decode the next page of a document. None if that needs no OCR, or at the end, which
        closes the file."""
        job = one.job
        try:
            page = None if job.over() else next(one.pages, None)
            if page is not None:
                number, one.number = one.number, one.number + 1
                job.note(number, page.problems)
                if page.picture is not None:
                    if job.budget is not None:
                        job.budget.take(page)
                    return number, page
                job.add(
                    number, size_of(page.width, page.height, page.strips), page.strips, page.notes
                )
                return None
            job.expected = one.number
            job.settle()
        except PageError as error:
            job.fail(type(error).__name__, str(error))
        self._close(one)
        return None
