"""Documents under way: their pages one after the other, and their readings when all are there."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field

from actors.pages import (
    Limits,
    Page,
    PageError,
    PageSize,
    PixelBudget,
    Reading,
    Strip,
    compose,
    open_pages,
)
from actors.spans import Document, Failure, Moved


@dataclass(slots=True)
class Job:
    """A document, the future of its reading, and its pages as far as they are read.

    ``moved`` is called after each page, and while one is decoded.
    The future can be cancelled until it has its answer. Several threads may answer: the first does.
    """

    document: Document
    future: Future[Reading | Failure]
    moved: Moved
    budget: PixelBudget | None = None
    pages: dict[int, tuple[PageSize, list[Strip]]] = field(default_factory=dict)
    expected: int | None = None
    """Number of pages, once the last one was seen."""
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)
    _answered: bool = field(init=False, default=False)

    def over(self) -> bool:
        """Whether it is answered, or given up: no further page of it needs to be read."""
        if self.future.cancelled():
            self._claim()  # those who wait for it by concurrent.futures are told
        return self.future.done()

    def decoding_over(self) -> bool:
        """As ``over``, asked while a page is decoded. That is a sign of life: a page has limits of
        its own, and while they hold the reader does not hang."""
        self.moved()
        return self.over()

    def add(self, number: int, size: PageSize, strips: list[Strip]) -> None:
        """A page was read."""
        self.pages[number] = (size, strips)
        self.moved()
        self.settle()

    def settle(self) -> None:
        """Give the reading where it is complete."""
        if len(self.pages) == self.expected and not self.over():
            reading = compose([self.pages[n] for n in range(self.expected)])
            if self._claim():
                self.future.set_result(reading)

    def fail(self, kind: str, message: str) -> None:
        """Give a failure, unless there is an answer already."""
        if self._claim():
            self.future.set_result(Failure(kind, message))

    def lose(self, error: Exception) -> None:
        """Give an error of the reader itself, unless there is an answer already."""
        if self._claim():
            self.future.set_exception(error)

    def _claim(self) -> bool:
        """Whether to answer now: once, and not where the future was cancelled."""
        with self._lock:
            first, self._answered = not self._answered, True
        return first and self.future.set_running_or_notify_cancel()


class Feed:
    """The pictures of queued documents, decoded when they are asked for."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._job: Job | None = None
        self._pages: Iterator[Page] = iter(())
        self._number = 0
        self.ended = False

    def put(self, job: Job | None) -> None:
        """Queue a document; None ends the feed."""
        self._jobs.put(job)

    def next(self, wait: bool) -> tuple[Job, int, Page] | None:
        """The next page that has to be read by looking at it; None when there is none at hand
        (``ended`` tells whether there will be) and ``wait`` does not ask to wait for one."""
        while not self.ended:
            if self._job is None and not self._open(wait):
                return None
            page = self._turn()
            if page is not None:
                return page
        return None

    def abandon(self) -> list[Job]:
        """What is still queued; nothing of it is read."""
        left = [self._job] if self._job else []
        while not self._jobs.empty():
            job = self._jobs.get()
            if job is not None:
                left.append(job)
        self.ended = True
        return left

    def _open(self, wait: bool) -> bool:
        try:
            job = self._jobs.get(block=wait)
        except queue.Empty:
            return False
        if job is None:
            self.ended = True
            return False
        if job.over():
            return True
        if job.document.image is None:
            job.fail("MissingImage", "the document has no picture")
            return True
        self._job = job
        self._pages = open_pages(job.document.image, self._limits, job.decoding_over)
        self._number = 0
        return True

    def _turn(self) -> tuple[Job, int, Page] | None:
        """The next picture of the open document; None where it is at its end, or over."""
        job = self._job
        if job is None:
            return None
        try:
            while not job.over():
                page = next(self._pages, None)
                if page is None:
                    job.expected = self._number
                    job.settle()
                    break
                number, self._number = self._number, self._number + 1
                if page.picture is not None:
                    if job.budget is not None:
                        job.budget.take(page)
                    return job, number, page
                job.add(number, PageSize(page.width, page.height), list(page.strips))
        except PageError as error:
            job.fail(type(error).__name__, str(error))
        self._job, self._pages = None, iter(())  # of what is given up the file is closed
        return None
