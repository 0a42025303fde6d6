"""The HTTP application: paths, tokens, limits. It knows its models by a protocol only."""

from __future__ import annotations

import asyncio
import time
from importlib.metadata import version

from fastapi import Depends, FastAPI, Request
from fastapi.security import HTTPBearer
from starlette.responses import Response

from pipelines.markup.colours import looks
from pipelines.serve.admission import Rate, Refused
from pipelines.serve.answer import Answerer, Gone
from pipelines.serve.catalogue import Catalogue, Target
from pipelines.serve.errors import CODES, Problem, answers, install
from pipelines.serve.guard import LOOPBACK, Guard
from pipelines.serve.page import add_page
from pipelines.serve.schema import (
    ExtractRequest,
    ExtractResponse,
    Health,
    LabelOut,
    LimitsOut,
    ModelOut,
    ModelsResponse,
)
from pipelines.serve.service import Models, ModelUnavailable, QueueFull, probe
from pipelines.serve.tokens import Token, Tokens

_DESCRIPTION = """Medical entities of texts, each with the place it was found at.

Offsets are Unicode code points of the text exactly as sent, start inclusive, end exclusive.
Nothing is kept: the same request has the same answer, so a request may always be repeated.

Every answer that is not a success has one form, `{"error": {"code", "message", "request_id",
"details"}}`. The codes:
"""
_BEARER = HTTPBearer(auto_error=False, description="Needed where the server has a tokens file.")
_PROBE_S = 20.0
_PROBED_FOR_S = 5.0
_COMMON = ("unauthorized", "host_forbidden", "rate_limited", "internal")


def create_app(catalogue: Catalogue, models: Models, *, says_id: bool = True) -> FastAPI:
    """The application over some models. Raises ConfigError where the tokens file cannot be used.

    ``says_id``: whether answers get their X-Request-Id here; Serve's proxy writes one itself.
    """
    serve = catalogue.serve
    app = FastAPI(
        title="medspan",
        version=version("medspan"),
        description=_DESCRIPTION
        + "".join(f"\n- `{code}` ({status}): {text}" for code, (status, text) in CODES.items()),
        openapi_url="/v1/openapi.json",
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    install(app)
    api = _Api(catalogue, models)
    api.add_to(app)
    if serve.page:
        add_page(app)
    hosts = None if serve.tokens else (*LOOPBACK, *serve.hosts)
    most = int(serve.limits.body_mb * 1_000_000)
    app.add_middleware(Guard, hosts=hosts, let_in=api.let_in, body_bytes=most, says_id=says_id)
    return app


class _Api:
    def __init__(self, catalogue: Catalogue, models: Models) -> None:
        self._catalogue, self._models = catalogue, models
        self._answerer = Answerer(catalogue, models)
        serve = catalogue.serve
        self._tokens = Tokens(serve.tokens) if serve.tokens else None
        per_minute = serve.limits.requests_per_minute
        self._rate = Rate(per_minute) if per_minute else None
        self._ready = 0.0  # when all models last answered a probe
        self._probing = asyncio.Lock()

    def add_to(self, app: FastAPI) -> None:
        app.add_api_route(
            "/v1/extract",
            self.extract,
            methods=["POST"],
            response_model=ExtractResponse,
            dependencies=[Depends(_BEARER)],
            responses=answers(*(code for code in CODES if code not in _ELSEWHERE)),
            summary="Entities of one or many documents",
        )
        app.add_api_route(
            "/v1/models",
            self.models,
            methods=["GET"],
            response_model=ModelsResponse,
            dependencies=[Depends(_BEARER)],
            responses=answers(*_COMMON, "model_unavailable"),
            summary="What can be asked for, by name",
        )
        app.add_api_route(
            "/healthz",
            self.health,
            methods=["GET"],
            response_model=Health,
            responses=answers("internal"),
            summary="Whether the process answers",
        )
        app.add_api_route(
            "/readyz",
            self.ready,
            methods=["GET"],
            response_model=Health,
            responses=answers("internal", "model_unavailable"),
            summary="Whether every model has read a probe document, now or within five seconds",
        )

    async def extract(self, body: ExtractRequest, request: Request) -> Response:
        token: Token | None = request.state.token
        target = self._answerer.target(body.model)
        if not _allowed(token, target):
            raise Problem("forbidden")
        try:
            found = await self._answerer.answer(
                body, request.state.request_id, lambda: _gone(request)
            )
        except Gone:
            return Response(status_code=499)  # nobody reads it
        return Response(found.model_dump_json(), media_type="application/json")

    async def models(self, request: Request) -> Response:
        token: Token | None = request.state.token
        targets = [t for t in self._catalogue.targets.values() if _allowed(token, t)]
        try:
            shown = [await self._shown(target) for target in targets]
        except ModelUnavailable:
            raise Problem("model_unavailable", headers={"retry-after": "2"}) from None
        limits = self._catalogue.serve.limits
        content = ModelsResponse(
            models=shown,
            limits=LimitsOut(
                body_bytes=int(limits.body_mb * 1_000_000),
                documents=limits.documents,
                characters=limits.characters,
                deadline_s=limits.deadline_s,
                max_deadline_s=limits.max_deadline_s,
            ),
            pictures=self._catalogue.ocr is not None,
        )
        return Response(content.model_dump_json(), media_type="application/json")

    async def health(self) -> Health:
        return Health(status="ok")

    async def ready(self) -> Health:
        # One probe at a time, and its good answer holds a while: anybody may ask this.
        async with self._probing:
            if time.monotonic() - self._ready > _PROBED_FOR_S:
                try:
                    async with asyncio.timeout(_PROBE_S):
                        good = [await probe(self._models, name) for name in self._catalogue.models]
                except QueueFull:
                    good = []  # overloaded and working
                except (ModelUnavailable, TimeoutError):
                    good = [False]
                if not all(good):
                    raise Problem("model_unavailable", headers={"retry-after": "2"})
                self._ready = time.monotonic()
        return Health(status="ok")

    def let_in(self, authorization: str, address: str) -> Token | None:
        """The token of a request under /v1; raises Problem where it may not come in."""
        token = None
        if self._tokens is not None:
            scheme, _, secret = authorization.partition(" ")
            if scheme.lower() == "bearer":
                token = self._tokens.find(secret.strip())
            if token is None:
                raise Problem("unauthorized", headers={"www-authenticate": "Bearer"})
        if self._rate is not None:
            try:
                self._rate.take(token.name if token else address)
            except Refused as refused:
                retry = {"retry-after": str(refused.retry_after)}
                raise Problem("rate_limited", headers=retry) from None
        return token

    async def _shown(self, target: Target) -> ModelOut:
        facts = [await self._models.facts(name) for name in target.models]
        drawn = looks(label for fact in facts for label in fact.labels)
        return ModelOut(
            name=target.name,
            kind="pipeline" if target.pipeline else facts[0].kind,
            default=target.name == self._catalogue.default,
            models=list(target.models),
            labels=[
                LabelOut(name=name, light=look.hue.light, dark=look.hue.dark, line=look.line)
                for name, look in sorted(drawn.items())
            ],
            fingerprints={fact.name: fact.fingerprint for fact in facts},
            prompts=all(fact.prompts for fact in facts),
        )


_ELSEWHERE = ("not_found", "method_not_allowed")


def _allowed(token: Token | None, target: Target) -> bool:
    return token is None or token.allows(target.name)


async def _gone(request: Request) -> None:
    """Return once the client has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
