"""How object stores are reached: endpoint, region, profile, timeouts, retries. Never secrets.

Credentials come from where the store's own tools look for them: the environment, a profile, the
role of the machine or pod. A configuration travels into plans, markers and logs, so it has no
place for a key, and options that look like one are refused.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal
from urllib.parse import urlsplit

import fsspec.config
from pydantic import Field, JsonValue, field_validator

from actors.config import Section

_SECRET_WORDS = ("key", "secret", "token", "password", "credential", "connection_string", "sas")
# Whose exceptions are a store's, though they are no OSError.
_CLIENTS = ("aiobotocore", "aiohttp", "azure", "botocore", "gcsfs", "google")
# What the user's own fsspec configuration (files, FSSPEC_* variables) said before ours.
_INHERITED = {scheme: dict(options) for scheme, options in fsspec.config.conf.items()}


class StoreError(OSError):
    """A store that cannot be reached, knows no credentials, or does not answer."""


@contextmanager
def store_errors() -> Iterator[None]:
    """Raise StoreError for what the clients of object stores raise beside OSError; also a
    decorator."""
    try:
        yield
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in _CLIENTS or isinstance(error, OSError):
            raise
        # botocore's messages name endpoints and buckets; of the others nothing is known.
        known = type(error).__module__.startswith("botocore")
        more = f": {error}" if known else ""
        raise StoreError(f"the object store: {type(error).__name__}{more}") from error


def reason(error: OSError) -> str:
    """Why a store or a disk refused, in few words without any content: the system's own for a
    disk, status and code of the answer for an object store."""
    if isinstance(error, StoreError):
        return str(error)
    name = type(error).__name__
    for cause in (error, error.__cause__, error.__context__):
        answer = getattr(cause, "response", None)  # botocore's ClientError
        if isinstance(answer, dict):
            status = str(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
            code = str(answer.get("Error", {}).get("Code", ""))
            words = dict.fromkeys(word for word in (status, code) if word)  # HEAD: both the status
            return f"{name}: the store answered {' '.join(words)}"
        number = getattr(cause, "status", None) or getattr(cause, "code", None)
        if isinstance(number, int) and 300 <= number < 600:  # aiohttp, gcsfs
            return f"{name}: the store answered {number}"
    if error.errno is not None:
        return f"{name}: {os.strerror(error.errno)}"
    return name


class S3(Section):
    """s3:// through s3fs and botocore."""

    endpoint: str | None = Field(
        None,
        description="URL of a server that is not AWS; default: AWS_ENDPOINT_URL, else AWS.",
    )
    region: str | None = Field(None, description="Default: AWS_REGION, or the profile's.")
    profile: str | None = Field(
        None,
        description="A profile of ~/.aws on every machine. Default: AWS_* variables, then the role "
        "of the machine or pod.",
    )
    anonymous: bool = Field(False, description="No credentials: public buckets.")
    path_style: bool = Field(
        False, description="endpoint/bucket/key instead of bucket.endpoint/key: MinIO, Ceph."
    )
    attempts: int = Field(
        10,
        ge=1,
        description="Tries of a request that the store answers with 500, 502, 503, 504 or "
        "throttling, or not at all; waits grow to 20 s between them.",
    )
    retry_mode: Literal["adaptive", "standard"] = Field(
        "standard", description="adaptive also slows down all requests while the store throttles."
    )
    connect_timeout_s: float = Field(10.0, gt=0)
    read_timeout_s: float = Field(60.0, gt=0)
    connections: int = Field(32, ge=1, description="Connections a process keeps open at most.")


class Storage(Section):
    """Options of the stores that source, sink and weights are on; workers get the same."""

    s3: S3 = S3()
    options: dict[str, dict[str, JsonValue]] = Field(
        default_factory=dict,
        description="For other schemes (gs, az, abfs, ...): what fsspec's filesystem of that name "
        "takes, without secrets.",
    )

    @field_validator("options")
    @classmethod
    def _no_secrets(cls, options: dict[str, dict[str, JsonValue]]) -> dict[str, Any]:
        for scheme, values in options.items():
            if scheme == "s3":
                raise ValueError("s3 has a section of its own")
            for name in values:
                if any(word in name.lower() for word in _SECRET_WORDS):
                    raise ValueError(
                        f"{scheme}.{name} looks like a secret, and a configuration is kept in "
                        "every run's plan: give it by the environment or the machine's role"
                    )
        return options

    def apply(self) -> None:
        """Make these the options of every filesystem that this process opens from now on.

        Process-wide, because weights, source and sink open filesystems by URL alone; a process
        works for one pipeline. The last call holds.
        """
        fsspec.config.conf.clear()
        fsspec.config.conf.update({scheme: dict(o) for scheme, o in _INHERITED.items()})
        for scheme, options in {"s3": _s3fs(self.s3), **self.options}.items():
            fsspec.config.conf.setdefault(scheme, {}).update(options)


def _s3fs(s3: S3) -> dict[str, Any]:
    config: dict[str, Any] = {
        "retries": {"mode": s3.retry_mode, "total_max_attempts": s3.attempts},
        "connect_timeout": s3.connect_timeout_s,
        "read_timeout": s3.read_timeout_s,
        "max_pool_connections": s3.connections,
    }
    if s3.path_style:
        config["s3"] = {"addressing_style": "path"}
    options: dict[str, Any] = {"config_kwargs": config, "use_listings_cache": False}
    if s3.endpoint:
        options["endpoint_url"] = s3.endpoint
    if s3.region:
        options["client_kwargs"] = {"region_name": s3.region}
    if s3.profile:
        options["profile"] = s3.profile
    if s3.anonymous:
        options["anon"] = True
    return options


def refuse_secrets(url: str, key: str) -> str:
    """The URL; raises ValueError, which does not repeat it, where it holds a password."""
    if "://" in url and urlsplit(url).password:
        raise ValueError(f"{key}: a URL with a password would be kept in every run's plan")
    return url
