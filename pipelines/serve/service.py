"""Where the application gets Extractions from: a protocol, and models in this very process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol, TypeVar

from actors.config import GgufModel, ModelConfig, OnnxModel
from actors.guideline import Guideline
from actors.pages import Limits, PixelBudget, Reading
from actors.spans import Document, Extraction, Failure, Tell
from pipelines.serve.sheets import sheets
from pipelines.worker.vitals import Held


class ModelUnavailable(RuntimeError):
    """No replica of the model can answer now; the same request may succeed later."""


class QueueFull(RuntimeError):
    """The model's own queue is full."""


GuidelineUse = Literal["any", "labels", "none"]
"""What a model can make of a request's own guideline: follow any, choose among its own labels, or
nothing."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is known of a loaded model. ``labels`` is empty where they are not known beforehand;
    ``prompts``: whether documents may bring prompts of their own."""

    name: str
    kind: str
    fingerprint: str
    labels: tuple[str, ...]
    prompts: bool
    guideline: GuidelineUse


@dataclass(frozen=True, slots=True)
class Printed:
    """Further text of what a model prints of the ``index``-th document, in a window of it."""

    index: int
    window: int
    text: str


Event = Printed | tuple[int, Extraction]
"""Something that a model says while it works: text, or the Extraction of a document by its index.
Afterwards that document has no more events."""


class Submits(Protocol):
    """What is asked of an Extractor here."""

    @property
    def fingerprint(self) -> str:
        """As of an Extractor."""

    def submit(
        self, document: Document, guideline: Guideline | None = None, tell: Tell | None = None
    ) -> Future[Extraction]:
        """As of an Extractor."""


class Reads(Protocol):
    """What is asked of an OcrReader here."""

    def submit(
        self, document: Document, budget: PixelBudget | None = None
    ) -> Future[Reading | Failure]:
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
        """The same as it comes; closing it cancels the work. Raises as ``extract``."""

    async def facts(self, model: str) -> ModelFacts:
        """What is known of the model; raises ModelUnavailable."""

    async def held(self, model: str) -> list[Held]:
        """What each process with the model holds; empty where not all say so at once."""

    async def read(self, documents: Sequence[Document], pixels: int) -> list[Reading | Failure]:
        """The texts of documents that are pictures, in order; as ``extract``. Those that bring
        all together over ``pixels`` fail. Only where the catalogue has an ``ocr``."""

    async def sheets(self, document: Document) -> list[bytes]:
        """The first pages of a picture that was read, as small WebP files."""


_T = TypeVar("_T")
_AT_ONCE = 4_000  # characters: about a window, which costs no more than another thread's turn


async def submitted(
    extractor: Submits,
    documents: Sequence[Document],
    guideline: Guideline | None = None,
    tell: Callable[[int], Tell] | None = None,
) -> list[Future[Extraction]]:
    """Futures of the documents; ``tell`` gives what hears of each, by its index.

    What is large is submitted from another thread: it is cut into windows and made into prompts by
    whoever submits it. A cancelled wait cancels what was submitted, and what is just being.
    """
    futures: list[Future[Extraction]] = []
    over = threading.Event()

    def submit() -> None:
        for index, document in enumerate(documents):
            futures.append(extractor.submit(document, guideline, tell and tell(index)))
            if over.is_set():  # looked at after each was added: one side or the other cancels it
                futures[-1].cancel()
                return

    small = sum(len(document.text or "") for document in documents) <= _AT_ONCE
    try:
        if small and not any(document.image for document in documents):
            submit()
        else:
            await asyncio.to_thread(submit)
    except BaseException:
        over.set()
        for future in tuple(futures):
            future.cancel()
        raise
    return futures


async def gather(futures: Sequence[Future[_T]]) -> list[_T]:
    """The results of futures; a cancelled wait cancels what is still queued."""
    try:
        return list(await asyncio.gather(*(asyncio.wrap_future(future) for future in futures)))
    finally:
        for future in futures:
            future.cancel()  # nothing happens to those that are done


async def heard(
    extractor: Submits, documents: Sequence[Document], guideline: Guideline | None
) -> AsyncGenerator[list[Event]]:
    """What an Extractor says of documents, as it comes; closing it cancels what is queued or runs.

    Raises whatever a lost model raises.
    """
    loop = asyncio.get_running_loop()
    events: asyncio.Queue[Printed | tuple[int, Future[Extraction]]] = asyncio.Queue()

    def tell(index: int, window: int, text: str) -> None:
        loop.call_soon_threadsafe(events.put_nowait, Printed(index, window, text))

    def done(index: int, future: Future[Extraction]) -> None:
        if not future.cancelled():
            loop.call_soon_threadsafe(events.put_nowait, (index, future))

    futures = await submitted(extractor, documents, guideline, lambda i: partial(tell, i))
    for index, future in enumerate(futures):
        future.add_done_callback(partial(done, index))
    left = len(futures)
    try:
        while left:
            came = [await events.get()]
            while not events.empty():  # whatever came meanwhile goes along
                came.append(events.get_nowait())
            batch: list[Event] = []
            for event in came:
                if isinstance(event, Printed):
                    batch.append(event)
                else:
                    index, future = event
                    batch.append((index, future.result()))
                    left -= 1
            yield batch
    finally:
        for future in futures:
            future.cancel()  # nothing happens to those that are done


def facts_of(config: ModelConfig, fingerprint: str) -> ModelFacts:
    """The facts of a model whose weights are on this machine."""
    prose = isinstance(config, GgufModel) and config.prompt.format == "prose"
    asked: GuidelineUse = "labels" if isinstance(config, OnnxModel) else "any"
    return ModelFacts(
        name=config.name,
        kind=config.kind,
        fingerprint=fingerprint,
        labels=_labels(config),
        prompts=prose,
        guideline="none" if prose else asked,
    )


def _labels(config: ModelConfig) -> tuple[str, ...]:
    if not isinstance(config, OnnxModel):
        guideline = config.prompt.guideline
        if not isinstance(guideline, Guideline):
            return ()
        known = set(guideline.labels)
    else:
        # Imported here, as in actors.extractor: only a process that holds such a model pays.
        from actors.model_folder import FILES, read_folder
        from actors.onnx.labels import read_labels
        from actors.weights import fetch

        folder = read_folder(fetch(config.weights.model, config.weights.sha256, FILES))
        known = set(read_labels(folder.labels, config.decode.scheme).types)
    return tuple(config.labels.names(known))


class LocalModels:
    """Extractors in this process, for one machine without Ray and for tests."""

    def __init__(
        self,
        extractors: Mapping[str, Submits],
        facts: Mapping[str, ModelFacts],
        reader: Reads | None = None,
        pages: Limits | None = None,
    ) -> None:
        """``pages``: what a picture may ask for where its pages are shown."""
        self._extractors, self._facts, self._reader = extractors, facts, reader
        self._pages = pages or Limits()

    async def extract(
        self, model: str, documents: Sequence[Document], guideline: Guideline | None = None
    ) -> list[Extraction]:
        """As Models.extract."""
        try:
            extractor = self._extractors[model]
            return await gather(await submitted(extractor, documents, guideline))
        except Exception as error:
            # An Extractor makes a document's failure data: what is raised is a lost model.
            raise ModelUnavailable(f"the model {model} is lost") from error

    async def stream(
        self, model: str, documents: Sequence[Document], guideline: Guideline | None = None
    ) -> AsyncGenerator[list[Event]]:
        """As Models.stream."""
        try:
            async with aclosing(heard(self._extractors[model], documents, guideline)) as batches:
                async for batch in batches:
                    yield batch
        except Exception as error:
            raise ModelUnavailable(f"the model {model} is lost") from error

    async def facts(self, model: str) -> ModelFacts:
        """As Models.facts."""
        return self._facts[model]

    async def held(self, model: str) -> list[Held]:
        """As Models.held: there is no process of the model alone."""
        return []

    async def read(self, documents: Sequence[Document], pixels: int) -> list[Reading | Failure]:
        """As Models.read."""
        reader = self._reader
        if reader is None:
            raise ModelUnavailable("there is no reader of pictures")
        try:
            budget = PixelBudget(pixels)
            return await gather([reader.submit(document, budget) for document in documents])
        except Exception as error:
            raise ModelUnavailable("the reader of pictures is lost") from error

    async def sheets(self, document: Document) -> list[bytes]:
        """As Models.sheets."""
        return await asyncio.to_thread(sheets, document, self._pages)
