"""From a request that may come in to its answer: the models, the merge, the filter.

The merge is that of batch and comes first; the request's filter then hides entities, so an answer
is always a part of what batch would write.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from actors.merge import merge
from actors.pages import Reading, place
from actors.spans import Document, Entity, Extraction, Failure, Status
from pipelines.serve.admission import Queue, Refused
from pipelines.serve.catalogue import Catalogue, Target
from pipelines.serve.errors import Problem
from pipelines.serve.schema import (
    DocumentOut,
    EntityOut,
    ExtractRequest,
    ExtractResponse,
    FailureOut,
    PageOut,
    StepOut,
)
from pipelines.serve.service import Models, ModelUnavailable, QueueFull

_PICTURES = "(pictures)"
_PAGE_CHARACTERS = 3_000  # of a picture whose text nobody knows yet, for the bounds of queues


class Gone(Exception):
    """The client has gone; there is nobody to answer."""


@dataclass(slots=True)
class _Told:
    """A document on its way; ``reading`` is of one that came as a picture."""

    document: Document
    reading: Reading | None = None
    failure: Failure | None = None
    steps: list[Extraction] = field(default_factory=list)


class Answerer:
    """Answers requests that name a target of the catalogue."""

    def __init__(self, catalogue: Catalogue, models: Models) -> None:
        limits = catalogue.serve.limits
        self._catalogue, self._models, self._limits = catalogue, models, limits
        self._queues = {
            name: Queue(limits.queue_documents, limits.queue_characters)
            for name in (*catalogue.models, _PICTURES)
        }

    def target(self, name: str | None) -> Target:
        """The target of a name; raises Problem."""
        try:
            return self._catalogue.targets[name or self._catalogue.default]
        except KeyError:
            raise Problem("model_not_found") from None

    async def answer(
        self, request: ExtractRequest, request_id: str, gone: Callable[[], Awaitable[None]]
    ) -> ExtractResponse:
        """The answer; raises Problem, or Gone when ``gone`` returns before it is there."""
        began = time.perf_counter()
        target = self.target(request.model)
        documents = await self._documents(request, target)
        deadline = min(request.deadline_s or self._limits.deadline_s, self._limits.max_deadline_s)
        with ExitStack() as places:
            try:
                for queue, count, size in self._wanted(target, documents):
                    places.enter_context(queue.place(count, size, deadline))
                told = await _before_gone(self._read(target, documents, deadline), gone)
            except Refused as refused:
                retry = {"retry-after": str(refused.retry_after)}
                raise Problem("overloaded", headers=retry) from None
            except QueueFull:
                raise Problem("overloaded", headers={"retry-after": "1"}) from None
            except ModelUnavailable:
                raise Problem("model_unavailable", headers={"retry-after": "2"}) from None
            except TimeoutError:
                raise Problem("deadline_exceeded") from None
        return ExtractResponse(
            request_id=request_id,
            model=target.name,
            documents=[_document(request, target, one) for one in told],
            seconds=round(time.perf_counter() - began, 6),
        )

    async def _documents(self, request: ExtractRequest, target: Target) -> list[Document]:
        if request.documents is not None:
            if len(request.documents) > self._limits.documents:
                raise Problem("too_many_documents")
            documents = [
                Document(str(i) if d.id is None else d.id, d.text, d.image, d.prompt)
                for i, d in enumerate(request.documents)
            ]
        else:
            documents = [Document(id="0", text=request.text)]
        if any(len(document.text or "") > self._limits.characters for document in documents):
            raise Problem("document_too_large")
        if self._catalogue.ocr is None and any(d.image is not None for d in documents):
            raise Problem("pictures_not_read")
        if any(document.prompt is not None for document in documents):
            for name in target.models:
                # Ignored in silence, a prompt would look obeyed.
                if not (await self._models.facts(name)).prompts:
                    raise Problem("prompt_not_supported")
        return documents

    def _wanted(
        self, target: Target, documents: Sequence[Document]
    ) -> Iterator[tuple[Queue, int, int]]:
        pictures = sum(document.image is not None for document in documents)
        characters = sum(len(document.text or "") for document in documents)
        if pictures:
            yield self._queues[_PICTURES], pictures, pictures * _PAGE_CHARACTERS
        for name in target.models:
            yield self._queues[name], len(documents), characters + pictures * _PAGE_CHARACTERS

    async def _read(
        self, target: Target, documents: Sequence[Document], deadline: float
    ) -> list[_Told]:
        async with asyncio.timeout(deadline):
            told = await self._texts(documents)
            readable = [one for one in told if one.failure is None]
            texts = [one.document for one in readable]
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(_one(self._models, name, texts)) for name in target.models
                ]
        for result in (task.result() for task in tasks):
            if isinstance(result, Exception):
                raise result
            for one, extraction in zip(readable, result, strict=True):
                one.steps.append(extraction)
        return told

    async def _texts(self, documents: Sequence[Document]) -> list[_Told]:
        told = [_Told(document) for document in documents]
        pictures = [one for one in told if one.document.image is not None]
        if pictures:
            found = await self._models.read([one.document for one in pictures])
            for one, read in zip(pictures, found, strict=True):
                if isinstance(read, Failure):
                    one.failure = read
                elif len(read.text) > self._limits.characters:
                    one.failure = Failure("DocumentTooLarge", "it has more text than is allowed")
                else:
                    one.reading = read
                    one.document = replace(one.document, text=read.text, image=None)
        return told


async def _one(
    models: Models, name: str, documents: Sequence[Document]
) -> list[Extraction] | ModelUnavailable | QueueFull:
    # As values: a task group would wrap them, and its caller wants the plain error.
    try:
        return await models.extract(name, documents)
    except (ModelUnavailable, QueueFull) as error:
        return error


async def _before_gone(
    work: Awaitable[list[_Told]], gone: Callable[[], Awaitable[None]]
) -> list[_Told]:
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


def _document(request: ExtractRequest, target: Target, told: _Told) -> DocumentOut:
    policy, reading, failure = target.merge, told.reading, told.failure
    entities = merge([e.entities for e in told.steps], policy.overlaps, policy.priority)
    if reading is not None:
        entities = place(entities, reading)
    statuses = [step.status for step in told.steps] if failure is None else [Status.FAILED]
    return DocumentOut(
        id=told.document.id,
        status=max(statuses, key=lambda status: status.severity).value,
        error=None if failure is None else FailureOut(type=failure.type, message=failure.message),
        text=None if reading is None else reading.text,
        pages=[
            PageOut(width=page.width, height=page.height, turn=page.turn)
            for page in (reading.pages if reading is not None else ())
        ],
        entities=[EntityOut.of(entity) for entity in entities if _wanted(request, entity)],
        steps=[StepOut.of(extraction, request.explain) for extraction in told.steps],
    )


def _wanted(request: ExtractRequest, entity: Entity) -> bool:
    if request.labels is not None and entity.label not in request.labels:
        return False
    least = request.thresholds.get(entity.label, request.threshold)
    return entity.score is None or entity.score >= least
