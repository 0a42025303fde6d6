"""Memory of a model process: its GPU share, and the limits at which it is recycled."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from actors.memory import gpu_memory, gpu_memory_used, main_memory_used
from pipelines.worker.events import count_breach, log_event

_MB = 1e6
_WORSE = 1.1  # a breach is logged again when it has grown by this factor


@dataclass(frozen=True, slots=True)
class RecycleLimits:
    """Limits at which a process is recycled: documents processed, or MB of memory growth."""

    documents: int | None = None
    growth_mb: float | None = None


NO_RECYCLING = RecycleLimits()


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """Memory use of a process in MB (10^6 bytes), and the documents it processed.

    ``gpu_mb``: GPU memory as reported by the driver; ``share_mb``: its share of the GPU. Both are
    None without a GPU, or if the driver does not report it. ``breaches``: how often the process was
    found above its share, or a tenth above the last breach.
    """

    documents: int
    memory_mb: float
    grown_mb: float
    gpu_mb: float | None
    share_mb: float | None
    breaches: int


class ProcessHealth:
    """Tracks one process. ``names`` appear in its log lines: run and stage, or the replica."""

    def __init__(
        self,
        model: str,
        gpu: float,
        names: Mapping[str, Any],
        lifespan: RecycleLimits = NO_RECYCLING,
    ) -> None:
        """``gpu``: the GPU share of the process, 0 for none."""
        self._model, self._gpu, self._names = model, gpu, dict(names)
        self.lifespan = lifespan
        self.documents = 0
        self.breaches = 0
        self.over_share = False
        """True if the last check found the process above its GPU share."""
        self._worst = 0
        self._baseline: int | None = None
        total = gpu_memory() if gpu else None
        self._share = None if total is None else int(total * gpu)

    def log_loaded(self, seconds: float, memory_used: Mapping[str, int]) -> None:
        """Log the memory of the loaded model: its own figures and the driver's."""
        used = gpu_memory_used() if self._gpu else None
        log_event(
            "model loaded",
            **self._names,
            seconds=seconds,
            took_mb={name: round(size / _MB, 1) for name, size in memory_used.items()},
            memory_mb=round(main_memory_used() / _MB, 1),
            gpu_mb=_mb(used),
            share_mb=_mb(self._share),
        )
        self._watch_share(used)

    def record(self, documents: int) -> None:
        """Record processed documents."""
        self.documents += documents
        if self._baseline is None:  # the first documents fill caches, which is not a leak
            self._baseline = main_memory_used()

    def check_memory(self) -> None:
        """Check the process's GPU memory and log if it exceeds the share."""
        if self._gpu:
            self._watch_share(gpu_memory_used())

    @property
    def grown_mb(self) -> float:
        """Growth of main memory since the first documents, in MB."""
        return 0.0 if self._baseline is None else (main_memory_used() - self._baseline) / _MB

    @property
    def limit_reached(self) -> bool:
        """True if a recycling limit is reached."""
        documents, growth = self.lifespan.documents, self.lifespan.growth_mb
        if documents is not None and self.documents >= documents:
            return True
        return growth is not None and self.grown_mb > growth

    def held(self) -> ProcessMemory:
        """Current memory use."""
        return ProcessMemory(
            documents=self.documents,
            memory_mb=round(main_memory_used() / _MB, 1),
            grown_mb=round(self.grown_mb, 1),
            gpu_mb=_mb(gpu_memory_used() if self._gpu else None),
            share_mb=_mb(self._share),
            breaches=self.breaches,
        )

    def log_exit(self, event: str) -> None:
        """Log that the process exits, with its totals."""
        log_event(event, **self._names, documents=self.documents, grown_mb=round(self.grown_mb, 1))

    def _watch_share(self, used: int | None) -> None:
        self.over_share = used is not None and self._share is not None and used > self._share
        if not self.over_share or used is None:
            self._worst = 0
            return
        if used < self._worst * _WORSE:
            return  # already logged
        self._worst = used
        self.breaches += 1
        count_breach(self._model)
        log_event(
            "GPU share exceeded",
            logging.WARNING,
            **self._names,
            gpu_mb=_mb(used),
            share_mb=_mb(self._share),
        )


def _mb(size: int | None) -> float | None:
    return None if size is None else round(size / _MB, 1)
