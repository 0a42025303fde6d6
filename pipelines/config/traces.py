"""The section ``traces`` of a pipeline file."""

from __future__ import annotations

from pydantic import Field

from actors.config import ConfigSection


class Traces(ConfigSection):
    """OpenTelemetry traces, over OTLP. No span holds text of a document."""

    endpoint: str | None = Field(
        None,
        pattern=r"^https?://[^@]+$",
        description="Where to send them, such as http://collector:4318/v1/traces; default: "
        "OTEL_EXPORTER_OTLP_ENDPOINT. Headers: OTEL_EXPORTER_OTLP_HEADERS.",
    )
    ratio: float = Field(
        1.0, ge=0, le=1, description="Share of traces to record, if the caller has not decided."
    )
