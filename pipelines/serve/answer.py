"""From a request that may come in to its answer: the models, the merge, the filter.

The merge is that of batch and comes first; the request's filter then hides entities, so an answer
is always a part of what batch would write.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack

from actors.merge import merge
from actors.spans import Document, Entity, Extraction
from pipelines.serve.admission import Queue, Refused
from pipelines.serve.catalogue import Catalogue, Target
from pipelines.serve.errors import Problem
from pipelines.serve.schema import (
    DocumentOut,
    EntityOut,
    ExtractRequest,
    ExtractResponse,
    StepOut,
)
from pipelines.serve.service import Models, ModelUnavailable, QueueFull


class Gone(Exception):
    """The client has gone; there is nobody to answer."""


class Answerer:
    """Answers requests that name a target of the catalogue."""

    def __init__(self, catalogue: Catalogue, models: Models) -> None:
        limits = catalogue.serve.limits
        self._catalogue, self._models, self._limits = catalogue, models, limits
        self.queues = {
            name: Queue(limits.queue_documents, limits.queue_characters)
            for name in catalogue.models
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
        characters = sum(len(document.text or "") for document in documents)
        with ExitStack() as places:
            try:
                for name in target.models:
                    queue = self.queues[name]
                    places.enter_context(queue.place(len(documents), characters, deadline))
                found = await _before_gone(self._read(target, documents, deadline), gone)
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
            documents=[
                _document(request, target, document, list(extractions))
                for document, extractions in zip(documents, zip(*found, strict=True), strict=True)
            ],
            seconds=round(time.perf_counter() - began, 6),
        )

    async def _documents(self, request: ExtractRequest, target: Target) -> list[Document]:
        if request.documents is not None:
            if len(request.documents) > self._limits.documents:
                raise Problem("too_many_documents")
            documents = [
                Document(id=str(i) if d.id is None else d.id, text=d.text, prompt=d.prompt)
                for i, d in enumerate(request.documents)
            ]
        else:
            documents = [Document(id="0", text=request.text)]
        if any(len(document.text or "") > self._limits.characters for document in documents):
            raise Problem("document_too_large")
        if any(document.prompt is not None for document in documents):
            for name in target.models:
                # Ignored in silence, a prompt would look obeyed.
                if not (await self._models.facts(name)).prompts:
                    raise Problem("prompt_not_supported")
        return documents

    async def _read(
        self, target: Target, documents: Sequence[Document], deadline: float
    ) -> list[list[Extraction]]:
        async with asyncio.timeout(deadline), asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(_one(self._models, name, documents)) for name in target.models
            ]
        results = [task.result() for task in tasks]
        for result in results:
            if isinstance(result, Exception):
                raise result
        return [result for result in results if not isinstance(result, Exception)]


async def _one(
    models: Models, name: str, documents: Sequence[Document]
) -> list[Extraction] | ModelUnavailable | QueueFull:
    # As values: a task group would wrap them, and its caller wants the plain error.
    try:
        return await models.extract(name, documents)
    except (ModelUnavailable, QueueFull) as error:
        return error


async def _before_gone(
    work: Awaitable[list[list[Extraction]]], gone: Callable[[], Awaitable[None]]
) -> list[list[Extraction]]:
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


def _document(
    request: ExtractRequest, target: Target, document: Document, found: list[Extraction]
) -> DocumentOut:
    entities = merge([e.entities for e in found], target.merge.overlaps, target.merge.priority)
    worst = max((e.status for e in found), key=lambda status: status.severity)
    return DocumentOut(
        id=document.id,
        status=worst.value,
        entities=[EntityOut.of(entity) for entity in entities if _wanted(request, entity)],
        steps=[StepOut.of(extraction, request.explain) for extraction in found],
    )


def _wanted(request: ExtractRequest, entity: Entity) -> bool:
    if request.labels is not None and entity.label not in request.labels:
        return False
    least = request.thresholds.get(entity.label, request.threshold)
    return entity.score is None or entity.score >= least
