"""The application inside Ray Serve: its ingress, and the models behind handles."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.exceptions import RayActorError, RayError, TaskCancelledError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RayServeException
from ray.serve.handle import DeploymentHandle

from actors.guideline import Guideline
from actors.pages import Reading
from actors.spans import Document, Extraction, Failure
from pipelines.serve.app import create_app
from pipelines.serve.catalogue import Catalogue
from pipelines.serve.service import Event, ModelFacts, ModelUnavailable, QueueFull

log = logging.getLogger("ray.serve")

_FACTS_FOR_S = 5.0
_ATTEMPTS = 3
# No model may have this name (see Catalogue), so its handle can lie among theirs.
READER = "(pictures)"


class HostedModels:
    """Models in replicas of other deployments."""

    def __init__(self, handles: Mapping[str, DeploymentHandle]) -> None:
        self._handles = handles
        self._streaming = {name: h.options(stream=True) for name, h in handles.items()}
        self._facts: dict[str, tuple[float, ModelFacts]] = {}

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
            said = ended = False
            try:
                async for batch in response:
                    said = True
                    yield batch
                ended = True
                return
            except BackPressureError:
                raise QueueFull(model) from None
            except (RayActorError, DeploymentUnavailableError) as error:
                log.warning("model %s, attempt %d: %s", model, attempt, type(error).__name__)
                if said:
                    break
            except (RayError, RayServeException) as error:
                log.error("model %s: %s", model, type(error).__name__)
                break
            finally:
                if not ended:
                    response.cancel()  # a deadline or a client that has gone ends the work too
        raise ModelUnavailable(f"the model {model} cannot answer")

    async def facts(self, model: str) -> ModelFacts:
        """As Models.facts, at most a few seconds old."""
        at, facts = self._facts.get(model, (0.0, None))
        if facts is None or time.monotonic() - at > _FACTS_FOR_S:
            facts = await self._ask(model, "facts")
            self._facts[model] = time.monotonic(), facts
        return facts

    async def read(self, documents: Sequence[Document], pixels: int) -> list[Reading | Failure]:
        """As Models.read."""
        found: list[Reading | Failure] = await self._ask(READER, "read", list(documents), pixels)
        return found

    async def sheets(self, document: Document) -> list[bytes]:
        """As Models.sheets."""
        found: list[bytes] = await self._ask(READER, "sheets", document)
        return found

    async def _ask(self, model: str, method: str, *arguments: Any) -> Any:
        for attempt in range(1, _ATTEMPTS + 1):
            response = getattr(self._handles[model], method).remote(*arguments)
            arrived = False
            try:
                result = await response
                arrived = True
                return result
            except BackPressureError:
                raise QueueFull(model) from None
            except TaskCancelledError:
                raise ModelUnavailable(f"the model {model} let go of a request") from None
            except (RayActorError, DeploymentUnavailableError) as error:
                log.warning("model %s, attempt %d: %s", model, attempt, type(error).__name__)
            except (RayError, RayServeException) as error:
                log.error("model %s: %s", model, type(error).__name__)
                break
            finally:
                if not arrived:
                    response.cancel()  # a deadline or a client that has gone ends the work too
        raise ModelUnavailable(f"the model {model} cannot answer")


@serve.ingress()
class Ingress:
    """The deployment that speaks HTTP."""

    def __init__(self, catalogue: Catalogue, handles: Mapping[str, DeploymentHandle]) -> None:
        self._catalogue, self._handles = catalogue, handles

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Called by Serve after the constructor."""
        return create_app(self._catalogue, HostedModels(self._handles), says_id=False)
