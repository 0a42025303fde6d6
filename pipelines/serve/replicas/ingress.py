"""The application inside Ray Serve: the ingress deployment, and models behind handles."""

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
from grpc.aio import AioRpcError
from pydantic import Field, TypeAdapter
from ray import serve
from ray.exceptions import RayActorError, RayError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RayServeException
from ray.serve.handle import DeploymentHandle
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send

from actors.config import ConfigError, ConfigSection
from actors.config.load import validate
from actors.guideline import Guideline
from actors.spans import Document, Extraction
from pipelines.config import ServeLimits
from pipelines.config.traces import Traces
from pipelines.serve.answering.answer import PICTURES
from pipelines.serve.answering.models import (
    Event,
    ModelFacts,
    ModelUnavailable,
    OcrEvent,
    QueueFull,
)
from pipelines.serve.catalogue import Catalogue
from pipelines.serve.http.app import create_app
from pipelines.serve.http.carried_body import carried
from pipelines.serve.replicas.logs import log_with_serve
from pipelines.worker.process_health import ProcessMemory
from pipelines.worker.traces import Tracer

log = logging.getLogger("ray.serve")

_FACTS_FOR_S = 5.0  # how long facts of replicas are cached
_HELD_S = 2.0
_ATTEMPTS = 3
_REPLICA_LOST = (RayActorError, DeploymentUnavailableError, AioRpcError)
_OVER_GRPC: dict[str, Any] = {
    # Half the CPU time of a call from actor to actor; what is passed needs no cloudpickle.
    "_by_reference": False,
    "request_serialization": "pickle",
    "response_serialization": "pickle",
}


class HostedModels:
    """``Models`` over the replicas of other deployments."""

    def __init__(
        self, handles: Mapping[str, DeploymentHandle], traces: Traces | None = None
    ) -> None:
        self._handles, self._tracer = handles, Tracer(traces)
        self._calls = {name: h.options(**_OVER_GRPC) for name, h in handles.items()}
        self._streams = {name: h.options(stream=True, **_OVER_GRPC) for name, h in handles.items()}
        self._facts: dict[str, tuple[float, ModelFacts]] = {}
        self._refreshing: dict[str, asyncio.Task[ModelFacts]] = {}
        self._held: dict[str, tuple[float, list[ProcessMemory]]] = {}

    async def extract(
        self, model: str, documents: Sequence[Document], guideline: Guideline | None = None
    ) -> list[Extraction]:
        """As Models.extract. If the replica dies, another one retries the request, which is
        idempotent."""
        with self._tracer.span("ask", kind="client", model=model, documents=len(documents)) as span:
            found: list[Extraction] = await self._ask(
                model, "extract", list(documents), guideline, span.context
            )
        return found

    def stream(
        self, model: str, documents: Sequence[Document], guideline: Guideline | None = None
    ) -> AsyncGenerator[list[Event]]:
        """As Models.stream. If the replica dies before the first event, another one retries;
        afterwards events cannot be taken back, and the model is unavailable."""
        return self._tracer.over(
            lambda span: self._stream(
                False, model, "stream", list(documents), guideline, span.context
            ),
            "ask",
            kind="client",
            model=model,
            documents=len(documents),
        )

    async def _stream(
        self, repeatable: bool, model: str, method: str, *arguments: Any
    ) -> AsyncGenerator[Any]:
        """Stream from a replica, and from another one if it dies. ``repeatable``: also after the
        first event."""
        for attempt in range(1, _ATTEMPTS + 1):
            response = getattr(self._streams[model], method).remote(*arguments)
            started = False
            try:
                async for batch in response:
                    started = True
                    yield batch
                return
            except GeneratorExit:
                _cancel(response)
                raise
            except asyncio.CancelledError as error:
                _raise_if_own(error, response)
                _log_attempt(model, attempt, error)
                if started and not repeatable:
                    break
            except BackPressureError:
                raise QueueFull(model) from None
            except _REPLICA_LOST as error:
                _log_attempt(model, attempt, error)
                if started and not repeatable:
                    break
            except Exception as error:  # only its type: gRPC passes on what the replica raised
                log.error("model %s: %s", model, type(error).__name__)
                break
        raise ModelUnavailable(f"the model {model} cannot answer")

    async def facts(self, model: str) -> ModelFacts:
        """As Models.facts. The call queues behind other requests of the model, so all callers
        share one; cached facts are refreshed in the background."""
        known = self._facts.get(model)
        if known is None:
            # Shielded: a caller that gives up must not cancel it for the others.
            return await asyncio.shield(self._refresh(model))
        at, facts = known
        if time.monotonic() - at > _FACTS_FOR_S:
            self._refresh(model)
        return facts

    def _refresh(self, model: str) -> asyncio.Task[ModelFacts]:
        task = self._refreshing.get(model)
        if task is None:
            task = self._refreshing[model] = asyncio.create_task(self._fetch_facts(model))
            task.add_done_callback(lambda done: self._refreshed(model, done))
        return task

    async def _fetch_facts(self, model: str) -> ModelFacts:
        facts: ModelFacts = await self._ask(model, "facts")
        self._facts[model] = time.monotonic(), facts
        return facts

    def _refreshed(self, model: str, task: asyncio.Task[ModelFacts]) -> None:
        del self._refreshing[model]
        if not task.cancelled():
            task.exception()  # mark as retrieved; the next request tries again

    async def held(self, model: str) -> list[ProcessMemory]:
        """As Models.held, at most a few seconds old."""
        at, held = self._held.get(model, (0.0, None))
        if held is None or time.monotonic() - at > _FACTS_FOR_S:
            try:
                async with asyncio.timeout(_HELD_S):
                    held = await self._handles[model].broadcast("held").results_async()
            except (RayError, RayServeException, TimeoutError) as error:
                log.warning("model %s: not all replicas responded: %s", model, type(error).__name__)
                held = []
            self._held[model] = time.monotonic(), held
        return held

    def read(self, documents: Sequence[Document], pixels: int) -> AsyncGenerator[list[OcrEvent]]:
        """As Models.read. If the replica dies, another one begins anew and reports its progress
        again."""
        return self._tracer.over(
            lambda span: self._stream(
                True, PICTURES, "read", list(documents), pixels, span.context
            ),
            "ask",
            kind="client",
            model=PICTURES,
            documents=len(documents),
        )

    async def sheets(self, document: Document) -> list[bytes]:
        """As Models.sheets."""
        found: list[bytes] = await self._ask(PICTURES, "sheets", document)
        return found

    async def _ask(self, model: str, method: str, *arguments: Any) -> Any:
        for attempt in range(1, _ATTEMPTS + 1):
            response = getattr(self._calls[model], method).remote(*arguments)
            try:
                return await response
            except asyncio.CancelledError as error:
                _raise_if_own(error, response)
                _log_attempt(model, attempt, error)
            except BackPressureError:
                raise QueueFull(model) from None
            except _REPLICA_LOST as error:
                _log_attempt(model, attempt, error)
            except Exception as error:  # only its type: gRPC passes on what the replica raised
                log.error("model %s: %s", model, type(error).__name__)
                break
        raise ModelUnavailable(f"the model {model} cannot answer")


def _raise_if_own(error: asyncio.CancelledError, response: Any) -> None:
    """Cancel the replica's work and raise if this task was cancelled, by a deadline or a
    disconnect. Otherwise a replica that shuts down cancelled its work and passed that on."""
    task = asyncio.current_task()
    if task is None or task.cancelling():
        _cancel(response)
        raise error


def _log_attempt(model: str, attempt: int, error: BaseException) -> None:
    log.warning("model %s, attempt %d: %s", model, attempt, type(error).__name__)


def _cancel(response: Any) -> None:
    """Cancel the replica's work. A response that could not be queued raises its error again when it
    is cancelled."""
    with suppress(Exception):
        response.cancel()


class SwappableApp:
    """ASGI app that can be replaced at run time; requests in flight stay with the old app.

    Serve reads the routes to label its metrics.
    """

    def __init__(self, app: FastAPI) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Delegate to the current application."""
        await self.app(scope, carried(scope, receive), send)

    @property
    def routes(self) -> list[BaseRoute]:
        """Of the application."""
        return self.app.routes

    @property
    def router(self) -> APIRouter:
        """Of the application."""
        return self.app.router


class HttpSettings(ConfigSection):
    """``user_config`` of the ingress in a Serve config file: settings that need no reload."""

    limits: dict[str, Any] = Field(
        default_factory=dict, description="Keys of serve.limits; they override the pipeline file."
    )


def limited(catalogue: Catalogue, user_config: dict[str, Any] | None) -> Catalogue:
    """The catalogue with the limits of a Serve config file. Raises ConfigError."""
    place = Path("user_config")
    overrides = validate(TypeAdapter(HttpSettings), user_config or {}, place).limits
    known = catalogue.serve.limits
    limits = validate(TypeAdapter(ServeLimits), known.model_dump() | overrides, place)
    if limits.max_deadline_s > known.max_deadline_s:
        raise ConfigError(
            "user_config: limits.max_deadline_s can only be lowered here: proxies and draining "
            f"replicas wait for the {known.max_deadline_s:g} s of the pipeline file"
        )
    return replace(catalogue, serve=catalogue.serve.model_copy(update={"limits": limits}))


@serve.ingress()
class Ingress:
    """The HTTP ingress deployment."""

    def __init__(self, catalogue: Catalogue, handles: Mapping[str, DeploymentHandle]) -> None:
        log_with_serve()
        self._catalogue, self._models = catalogue, HostedModels(handles, catalogue.traces)
        self._switch = SwappableApp(self._app(catalogue))

    def __serve_build_asgi_app__(self) -> SwappableApp:
        """Called by Serve after the constructor."""
        return self._switch

    async def reconfigure(self, user_config: dict[str, Any] | None, rank: Any) -> None:
        """Called by Serve with the ``user_config`` of its config file, or None. Raises
        ConfigError."""
        self._switch.app = self._app(limited(self._catalogue, user_config))

    def _app(self, catalogue: Catalogue) -> FastAPI:
        return create_app(catalogue, self._models, says_id=False)
