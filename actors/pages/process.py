"""Decode pages in a child process that is killed when a page takes too long or too much memory.

A file can make a decoder loop for days, take all memory or crash, and pdfium holds one lock for all
of that: nothing in the same process can stop it. Children are reused, so a page costs a copy of its
pixels but no process start; each concurrently open file has its own child.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import wait
from time import monotonic

import numpy as np

from actors.child_process import CLOCK, ChildPool, ChildProcess
from actors.pages.decoding import check_kind
from actors.pages.errors import DamagedFile, PageError, TooLarge, TooSlow
from actors.pages.page import DecodeLimits, Page
from actors.pages.wire import receive, send

_TICK = 0.02  # seconds between checks of a busy child
_KEPT = 200_000_000  # maximum growth in bytes for a child to be reused
_CRASHES = (
    signal.SIGSEGV,
    signal.SIGBUS,
    signal.SIGABRT,
    signal.SIGILL,
    signal.SIGFPE,
    signal.SIGTRAP,
)


def open_pages(
    content: bytes,
    limits: DecodeLimits | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Generator[Page]:
    """Yield the pages of an image, PDF or DICOM file, one at a time.

    ``cancelled`` is polled while a page is decoded; once it returns True, the pages end. Raises a
    PageError, which states the problem without quoting the page.
    """
    check_kind(content)
    child = _CHILDREN.take()
    try:
        child.open(content, limits or DecodeLimits())
        while (page := child.next(cancelled)) is not None:
            yield page
    finally:
        child.close()
        _CHILDREN.give_back(child)


class _Child(ChildProcess):
    """A running ``actors.pages.child``. Not thread-safe."""

    def __init__(self) -> None:
        super().__init__("actors.pages.child")
        receive(self.socket)
        self._own = self.memory()  # baseline before any file
        self._limits, self._number, self._file = DecodeLimits(), 0, 0

    @property
    def reusable(self) -> bool:
        """True if the process is alive and has released the memory of its files."""
        return super().reusable and self.memory() - self._own < _KEPT

    def open(self, content: bytes, limits: DecodeLimits) -> None:
        """Start a file."""
        self._limits, self._number, self._file = limits, 0, len(content)
        with suppress(OSError):  # the child has just died; `next` reports it
            send(self.socket, limits, content)

    def close(self) -> None:
        """Close the file; returns once the child has done so."""
        with suppress(OSError, EOFError):
            send(self.socket, "close")
            receive(self.socket)

    def next(self, cancelled: Callable[[], bool]) -> Page | None:
        """Return the next page; None after the last one or if cancelled. Raises PageError."""
        self._number += 1
        try:
            send(self.socket, "next")
            if not self._answers(cancelled):
                return None
            (answer, shape), pixels = receive(self.socket)
        except (EOFError, OSError):
            raise self._ended() from None
        if isinstance(answer, PageError):
            raise answer
        page: Page | None = answer
        if page is None or shape is None:
            return page
        return replace(page, picture=np.frombuffer(pixels, np.uint8).reshape(shape))

    def _answers(self, cancelled: Callable[[], bool]) -> bool:
        """Wait for an answer or the end of the process; if cancelled, kill it and return False.
        Raises TooLarge or TooSlow after killing it."""
        limits = self._limits
        ends = monotonic() + CLOCK * limits.page_seconds
        while not wait([self.socket], _TICK):
            if cancelled():
                self.kill()
                return False
            if self.memory() - self._own - self._file > limits.page_bytes:
                self.kill()
                raise TooLarge(
                    f"page {self._number} needs more than {limits.page_bytes / 1e6:g} MB to decode"
                )
            if monotonic() > ends:
                self.kill()
                raise self._too_slow()
        return True

    def _ended(self) -> Exception:
        """Return the error for a process that exited by itself."""
        if self.ran_out_of_time():
            return self._too_slow()
        number = -self.exit_code()
        if number == signal.SIGKILL:
            return TooLarge(
                f"the decoder of page {self._number} was killed, probably for lack of memory"
            )
        if number in _CRASHES:
            name = signal.Signals(number).name
            return DamagedFile(f"page {self._number} crashed its decoder ({name})")
        return RuntimeError(f"the page decoding process exited with code {-number}")

    def _too_slow(self) -> TooSlow:
        seconds = self._limits.page_seconds
        return TooSlow(f"page {self._number} needs more than {seconds:g} s to decode")


_CHILDREN = ChildPool(_Child)
