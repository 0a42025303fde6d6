"""The application inside Ray Serve: its ingress, and the models behind handles."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from pydantic import Field, TypeAdapter
from ray import serve
from ray.exceptions import RayActorError, RayError, TaskCancelledError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RayServeException
from ray.serve.handle import DeploymentHandle
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send

from actors.config import ConfigError, Section
from actors.config.load import validate
from actors.guideline import Guideline
from actors.pages import Reading
from actors.spans import Document, Extraction, Failure
from pipelines.config import Limits
from pipelines.serve.answer import PICTURES
from pipelines.serve.app import create_app
from pipelines.serve.catalogue import Catalogue
from pipelines.serve.logs import log_with_serve
from pipelines.serve.service import Event, ModelFacts, ModelUnavailable, QueueFull
from pipelines.worker.vitals import Held

log = logging.getLogger("ray.serve")

_FACTS_FOR_S = 5.0  # what is asked of replicas beside the work
_HELD_S = 2.0
_ATTEMPTS = 3


class HostedModels:
    """Models in replicas of other deployments."""

    def __init__(self, handles: Mapping[str, DeploymentHandle]) -> None:
        self._handles = handles
        self._streaming = {name: h.options(stream=True) for name, h in handles.items()}
        self._facts: dict[str, tuple[float, ModelFacts]] = {}
        self._learning: dict[str, asyncio.Task[ModelFacts]] = {}
        self._held: dict[str, tuple[float, list[Held]]] = {}

    async def extract(
        self, model: str, documents: Sequence[Document], guideline: Guideline | None = None
    ) -> list[Extraction]:
        """As Models.extract. A replica that dies with the request is replaced by another: reading
        documents changes nothing, so it may be done again."""
        found: list[Extraction] = await self._ask(model, "extract", list(documents), guideline)
        return found

    async def stream(
        self, model: str, documents: Sequence[Document], guideline: Guideline | None = None
    ) -> AsyncGenerator[list[Event]]:
        """As Models.stream. A replica that dies before it said anything is replaced by another;
        afterwards what was said cannot be taken back, and the model is unavailable."""
        for attempt in range(1, _ATTEMPTS + 1):
            response = self._streaming[model].stream.remote(list(documents), guideline)
            said = False
            try:
                async for batch in response:
                    said = True
                    yield batch
                return
            except (asyncio.CancelledError, GeneratorExit):
                _let_go(response)
                raise
            except BackPressureError:
                raise QueueFull(model) from None
            except (RayActorError, DeploymentUnavailableError) as error:
                log.warning("model %s, attempt %d: %s", model, attempt, type(error).__name__)
                if said:
                    break
            except (RayError, RayServeException) as error:
                log.error("model %s: %s", model, type(error).__name__)
                break
        raise ModelUnavailable(f"the model {model} cannot answer")

    async def facts(self, model: str) -> ModelFacts:
        """As Models.facts. The question stands in the model's queue like any other, so there is one
        at a time, for all who wait; once known they are asked again now and then without a wait."""
        known = self._facts.get(model)
        if known is None:
            # Shielded: who gives up leaves it to others.
            return await asyncio.shield(self._learning_of(model))
        at, facts = known
        if time.monotonic() - at > _FACTS_FOR_S:
            self._learning_of(model)
        return facts

    def _learning_of(self, model: str) -> asyncio.Task[ModelFacts]:
        task = self._learning.get(model)
        if task is None:
            task = self._learning[model] = asyncio.create_task(self._learn(model))
            task.add_done_callback(lambda done: self._learned(model, done))
        return task

    async def _learn(self, model: str) -> ModelFacts:
        facts: ModelFacts = await self._ask(model, "facts")
        self._facts[model] = time.monotonic(), facts
        return facts

    def _learned(self, model: str, task: asyncio.Task[ModelFacts]) -> None:
        del self._learning[model]
        if not task.cancelled():
            task.exception()  # a model that cannot say so now is asked again by the next request

    async def held(self, model: str) -> list[Held]:
        """As Models.held, at most a few seconds old."""
        at, held = self._held.get(model, (0.0, None))
        if held is None or time.monotonic() - at > _FACTS_FOR_S:
            try:
                async with asyncio.timeout(_HELD_S):
                    held = await self._handles[model].broadcast("held").results_async()
            except (RayError, RayServeException, TimeoutError) as error:
                log.warning("model %s: not all replicas answer: %s", model, type(error).__name__)
                held = []
            self._held[model] = time.monotonic(), held
        return held

    async def read(self, documents: Sequence[Document], pixels: int) -> list[Reading | Failure]:
        """As Models.read."""
        found: list[Reading | Failure] = await self._ask(PICTURES, "read", list(documents), pixels)
        return found

    async def sheets(self, document: Document) -> list[bytes]:
        """As Models.sheets."""
        found: list[bytes] = await self._ask(PICTURES, "sheets", document)
        return found

    async def _ask(self, model: str, method: str, *arguments: Any) -> Any:
        for attempt in range(1, _ATTEMPTS + 1):
            response = getattr(self._handles[model], method).remote(*arguments)
            try:
                return await response
            except asyncio.CancelledError:
                _let_go(response)
                raise
            except BackPressureError:
                raise QueueFull(model) from None
            except TaskCancelledError:
                raise ModelUnavailable(f"the model {model} let go of a request") from None
            except (RayActorError, DeploymentUnavailableError) as error:
                log.warning("model %s, attempt %d: %s", model, attempt, type(error).__name__)
            except (RayError, RayServeException) as error:
                log.error("model %s: %s", model, type(error).__name__)
                break
        raise ModelUnavailable(f"the model {model} cannot answer")


def _let_go(response: Any) -> None:
    """A deadline, or a client that has gone, ends the work too. Only then: a response that could
    not even be queued raises that once more when it is cancelled."""
    with suppress(RayError, RayServeException):
        response.cancel()


class Switch:
    """An ASGI application in whose place another may be put; requests under way stay with theirs.

    Serve asks for the routes, to name them in its metrics.
    """

    def __init__(self, app: FastAPI) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As the application that is there now."""
        await self.app(scope, receive, send)

    @property
    def routes(self) -> list[BaseRoute]:
        """Of the application."""
        return self.app.routes

    @property
    def router(self) -> APIRouter:
        """Of the application."""
        return self.app.router


class HttpSettings(Section):
    """``user_config`` of the ingress in a Serve config file: what changes without loading."""

    limits: dict[str, Any] = Field(
        default_factory=dict, description="Keys of serve.limits, instead of the pipeline file's."
    )


def limited(catalogue: Catalogue, user_config: dict[str, Any] | None) -> Catalogue:
    """The catalogue under the limits of a Serve config file. Raises ConfigError."""
    place = Path("user_config")
    given = validate(TypeAdapter(HttpSettings), user_config or {}, place).limits
    known = catalogue.serve.limits
    limits = validate(TypeAdapter(Limits), known.model_dump() | given, place)
    if limits.max_deadline_s > known.max_deadline_s:
        raise ConfigError(
            "user_config: limits.max_deadline_s can only be lowered here: proxies and replicas "
            f"that end wait for the {known.max_deadline_s:g} s of the pipeline file"
        )
    return replace(catalogue, serve=catalogue.serve.model_copy(update={"limits": limits}))


@serve.ingress()
class Ingress:
    """The deployment that speaks HTTP."""

    def __init__(self, catalogue: Catalogue, handles: Mapping[str, DeploymentHandle]) -> None:
        log_with_serve()
        self._catalogue, self._models = catalogue, HostedModels(handles)
        self._switch = Switch(self._app(catalogue))

    def __serve_build_asgi_app__(self) -> Switch:
        """Called by Serve after the constructor."""
        return self._switch

    async def reconfigure(self, user_config: dict[str, Any] | None, rank: Any) -> None:
        """Called by Serve with the settings of its config file, also where it names none any more.
        Raises ConfigError."""
        self._switch.app = self._app(limited(self._catalogue, user_config))

    def _app(self, catalogue: Catalogue) -> FastAPI:
        return create_app(catalogue, self._models, says_id=False)
