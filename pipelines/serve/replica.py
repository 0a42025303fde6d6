"""A Serve replica: one Extractor, or the reader of pictures, and a health that means it."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import aclosing, contextmanager
from typing import Any

import ray
from ray import serve

from actors.config import ModelConfig
from actors.config.ocr import OcrModel
from actors.extractor import Extractor, Share
from actors.guideline import Guideline
from actors.pages import Limits, PixelBudget, Reading
from actors.spans import Document, Extraction, Failure
from pipelines.serve.health import Health, Settings
from pipelines.serve.logs import log_with_serve
from pipelines.serve.probing import PROBE_PIXELS, picture_probe, probe_of, read_well, says_well
from pipelines.serve.service import Event, ModelFacts, facts_of, gather, heard, submitted
from pipelines.serve.sheets import sheets
from pipelines.storage import Storage
from pipelines.worker.vitals import Held, Vitals

log = logging.getLogger("ray.serve")


class Replica:
    """Hosts one model, loaded by the constructor: Serve sends nothing here before it is there."""

    def __init__(
        self, config: ModelConfig, settings: Settings, storage: Storage | None = None
    ) -> None:
        log_with_serve()
        (storage or Storage()).apply()  # the weights may be on an object store
        began, threads, gpu = time.monotonic(), *_share()
        share = Share(threads, gpu, settings.cpu_fallback)
        self._extractor = Extractor(config, share, self._moved)
        self._facts = facts_of(config, self._extractor.fingerprint)
        self._vitals = Vitals(config.name, gpu, _names(config.name))
        self._health = Health(config.name, settings, self._vitals, probe=self._probe)
        log.info("model %s has fingerprint %s", config.name, self._facts.fingerprint)
        self._vitals.born(round(time.monotonic() - began, 3), self._extractor.took)

    async def extract(
        self, documents: Sequence[Document], guideline: Guideline | None = None
    ) -> list[Extraction]:
        """The documents' Extractions, in order. A model that is lost ends the process."""
        with self._lost_is_the_end(), self._health.watch.work():
            futures = await submitted(
                self._extractor, documents, guideline, lambda _: self._printed
            )
            for future in futures:
                future.add_done_callback(self._answered)
            found = await gather(futures)
        self._vitals.did(len(documents))
        return found

    async def stream(
        self, documents: Sequence[Document], guideline: Guideline | None = None
    ) -> AsyncGenerator[list[Event]]:
        """The same as it comes; whatever is printed is a sign of life."""
        with self._lost_is_the_end(), self._health.watch.work():
            async with aclosing(heard(self._extractor, documents, guideline)) as batches:
                async for batch in batches:
                    self._health.watch.moved()
                    yield batch
        self._vitals.did(len(documents))

    @contextmanager
    def _lost_is_the_end(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            # The Extractor turns a document's failure into data: what comes here is a lost model.
            # Ending the process makes Serve start another; the caller tries again there.
            log.critical("model %s is lost: %s", self._facts.name, type(error).__name__)
            os._exit(1)

    def _moved(self) -> None:
        self._health.watch.moved()

    def _printed(self, window: int, text: str) -> None:
        self._moved()

    def _answered(self, future: Future[Extraction]) -> None:
        if not future.cancelled() and future.exception() is None:
            self._health.watch.moved()

    async def facts(self) -> ModelFacts:
        """What is known of the model."""
        return self._facts

    async def held(self) -> Held:
        """What this process holds."""
        return self._vitals.held()

    async def _probe(self) -> bool:
        return await says_well(self.stream([probe_of(self._facts)]))

    async def check_health(self) -> None:
        """Called by Serve; see Health."""
        self._health.check()

    async def reconfigure(self, user_config: dict[str, Any] | None, rank: Any) -> None:
        """Called by Serve with the settings of its config file. Without the rank it would not be
        called where the config file names none any more. Raises ConfigError."""
        self._health.change(user_config)


class PictureReplica:
    """Hosts the reader of pictures."""

    def __init__(
        self, config: OcrModel, settings: Settings, storage: Storage | None = None
    ) -> None:
        # Imported here: only a process that reads pictures pays for the library.
        from actors.ocr import OcrReader

        log_with_serve()
        (storage or Storage()).apply()
        began, threads, gpu = time.monotonic(), *_share()
        self._reader = OcrReader(config, threads, gpu, self._moved, settings.cpu_fallback)
        self._vitals = Vitals(config.name, gpu, _names(config.name))
        self._health = Health(config.name, settings, self._vitals, probe=self._probe)
        self._vitals.born(round(time.monotonic() - began, 3), self._reader.took)

    async def read(self, documents: Sequence[Document], pixels: int) -> list[Reading | Failure]:
        """The documents' texts, in order. A reader that is lost ends the process."""
        budget = PixelBudget(pixels)
        try:
            with self._health.watch.work():
                futures = [self._reader.submit(one, budget) for one in documents]
                for future in futures:
                    future.add_done_callback(self._answered)
                found = await gather(futures)
        except Exception as error:
            log.critical("the reader of pictures is lost: %s", type(error).__name__)
            os._exit(1)
        self._vitals.did(len(documents))
        return found

    def _moved(self) -> None:
        self._health.watch.moved()

    def _answered(self, future: Future[Reading | Failure]) -> None:
        if not future.cancelled() and future.exception() is None:
            self._health.watch.moved()

    async def _probe(self) -> bool:
        return read_well(await self.read([picture_probe()], PROBE_PIXELS))

    async def sheets(self, document: Document) -> list[bytes]:
        """The document's first pages as small pictures."""
        return await asyncio.to_thread(sheets, document, Limits.of(self._reader.config.pages))

    async def check_health(self) -> None:
        """Called by Serve; see Health."""
        self._health.check()

    async def reconfigure(self, user_config: dict[str, Any] | None, rank: Any) -> None:
        """As of Replica."""
        self._health.change(user_config)


def _share() -> tuple[int, float]:
    """The threads and the fraction of a card that Ray gave this replica: a Serve config file may
    have others than the pipeline file."""
    given = ray.get_runtime_context().get_assigned_resources()
    return max(1, int(given.get("CPU", 0.0))), float(given.get("GPU", 0.0))


def _names(model: str) -> dict[str, str]:
    return {"model": model, "replica": serve.get_replica_context().replica_id.unique_id}
