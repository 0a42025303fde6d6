"""The health of a replica: whether its work moves, whether its model answers, whether its time is
over."""

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

from actors.config import Section
from actors.config.load import validate
from pipelines.worker.vitals import Lifespan, Vitals

log = logging.getLogger("ray.serve")

_IDLE_S = 20.0
# Replicas that share the load would all come to their end at once: each lives up to so much longer.
_LONGER = 1.25


class Settings(Section):
    """What of a replica can change while it runs: ``user_config`` in a Serve config file."""

    wedged_s: float = Field(gt=0)
    recycle_documents: int | None = Field(None, ge=1)
    recycle_growth_mb: float | None = Field(None, gt=0)
    cpu_fallback: bool = Field(False, description="Read when the replica begins.")

    def changed(self, changes: dict[str, Any] | None) -> Settings:
        """These settings with some changed. Raises ConfigError, which names the key."""
        content = self.model_dump() | (changes or {})
        return validate(TypeAdapter(Settings), content, Path("user_config"))


class Watch:
    """Whether work moves: what is under way, and for how long none of it has moved."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._under_way = 0
        self._stood = 0.0  # seconds with work before it was last begun, since a sign of life
        self._since = self._last = clock()

    @contextmanager
    def work(self) -> Iterator[None]:
        """For the duration of a call; ending well is a sign of life. That somebody gave up is none:
        a model that hangs would otherwise look alive as long as all who ask have short patience."""
        if not self._under_way:
            self._since = self._clock()
        self._under_way += 1
        try:
            yield
            self.moved()
        finally:
            self._under_way -= 1
            self._last = self._clock()
            if not self._under_way:
                self._stood += self._last - self._since

    def moved(self) -> None:
        """A sign of life."""
        self._stood = 0.0
        self._since = self._last = self._clock()

    @property
    def busy(self) -> bool:
        """Whether anything is under way."""
        return self._under_way > 0

    @property
    def still(self) -> float:
        """Seconds with work under way since the last sign of life; time without does not count."""
        return self._stood + (self._clock() - self._since if self.busy else 0.0)

    @property
    def idle(self) -> float:
        """Seconds since there was anything to do, or a sign of life."""
        return 0.0 if self.busy else self._clock() - self._last


class Health:
    """What ``check_health`` of a replica says."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        vitals: Vitals,
        watch: Watch | None = None,
        probe: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        """``probe``: whether the model says anything sensible of a document; it counts as work."""
        self._name, self._base, self._vitals, self._probe = name, settings, vitals, probe
        self.watch = watch or Watch()
        self._longer = random.uniform(1.0, _LONGER)
        self._probing: asyncio.Future[bool] | None = None
        self._unwell = False
        self._settings = settings
        self.change(None)

    def change(self, changes: dict[str, Any] | None) -> None:
        """Have the settings be those at the beginning with some changed. Raises ConfigError."""
        self._settings = now = self._base.changed(changes)
        documents, growth = now.recycle_documents, now.recycle_growth_mb
        self._vitals.lifespan = Lifespan(
            None if documents is None else int(documents * self._longer),
            None if growth is None else growth * self._longer,
        )

    def check(self) -> None:
        """Raises where Serve is to replace the replica, after what is under way is done. Where
        nothing will ever be done the process ends: Serve would wait for it to finish its work.
        """
        watch = self.watch
        if watch.still > self._settings.wedged_s:
            log.critical("%s: nothing has moved for %.0f s of work", self._name, watch.still)
            os._exit(1)
        self._vitals.look()
        if self._vitals.over:
            held = self._vitals.held()
            raise RuntimeError(
                f"{self._name} has done {held.documents} documents and grown by "
                f"{held.grown_mb:g} MB: its time is over, and another takes its place"
            )
        self._check_probe()

    def _check_probe(self) -> None:
        # Not awaited: it may take as long as any work, and is watched as such.
        if self._probe is None:
            return
        done = self._probing
        if done is not None and done.done():
            self._probing = None
            self._unwell = done.cancelled() or done.exception() is not None or not done.result()
        if self._probing is None and (self._unwell or self.watch.idle >= _IDLE_S):
            self._probing = asyncio.ensure_future(self._probe())
        if self._unwell:  # until a probe goes well: Serve waits for three failures in a row
            raise RuntimeError(f"{self._name}: the probe document failed")
