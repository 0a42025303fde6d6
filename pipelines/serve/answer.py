"""From a request that may come in to its answer: a place in the queues, then the models."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, aclosing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from actors.guideline import Guideline
from actors.spans import Document, Failure
from pipelines.serve.admission import Queue, Refused
from pipelines.serve.asked import Options
from pipelines.serve.catalogue import Catalogue, Target
from pipelines.serve.errors import Problem
from pipelines.serve.fetching import Fetcher, Room
from pipelines.serve.guidelines import chosen
from pipelines.serve.opening import Given, opened
from pipelines.serve.outgoing import Told, document_out
from pipelines.serve.schema import (
    DocumentOut,
    DoneOut,
    ExtractResponse,
    StartOut,
    TextOut,
)
from pipelines.serve.service import (
    Event,
    Models,
    ModelUnavailable,
    Printed,
    QueueFull,
)

PICTURES = "(pictures)"
"""What reads them, beside the models: no model may have this name."""
_PAGE_CHARACTERS = 3_000  # of a document whose text nobody knows yet, for the bounds of queues
_LARGE = 200_000  # characters: their entities take some tenths of a second to merge and write
_T = TypeVar("_T")

Said = StartOut | TextOut | DocumentOut | DoneOut
"""What an answer is made of where it is given as it comes, in this order."""


class Gone(Exception):
    """The client has gone; there is nobody to answer."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a request comes down to, before anything is asked of a model."""

    options: Options
    given: Sequence[Given]
    target: Target
    began: float
    until: float  # of the event loop's time


class Answerer:
    """Answers requests that name a target of the catalogue."""

    def __init__(self, catalogue: Catalogue, models: Models, fetcher: Fetcher) -> None:
        limits = catalogue.serve.limits
        self._catalogue, self._models, self._limits = catalogue, models, limits
        self._fetcher = fetcher
        self._queues = {
            name: Queue(limits.queue_documents, limits.queue_characters)
            for name in (*catalogue.models, PICTURES)
        }

    def target(self, name: str | None) -> Target:
        """The target of a name; raises Problem."""
        try:
            return self._catalogue.targets[name or self._catalogue.default]
        except KeyError:
            raise Problem("model_not_found") from None

    def moves(self, model: str, seconds: float) -> bool:
        """Whether a model, or PICTURES, has work under way and did some in the last ``seconds``."""
        return self._queues[model].moves(seconds)

    async def answer(
        self,
        options: Options,
        given: Sequence[Given],
        request_id: str,
        gone: Callable[[], Awaitable[None]],
    ) -> str:
        """The answer, an ExtractResponse as JSON; raises Problem, or Gone when ``gone`` returns
        before it is there."""
        plan = self._plan(options, given)
        with self._let_in(plan):
            told = await _before_gone(self._read(plan), gone)

        def whole() -> str:
            return ExtractResponse(
                request_id=request_id,
                model=plan.target.name,
                offsets=plan.options.offsets,
                documents=[document_out(one, plan.target, plan.options) for one in told],
                seconds=_since(plan.began),
            ).model_dump_json()

        return await _off_loop(told, whole)

    async def stream(
        self, options: Options, given: Sequence[Given], request_id: str
    ) -> AsyncGenerator[Said]:
        """The same answer as it comes; raises Problem. Closing it ends the work."""
        plan = self._plan(options, given)
        with self._let_in(plan):
            # Twice, since what follows the first event may be waited for by another task.
            async with asyncio.timeout_at(plan.until):
                guideline = await self._guideline(plan)
            yield StartOut(
                request_id=request_id, model=plan.target.name, offsets=plan.options.offsets
            )
            async with asyncio.timeout_at(plan.until):
                told = await self._texts(plan)
                for one in told:
                    if one.failure is not None:
                        yield document_out(one, plan.target, plan.options)
                async with aclosing(self._hear(plan, guideline, told)) as said:
                    async for event in said:
                        yield event
        yield DoneOut(seconds=_since(plan.began))

    def _plan(self, options: Options, given: Sequence[Given]) -> _Plan:
        began = time.perf_counter()
        target = self.target(options.model)
        limits = self._limits
        if len(given) > limits.documents:
            raise Problem("too_many_documents")
        if any(len(one.text or "") > limits.characters for one in given):
            raise Problem("document_too_large")
        pictures = self._catalogue.takes_pictures(target)
        if not pictures and any(one.image is not None for one in given):
            raise Problem("pictures_not_read")
        if any(one.url is not None and not self._fetcher.allows(one.url) for one in given):
            raise Problem("url_forbidden")
        deadline = min(options.deadline_s or limits.deadline_s, limits.max_deadline_s)
        until = asyncio.get_running_loop().time() + deadline
        return _Plan(options, given, target, began, until)

    async def _guideline(self, plan: _Plan) -> Guideline | None:
        """The request's own guideline, once the models are known to take what it asks for."""
        facts = [await self._models.facts(name) for name in plan.target.models]
        if any(one.prompt is not None for one in plan.given) and not all(f.prompts for f in facts):
            # Ignored in silence, a prompt would look obeyed.
            raise Problem("prompt_not_supported")
        return chosen(plan.options.guideline, self._catalogue.guidelines, facts)

    @contextmanager
    def _let_in(self, plan: _Plan) -> Iterator[None]:
        """A place in every queue for the duration; whatever ends the work becomes a Problem."""
        deadline = plan.until - asyncio.get_running_loop().time()
        with ExitStack() as places:
            try:
                for queue, sizes in self._wanted(plan):
                    places.enter_context(queue.place(sizes, deadline))
                yield
            except Refused as refused:
                retry = {"retry-after": str(refused.retry_after)}
                raise Problem("overloaded", headers=retry) from None
            except QueueFull:
                raise Problem("overloaded", headers={"retry-after": "1"}) from None
            except ModelUnavailable:
                raise Problem("model_unavailable", headers={"retry-after": "2"}) from None
            except TimeoutError:
                raise Problem("deadline_exceeded") from None

    def _wanted(self, plan: _Plan) -> Iterator[tuple[Queue, list[int]]]:
        pictures = sum(one.is_picture for one in plan.given)
        if pictures and self._catalogue.reader is not None:
            yield self._queues[PICTURES], [_PAGE_CHARACTERS] * pictures
        sizes = [
            len(one.text or one.file or "") + one.is_picture * _PAGE_CHARACTERS
            for one in plan.given
        ]
        for name in plan.target.models:
            yield self._queues[name], sizes

    async def _read(self, plan: _Plan) -> list[Told]:
        async with asyncio.timeout_at(plan.until):
            guideline = await self._guideline(plan)
            told = await self._texts(plan)
            readable = [one for one in told if one.failure is None]
            names = plan.target.models
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [
                        group.create_task(
                            self._models.extract(name, self._shown(name, readable), guideline)
                        )
                        for name in names
                    ]
            except ExceptionGroup as failed:
                # The first model that cannot answer decides: the work of the others is ended.
                raise failed.exceptions[0] from None
        for name, task in zip(names, tasks, strict=True):
            for one, extraction in zip(readable, task.result(), strict=True):
                one.steps[name] = extraction
        return told

    async def _hear(
        self, plan: _Plan, guideline: Guideline | None, told: Sequence[Told]
    ) -> AsyncGenerator[Said]:
        """What the models say of the readable documents, whichever is first."""
        readable = [one for one in told if one.failure is None]
        came: asyncio.Queue[tuple[str, list[Event] | Exception]] = asyncio.Queue()

        async def listen(name: str) -> None:
            try:
                shown = self._shown(name, readable)
                stream = self._models.stream(name, shown, guideline)
                async with aclosing(stream) as batches:
                    async for batch in batches:
                        came.put_nowait((name, batch))
            except Exception as error:
                came.put_nowait((name, error))

        names = plan.target.models
        listening = [asyncio.create_task(listen(name)) for name in names]
        left = len(readable)
        try:
            while left:
                name, batch = await came.get()
                if isinstance(batch, Exception):
                    raise batch
                for event in batch:
                    if isinstance(event, Printed):
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
                        yield await _off_loop(
                            [one], partial(document_out, one, plan.target, plan.options)
                        )
        finally:
            for task in listening:
                task.cancel()
            await asyncio.wait(listening)

    async def _texts(self, plan: _Plan) -> list[Told]:
        """The documents with their texts: what comes by an address or on a picture is read."""
        limits, pictures = self._limits, self._catalogue.takes_pictures(plan.target)
        room = Room(int(limits.body_mb * 1_000_000))
        found = await opened(plan.given, self._fetcher, limits.characters, pictures, room)
        told = [
            Told(Document(given.id), failure=one)
            if isinstance(one, Failure)
            else Told(one, given.url is not None)
            for given, one in zip(plan.given, found, strict=True)
        ]
        seen = [one for one in told if one.document.image is not None]
        if seen and self._catalogue.reader is not None:
            pixels = int(limits.megapixels * 1_000_000)
            readings = await self._models.read([one.document for one in seen], pixels)
            for one, read in zip(seen, readings, strict=True):
                if isinstance(read, Failure):
                    one.failure = read
                elif len(read.text) > limits.characters:
                    one.failure = Failure("DocumentTooLarge", "it has more text than is allowed")
                else:
                    one.reading = read
                    if plan.options.page_pictures:
                        one.sheets = await self._models.sheets(one.document)
                    one.document = replace(one.document, text=read.text)
        return told

    def _shown(self, model: str, told: Sequence[Told]) -> list[Document]:
        """The documents as batch gives them to the model: pictures only to one that sees."""
        if self._catalogue.models[model].sees_pictures:
            return [one.document for one in told]
        return [replace(one.document, image=None) for one in told]


async def _before_gone(
    work: Awaitable[list[Told]], gone: Callable[[], Awaitable[None]]
) -> list[Told]:
    """The work's result; where the client goes first the work is cancelled."""
    working, watching = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise Gone
        return working.result()
    finally:
        watching.cancel()
        if not working.done():
            working.cancel()
            await asyncio.wait({working})


async def _off_loop(told: Sequence[Told], make: Callable[[], _T]) -> _T:
    """What is made of documents; in another thread where they are so large that all other requests
    would wait for it."""
    if sum(one.characters for one in told) > _LARGE:
        return await asyncio.to_thread(make)
    return make()


def _since(began: float) -> float:
    return round(time.perf_counter() - began, 6)
