"""OpenTelemetry traces. Spans hold names, ids of runs, units and requests, and numbers; never text
of a document, and no id of one.

Every process makes its own spans and sends them itself (OTLP over HTTP, in the background). What
ties them together travels as W3C trace context (https://www.w3.org/TR/trace-context/): in the
header of a request, and as an argument to a replica or an actor.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, aclosing, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from actors.extras import optional_imports
from pipelines.config.traces import Traces

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span as OtelSpan
    from opentelemetry.trace import Tracer as OtelTracer

SpanRole = Literal["internal", "server", "client"]
TraceContext = Mapping[str, str]
"""Headers ``traceparent`` and ``tracestate``; empty: a new trace."""
_T = TypeVar("_T")
# An actor that is stopped loses what it has not sent.
_SEND_EVERY_MS = 500


class TraceSpan:
    """A span that may get further attributes; without one, nothing happens."""

    def __init__(self, span: OtelSpan | None = None) -> None:
        self._span = span

    def set(self, **attributes: str | int | float) -> None:
        """Add attributes, which are named ``medspan.<name>``."""
        if self._span is not None:
            for name, value in attributes.items():
                self._span.set_attribute(f"medspan.{name}", value)

    def http(self, name: str, **attributes: str | int) -> None:
        """Set the name, and attributes of the conventions for HTTP."""
        if self._span is not None:
            self._span.update_name(name)
            for key, value in attributes.items():
                self._span.set_attribute(f"http.{key.replace('__', '.')}", value)

    @property
    def context(self) -> dict[str, str]:
        """The context of its children in other processes; empty without a span."""
        if self._span is None:
            return {}
        from opentelemetry import trace

        carrier: dict[str, str] = {}
        _propagator().inject(carrier, trace.set_span_in_context(self._span))
        return carrier


class Tracer:
    """Makes the spans of a process; without a section ``traces`` it makes none."""

    def __init__(self, traces: Traces | None) -> None:
        self._provider: TracerProvider | None = None
        self._tracer: OtelTracer | None = None
        if traces is not None:
            self._provider = _provider(traces.endpoint, traces.ratio)
            self._tracer = self._provider.get_tracer("medspan", version("medspan"))

    @contextmanager
    def span(
        self,
        name: str,
        parent: TraceContext | None = None,
        kind: SpanRole = "internal",
        **attributes: str | int | float,
    ) -> Iterator[TraceSpan]:
        """A span around a block, below ``parent`` or the span around it in this task. Of an
        exception it gets the type alone: a message could quote a document."""
        if self._tracer is None:
            yield TraceSpan()
            return
        from opentelemetry import trace

        made = self._started(self._tracer, name, parent, kind)
        span = TraceSpan(made)
        span.set(**attributes)
        with (
            _ended(made),
            trace.use_span(made, record_exception=False, set_status_on_exception=False),
        ):
            yield span

    async def over(
        self,
        batches: Callable[[TraceSpan], AsyncGenerator[_T]],
        name: str,
        parent: TraceContext | None = None,
        kind: SpanRole = "internal",
        **attributes: str | int | float,
    ) -> AsyncGenerator[_T]:
        """A span around an asynchronous generator, which different tasks may resume. It ends when
        the generator does."""
        span = TraceSpan()
        ended: AbstractContextManager[None] = nullcontext()
        if self._tracer is not None:
            made = self._started(self._tracer, name, parent, kind)
            span, ended = TraceSpan(made), _ended(made)
            span.set(**attributes)
        with ended:
            async with aclosing(batches(span)) as found:
                async for batch in found:
                    yield batch

    def flush(self) -> None:
        """Send what has not been sent."""
        if self._provider is not None:
            self._provider.force_flush()

    def _started(
        self, tracer: OtelTracer, name: str, parent: TraceContext | None, kind: SpanRole
    ) -> OtelSpan:
        from opentelemetry.trace import SpanKind

        context = None if parent is None else _propagator().extract(dict(parent))
        return tracer.start_span(name, context, SpanKind[kind.upper()])


@dataclass(frozen=True, slots=True)
class ParentSpan:
    """The parent span of a run, pickled for its processes so that they add their spans below it."""

    traces: Traces | None = None
    context: TraceContext = field(default_factory=dict)

    def span(self, name: str, **attributes: str | int | float) -> AbstractContextManager[TraceSpan]:
        """A span below it."""
        return Tracer(self.traces).span(name, self.context, "internal", **attributes)


@contextmanager
def _ended(span: OtelSpan) -> Iterator[None]:
    from opentelemetry.trace import StatusCode

    try:
        yield
    except GeneratorExit:
        span.set_attribute("medspan.cancelled", True)
        raise
    except BaseException as error:
        span.set_status(StatusCode.ERROR, type(error).__name__)
        raise
    finally:
        span.end()


@cache
def _propagator() -> Any:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator()


@cache
def _provider(endpoint: str | None, ratio: float) -> TracerProvider:
    """The provider of this process; not the global one, which belongs to whoever embeds medspan."""
    with optional_imports("traces"):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    service = os.environ.get("OTEL_SERVICE_NAME", "medspan")
    resource = Resource.create({"service.name": service, "service.version": version("medspan")})
    provider = TracerProvider(ParentBased(TraceIdRatioBased(ratio)), resource)
    exporter = OTLPSpanExporter(endpoint)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=_SEND_EVERY_MS))
    return provider
