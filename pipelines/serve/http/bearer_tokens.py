"""Bearer tokens: the file of their digests, their permissions, and creating one.

A token has 256 random bits, so a plain SHA-256 protects it at rest as well as a slow hash.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field, TypeAdapter

from actors.config import ConfigError, ConfigSection
from actors.config.load import read_yaml, validate

log = logging.getLogger(__name__)

_REREAD_S = 2.0


class Token(ConfigSection):
    """The entry of one token in the file."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    models: tuple[str, ...] | None = Field(
        None, description="Models and pipelines it may use; default: all."
    )

    def allows(self, target: str) -> bool:
        """True if the token may use this model or pipeline."""
        return self.models is None or target in self.models


class TokenFile(ConfigSection):
    """The content of a tokens file."""

    tokens: tuple[Token, ...]


def new_token(name: str, models: tuple[str, ...] | None = None) -> tuple[str, Token]:
    """Create a token; returns the secret, which is not stored, and the entry for the file."""
    secret = f"medspan_{secrets.token_urlsafe(32)}"
    return secret, Token(name=name, sha256=_digest(secret), models=models)


def as_yaml(tokens: Sequence[Token]) -> str:
    """The content of a tokens file."""
    entries = [token.model_dump(mode="json", exclude_none=True) for token in tokens]
    return yaml.safe_dump({"tokens": entries}, sort_keys=False)


def add_token(path: Path, token: Token) -> None:
    """Add an entry to a tokens file, creating it if needed. Raises ConfigError."""
    tokens = _read(path) if path.exists() else ()
    if any(other.name == token.name for other in tokens):
        raise ConfigError(f"{path}: a token named {token.name} already exists; remove it first")
    new = path.with_name(f".{path.name}.new")
    new.touch(mode=0o600)
    new.write_text(as_yaml([*tokens, token]))
    new.replace(path)  # atomic: a server may be reading it


class TokenStore:
    """The tokens of a file, reloaded when it changes: removing an entry revokes the token."""

    def __init__(self, path: str) -> None:
        """Raises ConfigError if the file cannot be read."""
        self._path = Path(path)
        self._tokens = _read(self._path)
        self._version = self._stat()
        self._checked_at = time.monotonic()

    def find(self, secret: str) -> Token | None:
        """The entry of a token, or None if it is unknown."""
        self._refresh()
        digest = _digest(secret)
        found = None
        for token in self._tokens:  # no early exit: constant time
            if hmac.compare_digest(token.sha256, digest):
                found = token
        return found

    def _refresh(self) -> None:
        if time.monotonic() - self._checked_at < _REREAD_S:
            return
        self._checked_at = time.monotonic()
        version = self._stat()
        if version == self._version:
            return
        self._version = version
        try:
            self._tokens = _read(self._path)
        except ConfigError:
            # Fail closed: a token that was to be revoked must stop working.
            log.error("the tokens file cannot be read; rejecting all tokens until it can")
            self._tokens = ()

    def _stat(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def _read(path: Path) -> tuple[Token, ...]:
    tokens = validate(TypeAdapter(TokenFile), read_yaml(path), path).tokens
    names = [token.name for token in tokens]
    if len(set(names)) != len(names):
        raise ConfigError(f"{path}: two tokens have the same name")
    return tokens
