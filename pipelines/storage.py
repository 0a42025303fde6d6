"""Access to object stores: endpoint, region, profile, timeouts, retries. Never secrets.

One configuration for two clients: ``apply`` configures fsspec, ``delta_options`` delta-rs.

Credentials come from the environment, a profile, or the role of the machine or pod, as with the
store's own tools. The configuration is copied into plans, markers and logs, so it cannot hold
secrets, and options that look like one are rejected.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import fsspec.config
from pydantic import Field, JsonValue, field_validator

from actors.config import ConfigSection

_CONNECT_TIMEOUT_S = 10
_CONNECTIONS = 32  # open at once, per process
_NO_CREDENTIALS = (
    "no credentials found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or storage.s3.profile, "
    "or for a public bucket storage.s3.anonymous"
)
_SECRET_WORDS = ("key", "secret", "token", "password", "credential", "connection_string", "sas")
# Packages with exceptions that are store errors but not OSErrors.
_CLIENTS = ("aiobotocore", "aiohttp", "azure", "botocore", "gcsfs", "google")
# The user's own fsspec configuration (files, FSSPEC_* variables), before ours.
_INHERITED = {scheme: dict(options) for scheme, options in fsspec.config.conf.items()}


class StoreError(OSError):
    """An object store is unreachable, does not respond, or has no credentials."""


class NoTablesError(StoreError):
    """A kind of store that delta-rs does not support."""


@contextmanager
def store_errors() -> Iterator[None]:
    """Translate the exceptions of object store clients into StoreError; also a decorator."""
    try:
        yield
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in _CLIENTS or isinstance(error, OSError):
            raise
        if type(error).__name__ == "NoCredentialsError":  # botocore's
            raise StoreError(f"the object store: {_NO_CREDENTIALS}") from error
        # botocore's messages name endpoints and buckets only; other clients' may hold anything.
        known = type(error).__module__.startswith("botocore")
        more = f": {error}" if known else ""
        raise StoreError(f"the object store: {type(error).__name__}{more}") from error


def reason(error: OSError) -> str:
    """A short, content-free reason of a storage error: the operating system's message for a disk,
    status and error code for an object store."""
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


class S3(ConfigSection):
    """s3:// through s3fs and botocore."""

    endpoint: str | None = Field(
        None,
        description="URL of an S3-compatible server; default: AWS_ENDPOINT_URL, else AWS.",
    )
    region: str | None = Field(None, description="Default: AWS_REGION, or the profile's.")
    profile: str | None = Field(
        None,
        description="A profile of ~/.aws on every machine. Default: AWS_* variables, then the role "
        "of the machine or pod.",
    )
    anonymous: bool = Field(False, description="Use no credentials, for public buckets.")
    path_style: bool = Field(
        False, description="endpoint/bucket/key instead of bucket.endpoint/key: MinIO, Ceph."
    )
    attempts: int = Field(
        10,
        ge=1,
        description="Maximum attempts of a request after a 500, 502, 503, 504, throttling or a "
        "timeout; the backoff grows to 20 s.",
    )
    read_timeout_s: float = Field(60.0, gt=0)
    single_writer: bool = Field(
        False,
        description="Declare that only one process ever writes to the sink, so that a store that "
        "ignores conditional puts is acceptable.",
    )


class Storage(ConfigSection):
    """Options of the stores of source, sink and weights; workers get the same."""

    s3: S3 = S3()
    options: dict[str, dict[str, JsonValue]] = Field(
        default_factory=dict,
        description="For other schemes (gs, az, abfs, ...): arguments of fsspec's filesystem of "
        "that name, without secrets.",
    )

    @field_validator("options")
    @classmethod
    def _no_secrets(cls, options: dict[str, dict[str, JsonValue]]) -> dict[str, Any]:
        for scheme, values in options.items():
            if scheme == "s3":
                raise ValueError("use the section storage.s3 for s3")
            refuse_secret_names(values, scheme)
        return options

    def apply(self) -> None:
        """Make these the options of every filesystem that this process opens from now on.

        They are process-wide, because weights, source and sink open filesystems by URL, and a
        process serves one pipeline. The last call wins.
        """
        global _applied
        _applied = self
        fsspec.config.conf.clear()
        fsspec.config.conf.update({scheme: dict(o) for scheme, o in _INHERITED.items()})
        for scheme, options in {"s3": _s3fs(self.s3), **self.options}.items():
            fsspec.config.conf.setdefault(scheme, {}).update(options)


_applied = Storage()
_GS, _AZ = ("gs", "gcs"), ("abfs", "az", "abfss")


def delta_options(path: str) -> dict[str, str]:
    """delta-rs options for a path, equivalent to those of fsspec, from the last ``Storage.apply``.

    Raises NoTablesError for a scheme that delta-rs does not support, and StoreError if there are no
    credentials.
    """
    scheme = path.partition("://")[0] if "://" in path else "file"
    if scheme == "file":
        return {}
    if scheme in ("s3", "s3a"):
        return _delta_s3(_applied.s3)
    if scheme in _GS:
        return _delta_gs(_options_of(_GS))
    if scheme in _AZ:
        return _delta_az(_options_of(_AZ))
    raise NoTablesError(
        f"sink.path: tables are not supported on {scheme}://, only on a local path, s3://, gs://, "
        "az:// or abfs://; set sink.format to parquet for plain files"
    )


def _options_of(schemes: Iterable[str]) -> dict[str, JsonValue]:
    """The options of a filesystem that has several schemes: fsspec applies those of each."""
    return {k: v for scheme in schemes for k, v in _applied.options.get(scheme, {}).items()}


def _delta_s3(s3: S3) -> dict[str, str]:
    import botocore.exceptions  # a fifth of a second, in every process
    import botocore.session

    # botocore resolves profiles and roles, as it does for fsspec, so both clients agree.
    session = botocore.session.Session(profile=s3.profile)
    endpoint = s3.endpoint or os.environ.get("AWS_ENDPOINT_URL", "")
    options = {
        "aws_region": s3.region or session.get_config_variable("region") or "us-east-1",
        "aws_virtual_hosted_style_request": str(not s3.path_style).lower(),
        "max_retries": str(s3.attempts - 1),
        "connect_timeout": f"{_CONNECT_TIMEOUT_S} seconds",
        "timeout": f"{s3.read_timeout_s:g} seconds",
        "aws_conditional_put": "etag",  # harmless on a store that ignores it, with a single writer
    }
    if endpoint:
        options["aws_endpoint_url"] = endpoint
        options["aws_allow_http"] = str(endpoint.startswith("http://")).lower()
    if s3.anonymous:
        options["aws_skip_signature"] = "true"
        return options
    try:
        found = session.get_credentials()
        keys = found.get_frozen_credentials() if found else None
    except botocore.exceptions.BotoCoreError as error:
        raise StoreError(f"the object store: {type(error).__name__}: {error}") from error
    if keys is None:
        raise StoreError(f"the object store: {_NO_CREDENTIALS}")
    options["aws_access_key_id"] = keys.access_key
    options["aws_secret_access_key"] = keys.secret_key
    if keys.token:
        options["aws_session_token"] = keys.token
    return options


_SETTINGS = "storage.s3 of the pipeline file; commands take that file in place of a sink's path"
_EXPLAINED = (
    (
        r"error sending request|tcp connect error|dns error|operation timed out",
        "cannot be reached; check the endpoint, which is AWS_ENDPOINT_URL or in " + _SETTINGS,
    ),
    (
        r"AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|\b40[13]\b",
        "refuses these credentials; check AWS_* variables, or the profile in " + _SETTINGS,
    ),
    (r"NoSuchBucket", "has no such bucket; check the path and the endpoint in " + _SETTINGS),
    (
        r"PermanentRedirect|AuthorizationHeaderMalformed|Moved Permanently|\b301\b",
        "has the bucket in another region; set AWS_REGION, or the region in " + _SETTINGS,
    ),
)


def store_sentence(path: str, message: str) -> str:
    """Turn an error of delta-rs at a path, a chain of causes, into advice; return the chain itself
    if the error is unknown."""
    if not path.startswith(("s3://", "s3a://")):
        return message
    endpoint = _applied.s3.endpoint or os.environ.get("AWS_ENDPOINT_URL") or "AWS S3"
    for pattern, words in _EXPLAINED:
        if re.search(pattern, message):
            return f"the object store at {endpoint} {words}"
    return message


def iceberg_options(path: str) -> dict[str, str]:
    """Properties of pyiceberg for the files at a path, equivalent to ``delta_options``.

    Other stores than S3 take their credentials from the environment or the catalog's properties.
    """
    if path.partition("://")[0] not in ("s3", "s3a"):
        return {}
    s3 = _delta_s3(_applied.s3)
    names = {
        "aws_region": "s3.region",
        "aws_endpoint_url": "s3.endpoint",
        "aws_access_key_id": "s3.access-key-id",
        "aws_secret_access_key": "s3.secret-access-key",
        "aws_session_token": "s3.session-token",
        "aws_skip_signature": "s3.anonymous",
    }
    found = {ours: s3[theirs] for theirs, ours in names.items() if theirs in s3}
    by_host = "s3.endpoint" in found and not _applied.s3.path_style
    found["s3.force-virtual-addressing"] = str(by_host)
    return found


def _delta_gs(options: Mapping[str, JsonValue]) -> dict[str, str]:
    emulator = os.environ.get("STORAGE_EMULATOR_HOST") or options.get("endpoint_url")
    if not emulator:
        return {}  # delta-rs finds credentials of the environment and the machine itself
    account = {
        "gcs_base_url": str(emulator),
        "disable_oauth": True,
        "client_email": "",
        "private_key": "",
        "private_key_id": "",
    }
    return {"google_service_account_key": json.dumps(account), "allow_http": "true"}


def _delta_az(options: Mapping[str, JsonValue]) -> dict[str, str]:
    found: dict[str, str] = {}
    if isinstance(name := options.get("account_name"), str):
        found["azure_storage_account_name"] = name
    parts = (
        part.partition("=")[::2]
        for part in os.environ.get("AZURE_STORAGE_CONNECTION_STRING", "").split(";")
    )
    names = {
        "AccountName": "azure_storage_account_name",
        "AccountKey": "azure_storage_account_key",
        "SharedAccessSignature": "azure_storage_sas_key",
        "BlobEndpoint": "azure_storage_endpoint",
    }
    for name, value in parts:
        if name in names:
            found[names[name]] = value
    if found.get("azure_storage_endpoint", "").startswith("http://"):
        found["allow_http"] = "true"
    return found


def _s3fs(s3: S3) -> dict[str, Any]:
    config: dict[str, Any] = {
        "retries": {"mode": "standard", "total_max_attempts": s3.attempts},
        "connect_timeout": _CONNECT_TIMEOUT_S,
        "read_timeout": s3.read_timeout_s,
        "max_pool_connections": _CONNECTIONS,
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


def refuse_secret_names(names: Iterable[str], key: str) -> None:
    """Raise ValueError if the name of an option looks like that of a secret."""
    for name in names:
        if any(word in name.lower() for word in _SECRET_WORDS):
            raise ValueError(
                f"{key}.{name} looks like a secret, but the configuration is stored in every run's "
                "plan: use the environment or the machine's role instead"
            )


def refuse_secrets(url: str, key: str) -> str:
    """Return the URL; raises ValueError, which does not repeat it, if it contains a password."""
    if "://" in url and urlsplit(url).password:
        raise ValueError(f"{key}: a URL with a password would be stored in every run's plan")
    return url
