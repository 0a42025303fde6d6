"""The section ``serve``: addresses, limits and models of the server."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from actors.config import ConfigSection
from pipelines.config.steps import Step
from pipelines.pool import Pool


class ServeLimits(ConfigSection):
    """Limits of requests and queues. Beyond the queue, requests get an immediate 429."""

    body_mb: float = Field(
        8.0, gt=0, description="Maximum MB of a request's body, and of the content of its urls."
    )
    documents: int = Field(64, ge=1, description="Maximum documents per request.")
    characters: int = Field(1_000_000, ge=1, description="Maximum characters per document.")
    queue_documents: int = Field(
        512, ge=1, description="Maximum documents queued or running per model."
    )
    queue_characters: int = Field(
        4_000_000, ge=1, description="Maximum characters queued or running per model."
    )
    megapixels: float = Field(
        200.0,
        gt=0,
        description="Maximum megapixels of all images of a request, rendered PDF pages included; "
        "documents beyond it fail.",
    )
    requests_per_minute: int | None = Field(
        None, ge=1, description="Rate limit per token, or per client address without tokens."
    )
    deadline_s: float = Field(60.0, gt=0, description="Default deadline of a request.")
    max_deadline_s: float = Field(300.0, gt=0, description="Maximum deadline of a request.")


class UrlSource(ConfigSection):
    """A URL prefix that documents of requests may be fetched from."""

    prefix: str = Field(
        description="A prefix such as https://host/path/; http:// is accepted, too."
    )
    private: bool = Field(
        False,
        description="Allow hosts that resolve to private or loopback addresses; by default they "
        "are rejected.",
    )

    @field_validator("prefix")
    @classmethod
    def _is_a_beginning(cls, prefix: str) -> str:
        parts = urlsplit(prefix)
        _ = parts.port  # raises where it is none
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise ValueError("must be http:// or https:// and a host")
        if not parts.path.endswith("/") or parts.query or parts.fragment:
            raise ValueError("must be a path prefix that ends with a slash, without a query")
        return f"{parts.scheme}://{parts.netloc.lower()}{parts.path}"


class Serve(ConfigSection):
    """Settings of online serving; see ``medspan serve``."""

    host: str = Field(
        "127.0.0.1", description="Address to bind; a non-loopback address requires tokens."
    )
    port: int = Field(8000, ge=0, le=65535)
    hosts: tuple[str, ...] = Field(
        (), description="Host names served without tokens, in addition to loopback."
    )
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = Field(
        (),
        description="Addresses or networks of reverse proxies that are trusted to set "
        "X-Forwarded-For, which limits.requests_per_minute uses; others are not.",
    )
    tokens: str | None = Field(
        None, description="File with the digests of bearer tokens, see `medspan token`."
    )
    models: tuple[Step, ...] = Field((), description="Additional models that requests may name.")
    pools: dict[str, Pool] = Field(
        default_factory=dict,
        description="Replica pools by model name; they override the pools of the steps.",
    )
    guidelines: tuple[str, ...] = Field(
        (), description="Guideline files that requests may refer to by the name inside."
    )
    urls: tuple[UrlSource, ...] = Field(
        (), description="Allowed sources of documents given by `url`; default: none."
    )
    ingress_replicas: int = Field(
        1, ge=1, description="HTTP processes; queue and rate limits apply to each."
    )
    target_ongoing_requests: float = Field(
        4.0, gt=0, description="Autoscaling target of concurrent requests per replica."
    )
    stall_timeout_s: float = Field(
        120.0,
        gt=0,
        description="A replica with work in flight that makes no progress (documents, pages, "
        "batches, generated text) for this long is replaced.",
    )
    page: bool = Field(True, description="Serve the web page at /.")
    limits: ServeLimits = ServeLimits()
