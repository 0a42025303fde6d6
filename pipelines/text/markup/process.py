"""Markup parsed in a process that can be ended.

Parsers have inputs that take them quadratic time: an element with 40,000 attributes, 0.7 MB of
HTML, takes half a minute, and nothing in the same process can stop C code. A text of at most
100,000 characters cannot take more than about a second and is parsed here; a larger one goes to a
child process, which is reused until it runs out of time.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path

from pipelines.text.errors import BadMarkupError
from pipelines.text.markup.detect import Markup, kind_of
from pipelines.text.markup.lines import Visible
from pipelines.text.markup.parse import parsed

SMALL = 100_000
"""Characters of the longest text that is parsed in this process."""
MARKUP_SECONDS = 20.0
"""CPU seconds that a text may take, unless the user says otherwise."""
_START_S = 120.0  # imports are slow on a loaded machine
_CLOCK = 6.0  # wall-clock seconds per CPU second of the limit: other work may occupy the CPUs


def visible_text(
    text: str, markup: Markup | str = "auto", seconds: float = MARKUP_SECONDS
) -> Visible:
    """What a reader would see of a text of this markup; a plain one as it is, with ``auto``.

    Raises BadMarkupError where it is not of the kind that it should be, or beyond the limits:
    ``seconds`` of CPU time, and the depth that ``parsed`` allows.
    """
    kind = kind_of(text) if markup == "auto" else markup
    if kind is None or kind == "none":
        return Visible(text)
    if len(text) <= SMALL:
        return parsed(text, kind)
    child = _CHILDREN.take()
    try:
        return child.parsed(text, kind, seconds)
    finally:
        _CHILDREN.give_back(child)


class _Child:
    """A running ``pipelines.text.markup.child``. Not thread-safe."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        paths = [path or str(Path.cwd()) for path in sys.path]
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "pipelines.text.markup.child", str(theirs.fileno())],
                env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # parsers may quote the text there
                start_new_session=True,  # Ctrl-C is the parent's
            )
        self._answers = Connection(ours.detach())
        try:
            ready = self._answers.poll(_START_S) and self._answers.recv()
        except EOFError:
            ready = False
        if not ready:
            self.kill()
            raise RuntimeError("the process that parses markup failed to start")

    @property
    def reusable(self) -> bool:
        return self._process.poll() is None

    def parsed(self, text: str, kind: str, seconds: float) -> Visible:
        """Raises BadMarkupError; after one for its time or a crash the process is gone."""
        try:
            self._answers.send((text, kind, seconds))
            answer: Visible | BadMarkupError | None = (
                self._answers.recv() if self._answers.poll(_CLOCK * seconds) else None
            )
        except (EOFError, OSError):
            ended = -self._process.wait()
            if ended != signal.SIGPROF:
                raise BadMarkupError("it ended the process that parsed it") from None
            answer = None
        if answer is None:
            self.kill()
            raise BadMarkupError(f"it takes more than {seconds:g} s of CPU time to parse")
        if isinstance(answer, BadMarkupError):
            raise answer
        return answer

    def kill(self) -> None:
        """Kill the process; its work in progress is lost."""
        self._process.kill()
        self._process.wait()
        self._answers.close()


class _Children:
    """Idle child processes."""

    def __init__(self) -> None:
        self._idle: list[_Child] = []
        self._lock = threading.Lock()

    def take(self) -> _Child:
        """An idle child, or a new one."""
        with self._lock:
            child = self._idle.pop() if self._idle else None
        return child if child is not None and child.reusable else _Child()

    def give_back(self, child: _Child) -> None:
        """Keep a child that is alive."""
        if not child.reusable:
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
