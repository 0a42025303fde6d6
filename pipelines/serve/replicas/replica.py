"""A Serve replica: one Extractor or OcrReader, with a meaningful health check."""

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
from actors.pages import DecodeLimits
from actors.spans import Document, Extraction
from pipelines.config.traces import Traces
from pipelines.serve.answering.models import (
    Event,
    ModelFacts,
    OcrEvent,
    facts_of,
    gather,
    stream_events,
    stream_pages,
    submit_all,
)
from pipelines.serve.answering.page_images import sheets
from pipelines.serve.http.readiness import (
    PROBE_PIXELS,
    answers_probe,
    picture_probe,
    probe_of,
    reads_probe,
)
from pipelines.serve.replicas.health import HealthCheck, Settings
from pipelines.serve.replicas.logs import log_with_serve
from pipelines.storage import Storage
from pipelines.worker.process_health import ProcessHealth, ProcessMemory
from pipelines.worker.traces import TraceContext, Tracer

log = logging.getLogger("ray.serve")


class Replica:
    """Hosts one model. The constructor loads it, so Serve routes requests only afterwards."""

    def __init__(
        self,
        config: ModelConfig,
        settings: Settings,
        storage: Storage | None = None,
        traces: Traces | None = None,
    ) -> None:
        log_with_serve()
        self._tracer = Tracer(traces)
        (storage or Storage()).apply()  # the weights may be in an object store
        began, threads, gpu = time.monotonic(), *_share()
        share = Share(threads, gpu, settings.cpu_fallback)
        self._extractor = Extractor(config, share, self._on_progress)
        self._facts = facts_of(config, self._extractor.fingerprint)
        self._vitals = ProcessHealth(config.name, gpu, _names(config.name))
        self._health = HealthCheck(config.name, settings, self._vitals, probe=self._probe)
        log.info("model %s has fingerprint %s", config.name, self._facts.fingerprint)
        self._vitals.log_loaded(round(time.monotonic() - began, 3), self._extractor.memory_used)

    async def extract(
        self,
        documents: Sequence[Document],
        guideline: Guideline | None = None,
        trace: TraceContext | None = None,
    ) -> list[Extraction]:
        """The documents' Extractions, in order. Exits the process if the model is lost. ``trace``:
        of the request."""
        name = self._facts.name
        with (
            self._tracer.span("replica", trace, "server", model=name, documents=len(documents)),
            self._exit_if_model_lost(),
            self._health.watch.work(),
        ):
            futures = await submit_all(
                self._extractor, documents, guideline, lambda _: self._on_text
            )
            for future in futures:
                future.add_done_callback(self._on_done)
            with self._tracer.span("model", model=name) as span:
                found = await gather(futures)
                span.set(**_usage(found))
        self._vitals.record(len(documents))
        return found

    async def stream(
        self,
        documents: Sequence[Document],
        guideline: Guideline | None = None,
        trace: TraceContext | None = None,
    ) -> AsyncGenerator[list[Event]]:
        """Stream the events; every batch of events counts as progress. ``trace``: of the
        request."""
        name = self._facts.name
        events = self._tracer.over(
            lambda _: stream_events(self._extractor, documents, guideline),
            "replica",
            trace,
            "server",
            model=name,
            documents=len(documents),
        )
        with self._exit_if_model_lost(), self._health.watch.work():
            async with aclosing(events) as batches:
                async for batch in batches:
                    self._health.watch.on_progress()
                    yield batch
        self._vitals.record(len(documents))

    @contextmanager
    def _exit_if_model_lost(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            # The Extractor returns a document's failure as data, so an exception is a lost model.
            # Exiting makes Serve start a new replica; the caller retries there.
            log.critical("model %s is lost: %s", self._facts.name, type(error).__name__)
            os._exit(1)

    def _on_progress(self) -> None:
        self._health.watch.on_progress()

    def _on_text(self, window: int, text: str) -> None:
        self._on_progress()

    def _on_done(self, future: Future[Extraction]) -> None:
        if not future.cancelled() and future.exception() is None:
            self._health.watch.on_progress()

    async def facts(self) -> ModelFacts:
        """Facts about the loaded model."""
        return self._facts

    async def held(self) -> ProcessMemory:
        """Memory use of this process."""
        return self._vitals.held()

    async def _probe(self) -> bool:
        return await answers_probe(self.stream([probe_of(self._facts)]))

    async def check_health(self) -> None:
        """Called by Serve; see HealthCheck."""
        self._health.check()

    async def reconfigure(self, user_config: dict[str, Any] | None, rank: Any) -> None:
        """Called by Serve with the ``user_config`` of its config file. Without the ``rank``
        parameter Serve would not call it when the file has none. Raises ConfigError."""
        self._health.change(user_config)


class PictureReplica:
    """Hosts the OCR stage."""

    def __init__(
        self,
        config: OcrModel,
        settings: Settings,
        storage: Storage | None = None,
        traces: Traces | None = None,
    ) -> None:
        # Imported here, so that only OCR processes load the library.
        from actors.ocr import OcrReader

        log_with_serve()
        self._tracer = Tracer(traces)
        (storage or Storage()).apply()
        began, threads, gpu = time.monotonic(), *_share()
        self._reader = OcrReader(config, threads, gpu, self._on_progress, settings.cpu_fallback)
        self._vitals = ProcessHealth(config.name, gpu, _names(config.name))
        self._health = HealthCheck(config.name, settings, self._vitals, probe=self._probe)
        self._vitals.log_loaded(round(time.monotonic() - began, 3), self._reader.memory_used)

    async def read(
        self, documents: Sequence[Document], pixels: int, trace: TraceContext | None = None
    ) -> AsyncGenerator[list[OcrEvent]]:
        """Stream the events of OCR. Exits the process if the reader is lost. ``trace``: of the
        request."""
        events = self._tracer.over(
            lambda _: stream_pages(self._reader, documents, pixels),
            "replica",
            trace,
            "server",
            model=self._reader.config.name,
            documents=len(documents),
        )
        try:
            with self._health.watch.work():
                async with aclosing(events) as batches:
                    async for batch in batches:
                        self._health.watch.on_progress()
                        yield batch
        except Exception as error:
            log.critical("the OCR reader is lost: %s", type(error).__name__)
            os._exit(1)
        self._vitals.record(len(documents))

    def _on_progress(self) -> None:
        self._health.watch.on_progress()

    async def _probe(self) -> bool:
        return await reads_probe(self.read([picture_probe()], PROBE_PIXELS))

    async def sheets(self, document: Document) -> list[bytes]:
        """The document's first pages as downscaled images."""
        return await asyncio.to_thread(sheets, document, DecodeLimits.of(self._reader.config.pages))

    async def check_health(self) -> None:
        """Called by Serve; see HealthCheck."""
        self._health.check()

    async def reconfigure(self, user_config: dict[str, Any] | None, rank: Any) -> None:
        """As Replica.reconfigure."""
        self._health.change(user_config)


def _usage(found: Sequence[Extraction]) -> dict[str, int | float]:
    return {
        "prompt_tokens": sum(one.usage.prompt_tokens for one in found),
        "completion_tokens": sum(one.usage.completion_tokens for one in found),
        "entities": sum(len(one.entities) for one in found),
        "failed": sum(one.failure is not None for one in found),
    }


def _share() -> tuple[int, float]:
    """The threads and GPU fraction that Ray assigned to this replica; a Serve config file may
    override those of the pipeline file."""
    assigned = ray.get_runtime_context().get_assigned_resources()
    return max(1, int(assigned.get("CPU", 0.0))), float(assigned.get("GPU", 0.0))


def _names(model: str) -> dict[str, str]:
    return {"model": model, "replica": serve.get_replica_context().replica_id.unique_id}
