"""A Serve replica: one Extractor, and a health that means it."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager

from actors.config import ModelConfig
from actors.config.ocr import OcrModel
from actors.extractor import Extractor, Share
from actors.guideline import Guideline
from actors.pages import Limits, PixelBudget, Reading
from actors.spans import Document, Extraction, Failure, Status
from pipelines.serve.service import PROBE, Event, ModelFacts, facts_of, gather, heard
from pipelines.serve.sheets import sheets

log = logging.getLogger("ray.serve")

_IDLE_S = 20.0
_PROBE_S = 20.0


class Watch:
    """Whether work moves: what is under way, and when something was last finished."""

    def __init__(self, wedged_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._wedged_s, self._clock = wedged_s, clock
        self._under_way = 0
        self._moved = clock()

    @contextmanager
    def work(self) -> Iterator[None]:
        """For the duration of a call; ending well is a sign of life."""
        if not self._under_way:
            self._moved = self._clock()  # time without work does not count
        self._under_way += 1
        try:
            yield
            self.moved()
        finally:
            self._under_way -= 1

    def moved(self) -> None:
        """A sign of life."""
        self._moved = self._clock()

    @property
    def busy(self) -> bool:
        """Whether anything is under way."""
        return self._under_way > 0

    @property
    def still(self) -> float:
        """Seconds since the last sign of life."""
        return self._clock() - self._moved

    @property
    def wedged(self) -> bool:
        """Whether there is work and none of it has ended for too long."""
        return self.busy and self.still > self._wedged_s


class Replica:
    """Hosts one model, loaded by the constructor: Serve sends nothing here before it is there."""

    def __init__(self, config: ModelConfig, threads: int, gpu: float, wedged_s: float) -> None:
        self._extractor = Extractor(config, Share(threads=threads, gpu=gpu))
        self._facts = facts_of(config, self._extractor.fingerprint)
        self._watch = Watch(wedged_s)
        log.info("model %s has fingerprint %s", config.name, self._facts.fingerprint)
        log.info("model %s took, in bytes: %s", config.name, dict(self._extractor.took))

    async def extract(
        self, documents: Sequence[Document], guideline: Guideline | None = None
    ) -> list[Extraction]:
        """The documents' Extractions, in order. A model that is lost ends the process."""
        submit = self._extractor.submit
        with self._lost_is_the_end(), self._watch.work():
            return await gather([submit(document, guideline) for document in documents])

    async def stream(
        self, documents: Sequence[Document], guideline: Guideline | None = None
    ) -> AsyncGenerator[list[Event]]:
        """The same as it comes; whatever is printed is a sign of life."""
        with self._lost_is_the_end(), self._watch.work():
            async with aclosing(heard(self._extractor, documents, guideline)) as batches:
                async for batch in batches:
                    self._watch.moved()
                    yield batch

    @contextmanager
    def _lost_is_the_end(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            # The Extractor turns a document's failure into data: what comes here is a lost model.
            # Ending the process makes Serve start another; the caller tries again there.
            log.critical("model %s is lost: %s", self._facts.name, type(error).__name__)
            os._exit(1)

    async def facts(self) -> ModelFacts:
        """What is known of the model."""
        return self._facts

    async def check_health(self) -> None:
        """Called by Serve: raises where the model is wedged, so that the replica is replaced.

        Work that ends is proof enough; an idle model reads a probe document.
        """
        if self._watch.wedged:
            raise RuntimeError(f"no document was finished for {self._watch.still:.0f} s")
        if self._watch.busy or self._watch.still < _IDLE_S:
            return
        async with asyncio.timeout(_PROBE_S):
            [extraction] = await self.extract([PROBE])
        if extraction.status is Status.FAILED:
            raise RuntimeError("the probe document failed")


class PictureReplica:
    """Hosts the reader of pictures."""

    def __init__(self, config: OcrModel, threads: int, gpu: float, wedged_s: float) -> None:
        # Imported here: only a process that reads pictures pays for the library.
        from actors.ocr import OcrReader

        self._reader = OcrReader(config, threads=threads, gpu=gpu)
        self._watch = Watch(wedged_s)

    async def read(self, documents: Sequence[Document], pixels: int) -> list[Reading | Failure]:
        """The documents' texts, in order. A reader that is lost ends the process."""
        budget = PixelBudget(pixels)
        try:
            with self._watch.work():
                return await gather([self._reader.submit(one, budget) for one in documents])
        except Exception as error:
            log.critical("the reader of pictures is lost: %s", type(error).__name__)
            os._exit(1)

    async def sheets(self, document: Document) -> list[bytes]:
        """The document's first pages as small pictures."""
        return await asyncio.to_thread(sheets, document, Limits.of(self._reader.config.pages))

    async def check_health(self) -> None:
        """Called by Serve: raises where the reader is wedged, so that the replica is replaced."""
        if self._watch.wedged:
            raise RuntimeError(f"no picture was read for {self._watch.still:.0f} s")
