"""Pages decoded in a process of their own, which is ended when a page takes too long or too much.

A file can make a decoder loop for days, take all memory or crash, and pdfium holds one lock for
all of that: nothing in the same process can stop it. A child is kept for the next file, so a page
costs a copy of its pixels and no start of a process; each file that is open at once has one.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import wait
from pathlib import Path
from time import monotonic

import numpy as np

from actors.pages.errors import DamagedFile, PageError, TooLarge, TooSlow
from actors.pages.formats import check_kind
from actors.pages.page import Limits, Page
from actors.pages.wire import receive, send

_TICK = 0.02  # seconds between looks at a child that is at work
_START_S = 120.0  # a machine under load imports slowly
_CLOCK = 6.0  # seconds by the clock for a second of the limit: other work may hold the CPUs
_KEPT = 200_000_000  # bytes beyond those at its start, with which a child is kept for another file
_CRASHES = (
    signal.SIGSEGV,
    signal.SIGBUS,
    signal.SIGABRT,
    signal.SIGILL,
    signal.SIGFPE,
    signal.SIGTRAP,
)


def open_pages(
    content: bytes, limits: Limits | None = None, cancelled: Callable[[], bool] = lambda: False
) -> Generator[Page]:
    """The pages of a PNG, JPEG, TIFF, WebP, BMP, GIF, PDF or DICOM file, decoded one at a time.

    ``cancelled`` is asked while a page is decoded; once it is true the pages end.
    Raises a PageError, which says what is wrong without saying what is on the page.
    """
    check_kind(content)
    child = _CHILDREN.take()
    try:
        child.open(content, limits or Limits())
        while (page := child.next(cancelled)) is not None:
            yield page
    finally:
        _CHILDREN.give_back(child)


class _Child:
    """A running ``actors.pages.child``. Not thread-safe."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        paths = [path or str(Path.cwd()) for path in sys.path]
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "actors.pages.child", str(theirs.fileno())],
                # One thread is what decoding uses; the memory of a pool would count for nothing.
                env=os.environ
                | {"PYTHONPATH": os.pathsep.join(paths), "OPENBLAS_NUM_THREADS": "1"},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # where decoders quote what they stumble over
                # Ctrl-C is for the parent, which finishes what it has.
                start_new_session=True,
            )
        if not wait([self._socket], _START_S):
            self.kill()
            raise RuntimeError(f"the process that decodes pages did not start in {_START_S:g} s")
        try:
            receive(self._socket)
        except EOFError:
            self.kill()
            raise RuntimeError("the process that decodes pages does not start") from None
        self._own = self._memory()  # bytes before any file
        self._limits, self._number, self._file = Limits(), 0, 0

    @property
    def reusable(self) -> bool:
        """Whether the process is there, and gave back what its files took."""
        return self._process.poll() is None and self._memory() - self._own < _KEPT

    def open(self, content: bytes, limits: Limits) -> None:
        """Begin with a file."""
        self._limits, self._number, self._file = limits, 0, len(content)
        with suppress(OSError):  # of a child that has just died; `next` says so
            send(self._socket, limits, content)

    def close(self) -> None:
        """Let go of the file; returns once that is done."""
        with suppress(OSError, EOFError):
            send(self._socket, "close")
            receive(self._socket)

    def next(self, cancelled: Callable[[], bool]) -> Page | None:
        """The next page; None after the last, and where ``cancelled`` says so. Raises PageError."""
        self._number += 1
        try:
            send(self._socket, "next")
            if not self._answers(cancelled):
                return None
            (answer, shape), pixels = receive(self._socket)
        except (EOFError, OSError):
            raise self._ended() from None
        if isinstance(answer, PageError):
            raise answer
        page: Page | None = answer
        if page is None or shape is None:
            return page
        return replace(page, picture=np.frombuffer(pixels, np.uint8).reshape(shape))

    def kill(self) -> None:
        """End the process; what it was doing is lost."""
        self._process.kill()
        self._process.wait()
        self._socket.close()

    def _answers(self, cancelled: Callable[[], bool]) -> bool:
        """Wait for an answer, or the end of the process; False where ``cancelled`` says so, after
        which the process is ended. Raises TooLarge or TooSlow, likewise."""
        limits = self._limits
        ends = monotonic() + _CLOCK * limits.page_seconds
        while not wait([self._socket], _TICK):
            if cancelled():
                self.kill()
                return False
            if self._memory() - self._own - self._file > limits.page_bytes:
                self.kill()
                raise TooLarge(
                    f"page {self._number} takes more than {limits.page_bytes / 1e6:g} MB to decode"
                )
            if monotonic() > ends:
                self.kill()
                raise self._too_slow()
        return True

    def _ended(self) -> Exception:
        """The error of a process that ended by itself."""
        number = -self._process.wait()
        if number == signal.SIGPROF:
            return self._too_slow()
        if number == signal.SIGKILL:
            return TooLarge(f"the system ended what decoded page {self._number}, as if for memory")
        if number in _CRASHES:
            name = signal.Signals(number).name
            return DamagedFile(f"page {self._number} ended its decoder by {name}")
        return RuntimeError(f"the process that decodes pages ended with code {-number}")

    def _too_slow(self) -> TooSlow:
        seconds = self._limits.page_seconds
        return TooSlow(f"page {self._number} takes more than {seconds:g} s to decode")

    def _memory(self) -> int:
        """Bytes of main memory that the process holds; 0 where the system does not tell."""
        try:
            fields = Path(f"/proc/{self._process.pid}/statm").read_text().split()
            return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError, IndexError):  # not on macOS
            return 0


class _Children:
    """The children that have no file at the moment."""

    def __init__(self) -> None:
        self._idle: list[_Child] = []
        self._lock = threading.Lock()

    def take(self) -> _Child:
        """An idle child, or a new one."""
        while True:
            with self._lock:
                child = self._idle.pop() if self._idle else None
            if child is None:
                return _Child()
            if child.reusable:
                return child
            child.kill()

    def give_back(self, child: _Child) -> None:
        """Keep a child for another file, unless it is ended or has grown."""
        child.close()
        if not child.reusable:
            child.kill()
            return
        with self._lock:
            self._idle.append(child)

    def end(self) -> None:
        """End all that are idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        for child in idle:
            child.kill()


_CHILDREN = _Children()
atexit.register(_CHILDREN.end)
