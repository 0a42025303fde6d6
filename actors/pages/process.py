"""Decode pages in a child process that is killed when a page takes too long or too much memory.

A file can make a decoder loop for days, take all memory or crash, and pdfium holds one lock for all
of that: nothing in the same process can stop it. Children are reused, so a page costs a copy of its
pixels but no process start; each concurrently open file has its own child.
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

_TICK = 0.02  # seconds between checks of a busy child
_START_S = 120.0  # imports are slow on a loaded machine
_CLOCK = 6.0  # wall-clock seconds per CPU second of the limit: other work may occupy the CPUs
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
    content: bytes, limits: Limits | None = None, cancelled: Callable[[], bool] = lambda: False
) -> Generator[Page]:
    """Yield the pages of an image, PDF or DICOM file, one at a time.

    ``cancelled`` is polled while a page is decoded; once it returns True, the pages end. Raises a
    PageError, which states the problem without quoting the page.
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
                # Decoding uses one thread; a thread pool's memory would only inflate the baseline.
                env=os.environ
                | {"PYTHONPATH": os.pathsep.join(paths), "OPENBLAS_NUM_THREADS": "1"},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # decoders may quote the content there
                # Ctrl-C is handled by the parent, which finishes work in progress.
                start_new_session=True,
            )
        if not wait([self._socket], _START_S):
            self.kill()
            raise RuntimeError(f"the page decoding process did not start within {_START_S:g} s")
        try:
            receive(self._socket)
        except EOFError:
            self.kill()
            raise RuntimeError("the page decoding process failed to start") from None
        self._own = self._memory()  # baseline before any file
        self._limits, self._number, self._file = Limits(), 0, 0

    @property
    def reusable(self) -> bool:
        """True if the process is alive and has released the memory of its files."""
        return self._process.poll() is None and self._memory() - self._own < _KEPT

    def open(self, content: bytes, limits: Limits) -> None:
        """Start a file."""
        self._limits, self._number, self._file = limits, 0, len(content)
        with suppress(OSError):  # the child has just died; `next` reports it
            send(self._socket, limits, content)

    def close(self) -> None:
        """Close the file; returns once the child has done so."""
        with suppress(OSError, EOFError):
            send(self._socket, "close")
            receive(self._socket)

    def next(self, cancelled: Callable[[], bool]) -> Page | None:
        """Return the next page; None after the last one or if cancelled. Raises PageError."""
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
        """Kill the process; its work in progress is lost."""
        self._process.kill()
        self._process.wait()
        self._socket.close()

    def _answers(self, cancelled: Callable[[], bool]) -> bool:
        """Wait for an answer or the end of the process; if cancelled, kill it and return False.
        Raises TooLarge or TooSlow after killing it."""
        limits = self._limits
        ends = monotonic() + _CLOCK * limits.page_seconds
        while not wait([self._socket], _TICK):
            if cancelled():
                self.kill()
                return False
            if self._memory() - self._own - self._file > limits.page_bytes:
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
        number = -self._process.wait()
        if number == signal.SIGPROF:
            return self._too_slow()
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

    def _memory(self) -> int:
        """Bytes of main memory that the process uses; 0 if the system does not report it."""
        try:
            fields = Path(f"/proc/{self._process.pid}/statm").read_text().split()
            return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError, IndexError):  # not on macOS
            return 0


class _Children:
    """Pool of idle child processes."""

    def __init__(self) -> None:
        self._idle: list[_Child] = []
        self._lock = threading.Lock()

    def take(self) -> _Child:
        """Return an idle child, or start a new one."""
        while True:
            with self._lock:
                child = self._idle.pop() if self._idle else None
            if child is None:
                return _Child()
            if child.reusable:
                return child
            child.kill()

    def give_back(self, child: _Child) -> None:
        """Keep a child for reuse, unless it has exited or grown too large."""
        child.close()
        if not child.reusable:
            child.kill()
            return
        with self._lock:
            self._idle.append(child)

    def end(self) -> None:
        """Kill all idle children."""
        with self._lock:
            idle, self._idle = self._idle, []
        for child in idle:
            child.kill()


_CHILDREN = _Children()
atexit.register(_CHILDREN.end)
