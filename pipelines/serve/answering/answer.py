"""Answer a request: validate it, reserve queue capacity, run the models, build the response."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, aclosing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from actors.config.deidentify import Category
from actors.config.ocr import OcrModel
from actors.guideline import Guideline
from actors.pages import DecodeLimits, OcrResult
from actors.spans import Document, Extraction, Failure
from pipelines.release import Release, Releaser, releaser
from pipelines.serve.answering.admission import Queue, Rejected
from pipelines.serve.answering.covered_pages import CoveredDocument, PageCoverer
from pipelines.serve.answering.deidentify_answer import KnownPatient, deidentified_out, released
from pipelines.serve.answering.guidelines import chosen
from pipelines.serve.answering.models import (
    Event,
    Models,
    ModelUnavailable,
    PagesRead,
    QueueFull,
    TextDelta,
)
from pipelines.serve.answering.pending import PendingDocument, document_out
from pipelines.serve.answering.request_documents import InputDocument, opened
from pipelines.serve.answering.second_look import look_again
from pipelines.serve.answering.url_documents import ByteBudget, Fetcher
from pipelines.serve.catalogue import Catalogue, Target
from pipelines.serve.wire.errors import Problem
from pipelines.serve.wire.requests import RequestOptions
from pipelines.serve.wire.responses import (
    DeidentifyResponse,
    DocumentOut,
    DoneOut,
    ExtractResponse,
    PagesOut,
    StartOut,
    TextOut,
)

PICTURES = "(pictures)"
"""Queue name of the OCR stage: a name that no model may have."""
_PAGE_CHARACTERS = 3_000  # assumed on admission for a document without a text yet
_LARGE = 200_000  # characters: merging and serialising their entities takes some tenths of a second
_T = TypeVar("_T")

StreamedAnswer = StartOut | PagesOut | TextOut | DocumentOut | DoneOut
"""Events of a streamed answer, in this order."""


class ClientDisconnected(Exception):
    """The client disconnected before the answer was ready."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """A validated request, before any model is called."""

    options: RequestOptions
    inputs: Sequence[InputDocument]
    target: Target
    began: float
    until: float  # deadline, in event-loop time


class Answerer:
    """Answers requests for the models and pipelines of a catalogue."""

    def __init__(self, catalogue: Catalogue, models: Models, fetcher: Fetcher) -> None:
        limits = catalogue.serve.limits
        self._catalogue, self._models, self._limits = catalogue, models, limits
        self._fetcher = fetcher
        self._releaser = releaser(catalogue.targets[catalogue.default].refining)
        self._coverer = None
        if catalogue.reader is not None and isinstance(catalogue.reader.config, OcrModel):
            self._coverer = PageCoverer(DecodeLimits.of(catalogue.reader.config.pages))
        self._queues = {
            name: Queue(limits.queue_documents, limits.queue_characters)
            for name in (*catalogue.models, PICTURES)
        }

    def target(self, name: str | None) -> Target:
        """Look up a target by name; raises Problem if there is none."""
        try:
            return self._catalogue.targets[name or self._catalogue.default]
        except KeyError:
            raise Problem("model_not_found") from None

    @property
    def taken_categories(self) -> list[Category] | None:
        """The categories that ``deidentify`` takes; None if the pipeline does not de-identify."""
        if self._releaser is None:
            return None
        return list(filter(self._releaser.config.takes, Category))

    @property
    def covers_pages(self) -> bool:
        """True if ``deidentify`` can return covered pages: OCR has measured where their words
        are."""
        return self._releaser is not None and self._coverer is not None

    def is_progressing(self, model: str, seconds: float) -> bool:
        """True if a model (or PICTURES) has work in flight and finished some within ``seconds``."""
        return self._queues[model].is_progressing(seconds)

    async def answer(
        self,
        options: RequestOptions,
        inputs: Sequence[InputDocument],
        request_id: str,
        gone: Callable[[], Awaitable[None]],
    ) -> str:
        """The answer: an ExtractResponse as JSON.

        Raises Problem, or Gone if ``gone`` returns before the answer is ready.
        """
        plan = self._plan(options, inputs)
        with self._admitted(plan):
            pending = await _unless_disconnected(self._read(plan), gone)

        def whole() -> str:
            return ExtractResponse(
                request_id=request_id,
                model=plan.target.name,
                offsets=plan.options.offsets,
                documents=[document_out(one, plan.target, plan.options) for one in pending],
                seconds=_since(plan.began),
            ).model_dump_json()

        return await _run_off_loop_if_large(pending, whole)

    async def deidentify(
        self,
        options: RequestOptions,
        pages: bool | None,
        inputs: Sequence[InputDocument],
        patients: Sequence[KnownPatient],
        request_id: str,
        gone: Callable[[], Awaitable[None]],
    ) -> DeidentifyResponse:
        """De-identify documents by the pipeline. ``pages``: also cover their pages, None: as the
        pipeline does; ``patients``: what is known of each one's.

        Raises Problem, or ClientDisconnected as ``answer``.
        """
        if self._releaser is None:
            raise Problem("not_deidentifying")
        if pages and self._coverer is None:
            raise Problem("pictures_not_read")
        plan = self._plan(options, inputs)
        unit = plan.options.offsets
        wanted = self._releaser.config.pages if pages is None else pages
        with self._admitted(plan):
            work = self._released(plan, self._releaser, patients, wanted)
            pending, releases, covered = await _unless_disconnected(work, gone)
            documents = [
                await asyncio.to_thread(
                    deidentified_out, one, plan.target, release, covered.get(at), unit
                )
                for at, (one, release) in enumerate(zip(pending, releases, strict=True))
            ]
        return DeidentifyResponse(
            request_id=request_id,
            model=plan.target.name,
            offsets=unit,
            documents=documents,
            seconds=_since(plan.began),
        )

    async def _released(
        self, plan: _Plan, releaser: Releaser, patients: Sequence[KnownPatient], pages: bool
    ) -> tuple[list[PendingDocument], list[Release], Mapping[int, CoveredDocument]]:
        """The documents, their releases after the second look, and covered pages by index."""
        pending = await self._read(plan)
        covered: Mapping[int, CoveredDocument] = {}
        async with asyncio.timeout_at(plan.until):
            if pages and self._coverer is not None:
                await self._coverer.find_bar_codes(pending, releaser)
            releases = [
                await asyncio.to_thread(released, one, plan.target, releaser, known)
                for one, known in zip(pending, patients, strict=True)
            ]
            if pages and self._coverer is not None:
                covered = await self._coverer.cover(pending, releases, releaser, self._read_again)
            guideline = await self._guideline(plan)
            await look_again(
                pending,
                releases,
                patients,
                covered,
                releaser,
                lambda documents: self._extracted(plan, guideline, lambda name: [*documents]),
            )
        return pending, releases, covered

    async def _read_again(self, documents: Sequence[Document]) -> list[OcrResult | Failure]:
        """Have OCR read covered pages; returns the results in order."""
        found: dict[int, OcrResult | Failure] = {}
        # The first look kept to the limit; these are the same pages, and those of a PDF may be a
        # pixel wider.
        pixels = int(2 * self._limits.megapixels * 1_000_000)
        async with aclosing(self._models.read(documents, pixels)) as batches:
            async for batch in batches:
                found |= {one[0]: one[1] for one in batch if not isinstance(one, PagesRead)}
        return [found[at] for at in range(len(documents))]

    async def stream(
        self, options: RequestOptions, inputs: Sequence[InputDocument], request_id: str
    ) -> AsyncGenerator[StreamedAnswer]:
        """Stream the answer; raises Problem. Closing the generator cancels the work."""
        plan = self._plan(options, inputs)
        with self._admitted(plan):
            # Two timeouts: after the first event another task may resume the generator.
            async with asyncio.timeout_at(plan.until):
                guideline = await self._guideline(plan)
            yield StartOut(
                request_id=request_id, model=plan.target.name, offsets=plan.options.offsets
            )
            async with asyncio.timeout_at(plan.until):
                pending = await self._opened(plan)
                async with aclosing(self._read_pages(plan, pending)) as pages:
                    async for read in pages:
                        yield read
                for one in pending:
                    if one.failure is not None:
                        yield document_out(one, plan.target, plan.options)
                async with aclosing(self._stream_events(plan, guideline, pending)) as events:
                    async for event in events:
                        yield event
        yield DoneOut(seconds=_since(plan.began))

    def _plan(self, options: RequestOptions, inputs: Sequence[InputDocument]) -> _Plan:
        began = time.perf_counter()
        target = self.target(options.model)
        limits = self._limits
        if len(inputs) > limits.documents:
            raise Problem("too_many_documents")
        if any(len(one.text or "") > limits.characters for one in inputs):
            raise Problem("document_too_large")
        pictures = self._catalogue.takes_pictures(target)
        if not pictures and any(one.image is not None for one in inputs):
            raise Problem("pictures_not_read")
        if any(one.url is not None and not self._fetcher.allows(one.url) for one in inputs):
            raise Problem("url_forbidden")
        deadline = min(options.deadline_s or limits.deadline_s, limits.max_deadline_s)
        until = asyncio.get_running_loop().time() + deadline
        return _Plan(options, inputs, target, began, until)

    async def _guideline(self, plan: _Plan) -> Guideline | None:
        """The guideline of the request, after checking that all models support its options."""
        facts = [await self._models.facts(name) for name in plan.target.models]
        if any(one.prompt is not None for one in plan.inputs) and not all(f.prompts for f in facts):
            # Ignoring a prompt silently would look as if it had been followed.
            raise Problem("prompt_not_supported")
        return chosen(plan.options.guideline, self._catalogue.guidelines, facts)

    @contextmanager
    def _admitted(self, plan: _Plan) -> Iterator[None]:
        """Hold a place in every queue the request needs; failures become a Problem."""
        deadline = plan.until - asyncio.get_running_loop().time()
        with ExitStack() as places:
            try:
                for queue, sizes in self._queue_loads(plan):
                    places.enter_context(queue.place(sizes, deadline))
                yield
            except Rejected as refused:
                retry = {"retry-after": str(refused.retry_after)}
                raise Problem("overloaded", headers=retry) from None
            except QueueFull:
                raise Problem("overloaded", headers={"retry-after": "1"}) from None
            except ModelUnavailable:
                raise Problem("model_unavailable", headers={"retry-after": "2"}) from None
            except TimeoutError:
                raise Problem("deadline_exceeded") from None

    def _queue_loads(self, plan: _Plan) -> Iterator[tuple[Queue, list[int]]]:
        pictures = sum(one.is_picture for one in plan.inputs)
        if pictures and self._catalogue.reader is not None:
            yield self._queues[PICTURES], [_PAGE_CHARACTERS] * pictures
        sizes = [
            len(one.text or one.file or "") + one.is_picture * _PAGE_CHARACTERS
            for one in plan.inputs
        ]
        for name in plan.target.models:
            yield self._queues[name], sizes

    async def _read(self, plan: _Plan) -> list[PendingDocument]:
        async with asyncio.timeout_at(plan.until):
            guideline = await self._guideline(plan)
            pending = await self._opened(plan)
            async with aclosing(self._read_pages(plan, pending)) as pages:
                async for _ in pages:
                    pass
            readable = [one for one in pending if one.failure is None]
            steps = await self._extracted(plan, guideline, lambda name: self._shown(name, readable))
        for name, extractions in zip(plan.target.models, steps, strict=True):
            for one, extraction in zip(readable, extractions, strict=True):
                one.steps[name] = extraction
        return pending

    async def _extracted(
        self,
        plan: _Plan,
        guideline: Guideline | None,
        documents: Callable[[str], list[Document]],
    ) -> list[list[Extraction]]:
        """Run every model of the target on the documents for it; return their extractions."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._models.extract(name, documents(name), guideline))
                    for name in plan.target.models
                ]
        except ExceptionGroup as failed:
            # The first model that fails decides; the task group cancels the others.
            raise failed.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _stream_events(
        self, plan: _Plan, guideline: Guideline | None, pending: Sequence[PendingDocument]
    ) -> AsyncGenerator[StreamedAnswer]:
        """Events of all models for the readable documents, as they arrive."""
        readable = [one for one in pending if one.failure is None]
        arrived: asyncio.Queue[tuple[str, list[Event] | Exception]] = asyncio.Queue()

        async def listen(name: str) -> None:
            try:
                shown = self._shown(name, readable)
                stream = self._models.stream(name, shown, guideline)
                async with aclosing(stream) as batches:
                    async for batch in batches:
                        arrived.put_nowait((name, batch))
            except Exception as error:
                arrived.put_nowait((name, error))

        names = plan.target.models
        listening = [asyncio.create_task(listen(name)) for name in names]
        left = len(readable)
        try:
            while left:
                name, batch = await arrived.get()
                if isinstance(batch, Exception):
                    raise batch
                for event in batch:
                    if isinstance(event, TextDelta):
                        id_ = readable[event.index].document.id
                        yield TextOut(
                            document=id_, model=name, window=event.window, text=event.text
                        )
                        continue
                    index, extraction = event
                    one = readable[index]
                    one.steps[name] = extraction
                    if len(one.steps) == len(names):
                        left -= 1
                        yield await _run_off_loop_if_large(
                            [one], partial(document_out, one, plan.target, plan.options)
                        )
        finally:
            for task in listening:
                task.cancel()
            await asyncio.wait(listening)

    async def _opened(self, plan: _Plan) -> list[PendingDocument]:
        """The documents of the request: decoded, or fetched from their URLs."""
        limits, pictures = self._limits, self._catalogue.takes_pictures(plan.target)
        budget = ByteBudget(int(limits.body_mb * 1_000_000))
        found = await opened(plan.inputs, self._fetcher, limits.characters, pictures, budget)
        return [
            PendingDocument(Document(source.id), failure=one)
            if isinstance(one, Failure)
            else PendingDocument(one, source.is_read_otherwise(one))
            for source, one in zip(plan.inputs, found, strict=True)
        ]

    async def _read_pages(
        self, plan: _Plan, pending: Sequence[PendingDocument]
    ) -> AsyncGenerator[PagesOut]:
        """Read the images among the documents, and yield the progress."""
        seen = [one for one in pending if one.document.image is not None]
        if not seen or self._catalogue.reader is None:
            return
        pixels = int(self._limits.megapixels * 1_000_000)
        stream = self._models.read([one.document for one in seen], pixels)
        async with aclosing(stream) as batches:
            async for batch in batches:
                for event in batch:
                    if isinstance(event, PagesRead):
                        document = seen[event.index].document.id
                        yield PagesOut(document=document, pages=event.pages)
                    else:
                        await self._take_text(plan, seen[event[0]], event[1])

    async def _take_text(
        self, plan: _Plan, one: PendingDocument, read: OcrResult | Failure
    ) -> None:
        """Complete a document with what OCR read."""
        if isinstance(read, Failure):
            one.failure = read
        elif len(read.text) > self._limits.characters:
            one.failure = Failure("DocumentTooLarge", "its text exceeds limits.characters")
        else:
            one.reading = read
            if plan.options.page_pictures:
                one.sheets = await self._models.sheets(one.document)
            one.document = replace(one.document, text=read.text)

    def _shown(self, model: str, pending: Sequence[PendingDocument]) -> list[Document]:
        """The documents as batch passes them to the model: images only to vision models."""
        if self._catalogue.models[model].sees_pictures:
            return [one.document for one in pending]
        return [replace(one.document, image=None) for one in pending]


async def _unless_disconnected(work: Awaitable[_T], gone: Callable[[], Awaitable[None]]) -> _T:
    """Await the work; cancel it and raise Gone if the client disconnects first."""
    working, watching = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnected
        return working.result()
    finally:
        watching.cancel()
        if not working.done():
            working.cancel()
            await asyncio.wait({working})


async def _run_off_loop_if_large(pending: Sequence[PendingDocument], make: Callable[[], _T]) -> _T:
    """Call ``make``, in a thread if the documents are so large that it would block the event
    loop."""
    if sum(one.characters for one in pending) > _LARGE:
        return await asyncio.to_thread(make)
    return make()


def _since(began: float) -> float:
    return round(time.perf_counter() - began, 6)
