"""The ``Models`` protocol that the application calls, and its implementation in one process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol, TypeVar

from actors.config import GgufModel, ModelConfig, OnnxModel
from actors.guideline import Guideline
from actors.pages import DecodeLimits, OcrResult, PixelBudget
from actors.spans import Document, Extraction, Failure, OnText
from pipelines.serve.answering.page_images import sheets
from pipelines.worker.process_health import ProcessMemory


class ModelUnavailable(RuntimeError):
    """No replica of the model is available; a retry may succeed."""


class QueueFull(RuntimeError):
    """The model's own queue is full."""


GuidelineUse = Literal["any", "labels", "none"]
"""A model's support for a request's guideline: any guideline, a selection of its own labels, or
none."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Facts about a loaded model. ``labels`` is empty if they are not known in advance;
    ``prompts``: whether documents may carry their own prompts."""

    name: str
    kind: str
    fingerprint: str
    labels: tuple[str, ...]
    prompts: bool
    guideline: GuidelineUse


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of a model's output for a window of the ``index``-th document."""

    index: int
    window: int
    text: str


Event = TextDelta | tuple[int, Extraction]
"""A streaming event: a piece of output, or the Extraction of a document by its index, which is the
document's last event."""


@dataclass(frozen=True, slots=True)
class PagesRead:
    """Progress of OCR: pages of the ``index``-th document read so far."""

    index: int
    pages: int


OcrEvent = PagesRead | tuple[int, OcrResult | Failure]
"""A streaming event of OCR: its progress, or the result of a document by its index, which is the
document's last event."""


class ExtractorLike(Protocol):
    """The part of Extractor used here."""

    @property
    def fingerprint(self) -> str:
        """As of an Extractor."""

    def submit(
        self, document: Document, guideline: Guideline | None = None, on_text: OnText | None = None
    ) -> Future[Extraction]:
        """As of an Extractor."""


class OcrLike(Protocol):
    """The part of OcrReader used here."""

    def submit(
        self, document: Document, budget: PixelBudget, on_page: Callable[[int], None]
    ) -> Future[OcrResult | Failure]:
        """As of an OcrReader."""


class Models(Protocol):
    """The models behind the application, by name."""

    async def extract(
        self, model: str, documents: Sequence[Document], guideline: Guideline | None = None
    ) -> list[Extraction]:
        """The Extractions of the documents, in order; cancelling it cancels the work.

        Raises ModelUnavailable or QueueFull.
        """

    def stream(
        self, model: str, documents: Sequence[Document], guideline: Guideline | None = None
    ) -> AsyncGenerator[list[Event]]:
        """Stream the events; closing the generator cancels the work. Raises as ``extract``."""

    async def facts(self, model: str) -> ModelFacts:
        """Facts about the model; raises ModelUnavailable."""

    async def held(self, model: str) -> list[ProcessMemory]:
        """Memory use of each process that hosts the model; empty if not all respond in time."""

    def read(self, documents: Sequence[Document], pixels: int) -> AsyncGenerator[list[OcrEvent]]:
        """Stream the OCR of image documents; closing the generator cancels the work. Documents
        beyond ``pixels`` in total fail. Only if the catalogue has an OCR stage. Raises as
        ``extract``."""

    async def sheets(self, document: Document) -> list[bytes]:
        """The first pages of an image or PDF as downscaled WebP files."""


_T = TypeVar("_T")
_Progress = TypeVar("_Progress", TextDelta, PagesRead)
_INLINE_CHARACTERS = 4_000  # about one window: preparing it costs no more than a thread switch


async def submit_all(
    extractor: ExtractorLike,
    documents: Sequence[Document],
    guideline: Guideline | None = None,
    on_text_of: Callable[[int], OnText] | None = None,
) -> list[Future[Extraction]]:
    """Submit the documents; ``on_text_of`` returns the text callback of each, by its index.

    Large documents are submitted from a thread, because submitting splits them into windows and
    builds prompts. Cancelling cancels all submissions, including the one in progress.
    """
    futures: list[Future[Extraction]] = []
    cancelled = threading.Event()

    def submit() -> None:
        for index, document in enumerate(documents):
            futures.append(extractor.submit(document, guideline, on_text_of and on_text_of(index)))
            if cancelled.is_set():  # checked after appending, so one side or the other cancels it
                futures[-1].cancel()
                return

    small = sum(len(document.text or "") for document in documents) <= _INLINE_CHARACTERS
    try:
        if small and not any(document.image for document in documents):
            submit()
        else:
            await asyncio.to_thread(submit)
    except BaseException:
        cancelled.set()
        for future in tuple(futures):
            future.cancel()
        raise
    return futures


async def gather(futures: Sequence[Future[_T]]) -> list[_T]:
    """The results of futures; cancelling cancels what is still queued."""
    try:
        return list(await asyncio.gather(*(asyncio.wrap_future(future) for future in futures)))
    finally:
        for future in futures:
            future.cancel()  # nothing happens to those that are done


def stream_events(
    extractor: ExtractorLike, documents: Sequence[Document], guideline: Guideline | None
) -> AsyncGenerator[list[Event]]:
    """Stream the events of an Extractor; closing the generator cancels queued and running work.

    Raises the exception of a lost model.
    """

    async def submit(emit: Callable[[TextDelta], None]) -> Sequence[Future[Extraction]]:
        def on_text_of(index: int) -> OnText:
            return lambda window, text: emit(TextDelta(index, window, text))

        return await submit_all(extractor, documents, guideline, on_text_of)

    return _stream(submit)


def stream_pages(
    reader: OcrLike, documents: Sequence[Document], pixels: int
) -> AsyncGenerator[list[OcrEvent]]:
    """Stream the events of an OcrReader, as ``stream_events`` does those of an Extractor."""
    budget = PixelBudget(pixels)

    async def submit(emit: Callable[[PagesRead], None]) -> Sequence[Future[OcrResult | Failure]]:
        def on_page(index: int) -> Callable[[int], None]:
            return lambda pages: emit(PagesRead(index, pages))

        return [reader.submit(one, budget, on_page(i)) for i, one in enumerate(documents)]

    return _stream(submit)


async def _stream(
    submit: Callable[[Callable[[_Progress], None]], Awaitable[Sequence[Future[_T]]]],
) -> AsyncGenerator[list[_Progress | tuple[int, _T]]]:
    """Stream what submitted work reports, and its results by index, as they arrive. ``submit`` gets
    the function to report progress with, which may be called from any thread."""
    loop = asyncio.get_running_loop()
    events: asyncio.Queue[_Progress | tuple[int, Future[_T]]] = asyncio.Queue()

    def emit(event: _Progress | tuple[int, Future[_T]]) -> None:
        loop.call_soon_threadsafe(events.put_nowait, event)

    def done(index: int, future: Future[_T]) -> None:
        if not future.cancelled():
            emit((index, future))

    futures = await submit(emit)
    for index, future in enumerate(futures):
        future.add_done_callback(partial(done, index))
    left = len(futures)
    try:
        while left:
            arrived = [await events.get()]
            while not events.empty():  # batch all events that have arrived
                arrived.append(events.get_nowait())
            batch: list[_Progress | tuple[int, _T]] = []
            for event in arrived:
                if isinstance(event, tuple):
                    index, future = event
                    batch.append((index, future.result()))
                    left -= 1
                else:
                    batch.append(event)
            yield batch
    finally:
        for future in futures:
            future.cancel()  # nothing happens to those that are done


def facts_of(config: ModelConfig, fingerprint: str) -> ModelFacts:
    """Return the facts about a model with weights on this machine."""
    prose = isinstance(config, GgufModel) and config.prompt.format == "prose"
    support: GuidelineUse = "labels" if isinstance(config, OnnxModel) else "any"
    return ModelFacts(
        name=config.name,
        kind=config.kind,
        fingerprint=fingerprint,
        labels=_labels(config),
        prompts=prose,
        guideline="none" if prose else support,
    )


def _labels(config: ModelConfig) -> tuple[str, ...]:
    if not isinstance(config, OnnxModel):
        guideline = config.prompt.guideline
        if not isinstance(guideline, Guideline):
            return ()
        known = set(guideline.labels)
    else:
        # Imported here, as in actors.extractor: only processes with such a model load it.
        from actors.model_folder import read_folder
        from actors.onnx.tokens.labels import read_labels
        from actors.weights import fetch_model

        folder = read_folder(fetch_model(config), config.weights.file)
        known = set(read_labels(folder.labels, config.decode.scheme).types)
    return tuple(config.labels.names(known))


class LocalModels:
    """``Models`` over Extractors in this process, for use without Ray and for tests."""

    def __init__(
        self,
        extractors: Mapping[str, ExtractorLike],
        facts: Mapping[str, ModelFacts],
        reader: OcrLike | None = None,
        pages: DecodeLimits | None = None,
    ) -> None:
        """``pages``: limits for rendering page images."""
        self._extractors, self._facts, self._reader = extractors, facts, reader
        self._pages = pages or DecodeLimits()

    async def extract(
        self, model: str, documents: Sequence[Document], guideline: Guideline | None = None
    ) -> list[Extraction]:
        """As Models.extract."""
        try:
            extractor = self._extractors[model]
            return await gather(await submit_all(extractor, documents, guideline))
        except Exception as error:
            # An Extractor returns a document's failure as data, so an exception is a lost model.
            raise ModelUnavailable(f"the model {model} is lost") from error

    async def stream(
        self, model: str, documents: Sequence[Document], guideline: Guideline | None = None
    ) -> AsyncGenerator[list[Event]]:
        """As Models.stream."""
        try:
            async with aclosing(
                stream_events(self._extractors[model], documents, guideline)
            ) as batches:
                async for batch in batches:
                    yield batch
        except Exception as error:
            raise ModelUnavailable(f"the model {model} is lost") from error

    async def facts(self, model: str) -> ModelFacts:
        """As Models.facts."""
        return self._facts[model]

    async def held(self, model: str) -> list[ProcessMemory]:
        """As Models.held: no process belongs to a model alone."""
        return []

    async def read(
        self, documents: Sequence[Document], pixels: int
    ) -> AsyncGenerator[list[OcrEvent]]:
        """As Models.read."""
        if self._reader is None:
            raise ModelUnavailable("this server has no OCR stage")
        try:
            async with aclosing(stream_pages(self._reader, documents, pixels)) as batches:
                async for batch in batches:
                    yield batch
        except Exception as error:
            raise ModelUnavailable("the OCR reader is lost") from error

    async def sheets(self, document: Document) -> list[bytes]:
        """As Models.sheets."""
        return await asyncio.to_thread(sheets, document, self._pages)
