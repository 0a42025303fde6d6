"""A collector of OpenTelemetry spans on loopback (OTLP over HTTP)."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Received:
    """A span as it was sent; ids are hex digits, ``parent`` is empty for the first of a trace."""

    name: str
    trace: str
    id: str
    parent: str
    attributes: dict[str, str | int | float]
    status: str


class Collector:
    """Records the received spans and their request bodies."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.spans: list[Received] = []
        self.bodies: list[bytes] = []

    def named(self, *names: str) -> list[Received]:
        """Wait for a span of each name; those of the last one."""
        ends = time.monotonic() + 60
        while not {one.name for one in self.spans} >= set(names):
            assert time.monotonic() < ends, sorted({one.name for one in self.spans})
            time.sleep(0.05)
        return [one for one in self.spans if one.name == names[-1]]

    def add(self, body: bytes) -> None:
        """Read a request's body."""
        self.bodies.append(body)
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.append(
                        Received(
                            span.name,
                            span.trace_id.hex(),
                            span.span_id.hex(),
                            span.parent_span_id.hex(),
                            {
                                pair.key: getattr(pair.value, str(pair.value.WhichOneof("value")))
                                for pair in span.attributes
                            },
                            span.status.message,
                        )
                    )


@contextmanager
def collector() -> Iterator[Collector]:
    """A running collector."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            found.add(body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Collector(f"http://127.0.0.1:{server.server_port}/v1/traces")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()
