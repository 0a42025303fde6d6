"""Child processes for parsers and decoders: code that nothing else can stop.

A file can make a library loop for days, take all memory or crash. In a child process it can be
ended, and takes nobody along. Children are reused, so most work costs no process start.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import wait
from pathlib import Path
from typing import Generic, TypeVar

CLOCK = 6.0
"""Elapsed seconds that a child may take for each CPU second of its limit: other work may occupy the
CPUs."""
_START_S = 120.0  # imports are slow on a loaded machine


class ChildProcess:
    """A running module that serves a socket; its argument is the socket's descriptor. It sends
    something when it is ready, and limits its own CPU time with ITIMER_PROF. Not thread-safe."""

    def __init__(self, module: str) -> None:
        """Raises RuntimeError if the module does not start."""
        self.socket, theirs = socket.socketpair()
        paths = [path or str(Path.cwd()) for path in sys.path]
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, str(theirs.fileno())],
                # The work uses one thread; a thread pool's memory would only inflate the baseline.
                env=os.environ
                | {"PYTHONPATH": os.pathsep.join(paths), "OPENBLAS_NUM_THREADS": "1"},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # libraries may quote the content there
                # Ctrl-C is handled by the parent, which finishes work in progress.
                start_new_session=True,
            )
        if not wait([self.socket], _START_S):
            self.kill()
            raise RuntimeError(f"{module} did not start within {_START_S:g} s")
        # A child that failed to start has closed its end, and reading would find no byte.
        if not self.socket.recv(1, socket.MSG_PEEK):
            self.kill()
            raise RuntimeError(f"{module} failed to start")

    @property
    def reusable(self) -> bool:
        """True if the process is alive."""
        return self._process.poll() is None

    def memory(self) -> int:
        """Bytes of main memory that the process uses; 0 if the system does not report it."""
        try:
            fields = Path(f"/proc/{self._process.pid}/statm").read_text().split()
            return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError, IndexError):  # not on macOS
            return 0

    def exit_code(self) -> int:
        """Wait for the end of the process: its exit code, negative for a signal."""
        return self._process.wait()

    def ran_out_of_time(self) -> bool:
        """Wait for the end of the process: True if it exceeded its CPU time."""
        return self.exit_code() == -signal.SIGPROF

    def kill(self) -> None:
        """Kill the process; its work in progress is lost."""
        self._process.kill()
        self._process.wait()
        self.socket.close()


_Child = TypeVar("_Child", bound=ChildProcess)


class ChildPool(Generic[_Child]):
    """Idle child processes of one kind, killed when this process exits."""

    def __init__(self, start: Callable[[], _Child]) -> None:
        self._start = start
        self._idle: list[_Child] = []
        self._lock = threading.Lock()
        atexit.register(self.end)

    def take(self) -> _Child:
        """Return an idle child, or start a new one."""
        while True:
            with self._lock:
                child = self._idle.pop() if self._idle else None
            if child is None:
                return self._start()
            if child.reusable:
                return child
            child.kill()

    def give_back(self, child: _Child) -> None:
        """Keep a child for reuse if it is reusable."""
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
