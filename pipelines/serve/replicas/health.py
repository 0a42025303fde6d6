"""Replica health: progress of its work, a probe of its model, and recycling limits."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import Field, TypeAdapter

from actors.config import ConfigSection
from actors.config.load import validate
from pipelines.worker.process_health import ProcessHealth, RecycleLimits

log = logging.getLogger("ray.serve")

_IDLE_S = 20.0
# Replicas that share the load would all recycle at once, so limits vary up to this factor.
_JITTER = 1.25


class Settings(ConfigSection):
    """Settings of a running replica: ``user_config`` in a Serve config file."""

    stall_timeout_s: float = Field(gt=0)
    recycle_documents: int | None = Field(None, ge=1)
    recycle_growth_mb: float | None = Field(None, gt=0)
    cpu_fallback: bool = Field(False, description="Only read when the replica starts.")

    def changed(self, changes: dict[str, Any] | None) -> Settings:
        """These settings with some changed. Raises ConfigError, which names the key."""
        content = self.model_dump() | (changes or {})
        return validate(TypeAdapter(Settings), content, Path("user_config"))


class Watch:
    """Tracks work in flight and the time since it last made progress."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._in_flight = 0
        self._stalled_before = 0.0  # seconds without progress before the current spell of work
        self._since = self._last = clock()

    @contextmanager
    def work(self) -> Iterator[None]:
        """Track one call. Only success counts as progress: if cancelled calls did, a hung model
        would look alive to clients with short timeouts."""
        if not self._in_flight:
            self._since = self._clock()
        self._in_flight += 1
        try:
            yield
            self.on_progress()
        finally:
            self._in_flight -= 1
            self._last = self._clock()
            if not self._in_flight:
                self._stalled_before += self._last - self._since

    def on_progress(self) -> None:
        """Record progress."""
        self._stalled_before = 0.0
        self._since = self._last = self._clock()

    @property
    def busy(self) -> bool:
        """True if work is in flight."""
        return self._in_flight > 0

    @property
    def still(self) -> float:
        """Seconds without progress while work was in flight; idle time does not count."""
        return self._stalled_before + (self._clock() - self._since if self.busy else 0.0)

    @property
    def idle(self) -> float:
        """Seconds since the last work or progress."""
        return 0.0 if self.busy else self._clock() - self._last


class HealthCheck:
    """Implements ``check_health`` of a replica."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        vitals: ProcessHealth,
        watch: Watch | None = None,
        probe: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        """``probe`` returns True if the model processes a test document; it counts as work."""
        self._name, self._base, self._vitals, self._probe = name, settings, vitals, probe
        self.watch = watch or Watch()
        self._jitter = random.uniform(1.0, _JITTER)
        self._probing: asyncio.Future[bool] | None = None
        self._probe_failed = False
        self._settings = settings
        self.change(None)

    def change(self, changes: dict[str, Any] | None) -> None:
        """Apply changes to the initial settings. Raises ConfigError."""
        self._settings = now = self._base.changed(changes)
        documents, growth = now.recycle_documents, now.recycle_growth_mb
        self._vitals.lifespan = RecycleLimits(
            None if documents is None else int(documents * self._jitter),
            None if growth is None else growth * self._jitter,
        )

    def check(self) -> None:
        """Raise if Serve should replace the replica, after draining its work.

        A stalled replica exits instead, because Serve would wait for its work to finish.
        """
        watch = self.watch
        if watch.still > self._settings.stall_timeout_s:
            log.critical("%s: no progress for %.0f s with work in flight", self._name, watch.still)
            os._exit(1)
        self._vitals.check_memory()
        if self._vitals.limit_reached:
            held = self._vitals.held()
            raise RuntimeError(
                f"{self._name}: recycling this replica after {held.documents} documents and "
                f"{held.grown_mb:g} MB of memory growth"
            )
        self._check_probe()

    def _check_probe(self) -> None:
        # Not awaited: the probe may take as long as any work, and the watch covers it.
        if self._probe is None:
            return
        done = self._probing
        if done is not None and done.done():
            self._probing = None
            self._probe_failed = (
                done.cancelled() or done.exception() is not None or not done.result()
            )
        if self._probing is None and (self._probe_failed or self.watch.idle >= _IDLE_S):
            self._probing = asyncio.ensure_future(self._probe())
        if self._probe_failed:  # until a probe passes: Serve waits for three failures in a row
            raise RuntimeError(f"{self._name}: the probe document failed")
