"""Leases: they keep two processes from doing the same work at once.

A lease is a numbered object, made with a put that fails where the object exists; the highest
number holds until the time written in it. It is advisory: it does not fence a process that was
paused past its expiry, and no commit rests on it (see ``pipelines.tables.commit``). Without it, or
on a store that gives it to everybody, work may be done twice; no row is.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Any

from pipelines.tables.folder import RunError, SinkFolder

_SECONDS = 60.0
_BOOT = "/proc/sys/kernel/random/boot_id"


class LeaseHeldError(RunError):
    """Another process holds the lease; the message says which, and until when."""


class Lease:
    """A context manager: held inside, renewed by a thread, given up at the end.

    ``seconds``: how long a process that died without a word keeps others out. On its own machine
    it keeps them out no longer than it lives.
    """

    def __init__(self, folder: SinkFolder, name: str, seconds: float = _SECONDS) -> None:
        self._files = folder
        self._name = name
        self._folder = f"_leases/{name}"
        self._seconds = seconds
        self._token = secrets.token_hex(8)
        self._number = 0
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Lease:
        """Raises LeaseHeldError where another process holds it."""
        numbers = self._numbers()
        if numbers:
            holder = self._read(numbers[-1])
            if _alive(holder):
                raise LeaseHeldError(
                    f"{self._files.path}: {self._name} is held by process {holder['pid']} on "
                    f"{holder['host']} for {holder['until'] - time.time():.0f} s or more"
                )
        self._number = (numbers[-1] if numbers else 0) + 1
        # A put that was answered with an error may have been done: what stands there decides.
        if not self._files.create(self._object(self._number), self._content()) and (
            self._read(self._number).get("token") != self._token
        ):
            raise LeaseHeldError(
                f"{self._files.path}: {self._name} was just taken by another process"
            )
        if not self.held():
            # What was listed was old: the number had been given out and removed, and higher ones
            # are there.
            self._files.remove(self._object(self._number))
            raise LeaseHeldError(
                f"{self._files.path}: {self._name} was taken by another process in the meantime"
            )
        for number in numbers:
            self._files.remove(self._object(number))
        self._ended.clear()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        _given_back.add(self._token)
        # A store that is away must not hide how the work ended: the lease then runs out by itself.
        with suppress(OSError):
            if self.held():
                # Not removed: the next number must be higher than any that was given out.
                self._files.write(self._object(self._number), self._content(until=0.0))

    def held(self) -> bool:
        """True if nobody has taken it over."""
        return self._numbers()[-1:] == [self._number]

    def _renew(self) -> None:
        while not self._ended.wait(self._seconds / 4):
            try:
                if not self.held():
                    return
                self._files.write(self._object(self._number), self._content())
            except OSError:
                continue  # the store is away for a moment: the next turn renews

    def _numbers(self) -> list[int]:
        return sorted(int(name) for name in self._files.names(self._folder) if name.isdigit())

    def _object(self, number: int) -> str:
        return f"{self._folder}/{number:010d}"

    def _read(self, number: int) -> dict[str, Any]:
        content = self._files.read(self._object(number))
        return json.loads(content) if content else {"until": 0.0}

    def _content(self, until: float | None = None) -> bytes:
        facts = {
            "token": self._token,
            "host": socket.gethostname(),
            "boot": _boot(),
            "pid": os.getpid(),
            "until": time.time() + self._seconds if until is None else until,
        }
        return json.dumps(facts).encode()


_given_back: set[str] = set()
"""Tokens that this process no longer holds, also where a full disk kept it from writing so."""


def _alive(holder: dict[str, Any]) -> bool:
    if holder["until"] < time.time() or holder.get("token") in _given_back:
        return False
    if (holder.get("host"), holder.get("boot")) != (socket.gethostname(), _boot()):
        return True
    try:
        os.kill(holder["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _boot() -> str:
    try:
        with open(_BOOT) as file:  # noqa: PTH123
            return file.read().strip()
    except OSError:
        return ""
