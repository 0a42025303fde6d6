"""The HTTP application: routes, authentication, limits. It depends only on ``Models``."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import asdict
from importlib.metadata import version

from fastapi import Depends, FastAPI, Request
from fastapi.security import HTTPBearer
from starlette.responses import Response

from pipelines.markup.colours import looks
from pipelines.serve.answering.admission import Rate, Rejected
from pipelines.serve.answering.answer import PICTURES, Answerer, ClientDisconnected
from pipelines.serve.answering.deidentify_answer import KnownPatient
from pipelines.serve.answering.guidelines import use_of
from pipelines.serve.answering.models import ModelFacts, Models, ModelUnavailable, QueueFull
from pipelines.serve.answering.request_documents import InputDocument
from pipelines.serve.answering.url_documents import Fetcher
from pipelines.serve.answering.vocabularies import vocabularies_of
from pipelines.serve.catalogue import Catalogue, Target
from pipelines.serve.http.audit import audited
from pipelines.serve.http.bearer_tokens import Token, TokenStore
from pipelines.serve.http.bodies import read_body
from pipelines.serve.http.guard import DEIDENTIFY_UPLOAD, LOOPBACK, UPLOAD, Guard
from pipelines.serve.http.openapi import describe, request_body
from pipelines.serve.http.readiness import probe, probe_reader
from pipelines.serve.http.streaming import DESCRIPTION, EVENTS, MEDIA_TYPE, event_stream
from pipelines.serve.http.tracing import RequestSpans
from pipelines.serve.http.uploads import form_body, read_form
from pipelines.serve.page import add_page
from pipelines.serve.wire.errors import CODES, Problem, answers, install
from pipelines.serve.wire.requests import (
    DeidentifyOptions,
    DeidentifyRequest,
    DeidentifyUploadOptions,
    ExtractRequest,
    RequestOptions,
)
from pipelines.serve.wire.responses import (
    DeidentifyOfferOut,
    DeidentifyResponse,
    ExtractResponse,
    GuidelineOut,
    HealthOut,
    LabelOut,
    LimitsOut,
    ModelOut,
    ModelsResponse,
    ReplicaOut,
    VocabulariesResponse,
)
from pipelines.worker.traces import Tracer

_DESCRIPTION = """Extracts medical entities from texts, each with the position where it was found.

Offsets refer to the text exactly as sent, start inclusive, end exclusive, in Unicode code points or
in the unit that the request's `offsets` selects.
The service is stateless: the same request gets the same answer, so it is always safe to retry.

Every error response has the form `{"error": {"code", "message", "request_id", "details"}}`. The
codes:
"""
_BEARER = HTTPBearer(auto_error=False, description="Created with `medspan token`.")
_FACTS_S = 5.0  # to get the facts of a model that are not cached yet
_PROBE_S = 20.0
_PROBED_FOR_S = 5.0
_COMMON = ("unauthorized", "host_forbidden", "rate_limited", "internal")


def create_app(catalogue: Catalogue, models: Models, *, says_id: bool = True) -> FastAPI:
    """Create the application. Raises ConfigError if the tokens file cannot be read.

    ``says_id``: set X-Request-Id on responses; Serve's proxy sets it itself.
    """
    serve = catalogue.serve
    app = FastAPI(
        title="medspan",
        version=version("medspan"),
        description=_DESCRIPTION
        + "".join(f"\n- `{code}` ({status}): {text}" for code, (status, text) in CODES.items()),
        openapi_url="/v1/openapi.json",
        docs_url=None,  # these pages load scripts from third parties
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    install(app)
    describe(app, [ExtractRequest, DeidentifyRequest, DeidentifyUploadOptions])
    api = _Api(catalogue, models)
    api.add_to(app)
    if serve.page:
        add_page(app)
    hosts = None if serve.tokens else (*LOOPBACK, *serve.hosts)
    most = int(serve.limits.body_mb * 1_000_000)
    app.add_middleware(
        Guard,
        hosts=hosts,
        admit=api.admit,
        body_bytes=most,
        says_id=says_id,
        proxies=serve.trusted_proxies,
    )
    if catalogue.traces is not None:
        app.add_middleware(RequestSpans, tracer=Tracer(catalogue.traces))
    return app


class _Api:
    def __init__(self, catalogue: Catalogue, models: Models) -> None:
        self._catalogue, self._models = catalogue, models
        serve = catalogue.serve
        self._answerer = Answerer(catalogue, models, Fetcher(serve.urls))
        self._tokens = TokenStore(serve.tokens) if serve.tokens else None
        per_minute = serve.limits.requests_per_minute
        self._rate = Rate(per_minute) if per_minute else None
        self._ready = 0.0  # when all probes last passed
        self._probing: asyncio.Task[bool] | None = None

    def add_to(self, app: FastAPI) -> None:
        # The guard checks the token; this only declares it in the OpenAPI description.
        bearer = [Depends(_BEARER)] if self._tokens is not None else []
        app.add_api_route(
            "/v1/extract",
            self.extract,
            methods=["POST"],
            response_model=ExtractResponse,
            dependencies=bearer,
            responses=answers(*(code for code in CODES if code not in _ELSEWHERE | _OF_FORMS)),
            summary="Extract the entities of one or many documents",
            openapi_extra=request_body(ExtractRequest),
        )
        app.add_api_route(
            UPLOAD,
            self.upload,
            methods=["POST"],
            response_model=ExtractResponse,
            dependencies=bearer,
            responses=answers(*(code for code in CODES if code not in _ELSEWHERE | _OF_JSON)),
            summary="Extract the entities of uploaded files",
            openapi_extra=form_body(
                "The fields of an ExtractRequest except `text` and `documents`, as JSON.",
                "Offsets refer to the visible text, which the answer then has.",
            ),
        )
        app.add_api_route(
            "/v1/deidentify",
            self.deidentify,
            methods=["POST"],
            response_model=DeidentifyResponse,
            dependencies=bearer,
            responses=answers(*(c for c in CODES if c not in _ELSEWHERE | _OF_FORMS | _OF_OPTIONS)),
            summary="De-identify one or many documents",
            openapi_extra=request_body(DeidentifyRequest),
        )
        app.add_api_route(
            DEIDENTIFY_UPLOAD,
            self.deidentify_upload,
            methods=["POST"],
            response_model=DeidentifyResponse,
            dependencies=bearer,
            responses=answers(
                *(c for c in CODES if c not in _ELSEWHERE | _OF_OPTIONS | (_OF_JSON - _OF_PAGES))
            ),
            summary="De-identify uploaded files of one patient",
            openapi_extra=form_body(
                "DeidentifyUploadOptions, as JSON.",
                "`start` and `end` of edits refer to the visible text, which no answer has.",
            ),
        )
        app.add_api_route(
            "/v1/extract/stream",
            self.stream,
            methods=["POST"],
            response_model=None,
            response_class=Response,  # errors are JSON
            status_code=200,
            dependencies=bearer,
            responses=answers(*(code for code in CODES if code not in _ELSEWHERE | _OF_FORMS))
            | {200: {"description": DESCRIPTION, "content": {MEDIA_TYPE: EVENTS}}},
            openapi_extra=request_body(ExtractRequest),
            summary="Extract entities as a stream of server-sent events",
        )
        app.add_api_route(
            "/v1/models",
            self.models,
            methods=["GET"],
            response_model=ModelsResponse,
            dependencies=bearer,
            responses=answers(*_COMMON, "unavailable", "model_unavailable", "overloaded"),
            summary="List models, pipelines, guidelines and limits",
        )
        app.add_api_route(
            "/v1/vocabularies",
            self.vocabularies,
            methods=["GET"],
            response_model=VocabulariesResponse,
            dependencies=bearer,
            responses=answers(*_COMMON, "unavailable"),
            summary="Vocabularies that entities are linked to, with their versions",
        )
        app.add_api_route(
            "/healthz",
            self.health,
            methods=["GET"],
            response_model=HealthOut,
            responses=answers("internal", "unavailable"),
            summary="Liveness: the process responds",
        )
        app.add_api_route(
            "/readyz",
            self.ready,
            methods=["GET"],
            response_model=HealthOut,
            responses=answers("internal", "unavailable", "model_unavailable"),
            summary="Readiness: all models, and OCR, passed a probe within the last 5 s",
        )

    async def extract(self, request: Request) -> Response:
        body = await self._body(request)
        return await self._answer(body, _inputs(body), request)

    async def upload(self, request: Request) -> Response:
        most = self._catalogue.serve.limits.documents
        return await self._answer(*await read_form(request, RequestOptions, most), request)

    async def deidentify(self, request: Request) -> Response:
        most = self._catalogue.serve.limits.documents
        body = await read_body(request, DeidentifyRequest, most)
        known = [
            KnownPatient(one.patient or one.id, tuple(one.names)) for one in body.documents or ()
        ]
        return await self._deidentified(body, _inputs(body), known or [KnownPatient()], request)

    async def deidentify_upload(self, request: Request) -> Response:
        most = self._catalogue.serve.limits.documents
        options, inputs = await read_form(request, DeidentifyUploadOptions, most)
        known = KnownPatient(options.patient, tuple(options.names))
        return await self._deidentified(options, inputs, [known] * len(inputs), request)

    async def _deidentified(
        self,
        asked: DeidentifyOptions,
        inputs: list[InputDocument],
        known: list[KnownPatient],
        request: Request,
    ) -> Response:
        self._check(asked.options, request)
        with audited("deidentify", request.state, len(inputs)) as entry:
            try:
                found = await self._answerer.deidentify(
                    asked.options,
                    asked.pages,
                    inputs,
                    known,
                    request.state.request_id,
                    lambda: _disconnected(request),
                )
            except ClientDisconnected:
                return Response(status_code=499)  # the client is gone
            files = sum(one.file is not None for one in found.documents)
            outcome = Counter[str](one.status for one in found.documents)
            entry.outcome = outcome + Counter(files=files)
        content = await asyncio.to_thread(found.model_dump_json)
        return Response(content, media_type="application/json")

    async def _body(self, request: Request) -> ExtractRequest:
        return await read_body(request, ExtractRequest, self._catalogue.serve.limits.documents)

    async def stream(self, request: Request) -> Response:
        body = await self._body(request)
        self._check(body, request)
        request_id = request.state.request_id
        events = self._answerer.stream(body, _inputs(body), request_id)
        return event_stream(events, await anext(events), request_id)

    async def _answer(
        self, options: RequestOptions, inputs: list[InputDocument], request: Request
    ) -> Response:
        self._check(options, request)
        try:
            found = await self._answerer.answer(
                options, inputs, request.state.request_id, lambda: _disconnected(request)
            )
        except ClientDisconnected:
            return Response(status_code=499)  # the client is gone
        return Response(found, media_type="application/json")

    def _check(self, options: RequestOptions, request: Request) -> None:
        if not _is_allowed(request.state.token, self._answerer.target(options.model)):
            raise Problem("forbidden")

    async def models(self, request: Request) -> Response:
        targets = self._seen(request)
        names = list(dict.fromkeys(name for target in targets for name in target.models))
        try:
            async with asyncio.timeout(_FACTS_S):
                found = await asyncio.gather(*(self._models.facts(name) for name in names))
        except QueueFull:
            raise Problem("overloaded", headers={"retry-after": "1"}) from None
        except (ModelUnavailable, TimeoutError):
            raise Problem("model_unavailable", headers={"retry-after": "2"}) from None
        facts = dict(zip(names, found, strict=True))
        limits = self._catalogue.serve.limits
        content = ModelsResponse(
            models=[await self._shown(target, facts) for target in targets],
            guidelines=[
                GuidelineOut(
                    name=known.name,
                    language=known.language,
                    description=known.description,
                    labels=_label_colours(known.labels),
                )
                for known in self._catalogue.guidelines.values()
            ],
            limits=LimitsOut(
                body_bytes=int(limits.body_mb * 1_000_000),
                documents=limits.documents,
                characters=limits.characters,
                megapixels=limits.megapixels,
                deadline_s=limits.deadline_s,
                max_deadline_s=limits.max_deadline_s,
            ),
            pictures=any(self._catalogue.takes_pictures(target) for target in targets),
            deidentify=self._deidentify_offer(targets),
            urls=[source.prefix for source in self._catalogue.serve.urls],
        )
        return Response(content.model_dump_json(), media_type="application/json")

    def _deidentify_offer(self, targets: Iterable[Target]) -> DeidentifyOfferOut | None:
        """Return what /v1/deidentify offers a client that may use these targets."""
        categories = self._answerer.taken_categories
        if categories is None or all(one.name != self._catalogue.default for one in targets):
            return None
        return DeidentifyOfferOut(
            pages=self._answerer.covers_pages, categories=_label_colours(categories)
        )

    async def vocabularies(self, request: Request) -> VocabulariesResponse:
        stages = [stage for target in self._seen(request) for stage in target.refining]
        # A few small files are read, which may lie on a slow disk.
        found = await asyncio.to_thread(vocabularies_of, stages)
        return VocabulariesResponse(vocabularies=found)

    def _seen(self, request: Request) -> list[Target]:
        token: Token | None = request.state.token
        return [t for t in self._catalogue.targets.values() if _is_allowed(token, t)]

    async def health(self) -> HealthOut:
        return HealthOut(status="ok")

    async def ready(self) -> HealthOut:
        # The path is public, so all callers share one probe, and a success is cached for a while.
        if time.monotonic() - self._ready > _PROBED_FOR_S:
            if self._probing is None or self._probing.done():
                self._probing = asyncio.create_task(self._all_healthy())
            if not await asyncio.shield(self._probing):
                raise Problem("model_unavailable", headers={"retry-after": "2"})
        return HealthOut(status="ok")

    async def _all_healthy(self) -> bool:
        probes = {name: probe(self._models, name) for name in self._catalogue.models}
        if self._catalogue.reader is not None:
            probes[PICTURES] = probe_reader(self._models)
        good = all(await asyncio.gather(*(self._healthy(*one) for one in probes.items())))
        if good:
            self._ready = time.monotonic()
        return good

    async def _healthy(self, model: str, probing: Awaitable[bool]) -> bool:
        began = time.monotonic()
        try:
            async with asyncio.timeout(_PROBE_S):
                return await probing
        except QueueFull:
            return True  # overloaded but working
        except ModelUnavailable:
            return False
        except TimeoutError:
            # The probe is only queued if other work made progress meanwhile.
            return self._answerer.is_progressing(model, time.monotonic() - began)

    def admit(self, authorization: str, address: str) -> Token | None:
        """Authenticate and rate-limit a request under /v1; raises Problem if it is rejected."""
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
            except Rejected as refused:
                retry = {"retry-after": str(refused.retry_after)}
                raise Problem("rate_limited", headers=retry) from None
        return token

    async def _shown(self, target: Target, known: Mapping[str, ModelFacts]) -> ModelOut:
        facts = [known[name] for name in target.models]
        held = [] if target.pipeline else await self._models.held(target.name)
        return ModelOut(
            name=target.name,
            kind="pipeline" if target.pipeline else facts[0].kind,
            default=target.name == self._catalogue.default,
            models=list(target.models),
            labels=_label_colours(label for fact in facts for label in fact.labels),
            fingerprints={fact.name: fact.fingerprint for fact in facts},
            prompts=all(fact.prompts for fact in facts),
            guideline=use_of(facts),
            replicas=[ReplicaOut(**asdict(one)) for one in held],
        )


_ELSEWHERE = {"not_found", "method_not_allowed"}
_OF_FORMS = {"bad_form", "origin_forbidden"}
_OF_OPTIONS = {"model_not_found", "guideline_not_found", "guideline_not_supported"}
_OF_JSON = {"url_forbidden", "pictures_not_read", "prompt_not_supported"}
_OF_PAGES = {"pictures_not_read"}


def _inputs(body: ExtractRequest | DeidentifyRequest) -> list[InputDocument]:
    if body.documents is None:
        return [InputDocument("0", text=body.text)]
    return [
        InputDocument.of(document, place, body.offsets)
        for place, document in enumerate(body.documents)
    ]


def _label_colours(labels: Iterable[str]) -> list[LabelOut]:
    return [
        LabelOut(name=name, light=look.hue.light, dark=look.hue.dark, line=look.line)
        for name, look in sorted(looks(labels).items())
    ]


def _is_allowed(token: Token | None, target: Target) -> bool:
    return token is None or token.allows(target.name)


async def _disconnected(request: Request) -> None:
    """Return once the client has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
