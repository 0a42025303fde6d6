"""Bearer tokens: a file of their digests, who may use which model, and making one.

A token is 256 random bits, so a plain SHA-256 of it is as good at rest as a slow hash would be.
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

from actors.config import ConfigError, Section
from actors.config.load import read_yaml, validate

log = logging.getLogger(__name__)

_REREAD_S = 2.0


class Token(Section):
    """One token's entry in the file."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    models: tuple[str, ...] | None = Field(
        None, description="Names that it may ask for, of models and pipelines; default: all."
    )

    def allows(self, target: str) -> bool:
        """Whether the token may ask for this name."""
        return self.models is None or target in self.models


class TokenFile(Section):
    """The file's content."""

    tokens: tuple[Token, ...]


def new_token(name: str, models: tuple[str, ...] | None = None) -> tuple[str, Token]:
    """A new token, which is nowhere else, and the entry for the file."""
    secret = f"medspan_{secrets.token_urlsafe(32)}"
    return secret, Token(name=name, sha256=_digest(secret), models=models)


def as_yaml(tokens: Sequence[Token]) -> str:
    """The content of a tokens file."""
    entries = [token.model_dump(mode="json", exclude_none=True) for token in tokens]
    return yaml.safe_dump({"tokens": entries}, sort_keys=False)


def add_token(path: Path, token: Token) -> None:
    """Add an entry to a file, which is made where there is none. Raises ConfigError."""
    tokens = _read(path) if path.exists() else ()
    if any(other.name == token.name for other in tokens):
        raise ConfigError(f"{path}: there is a token named {token.name}; take it out first")
    new = path.with_name(f".{path.name}.new")
    new.touch(mode=0o600)
    new.write_text(as_yaml([*tokens, token]))
    new.replace(path)  # whole or not at all: a server may be reading it


class Tokens:
    """The tokens of a file, read again when it changes: taking a line out revokes its token."""

    def __init__(self, path: str) -> None:
        """Raises ConfigError where the file cannot be used."""
        self._path = Path(path)
        self._tokens = _read(self._path)
        self._version = self._stat()
        self._looked = time.monotonic()

    def find(self, secret: str) -> Token | None:
        """The entry of a token, or None."""
        self._refresh()
        digest = _digest(secret)
        found = None
        for token in self._tokens:  # all of them, so that time tells nothing
            if hmac.compare_digest(token.sha256, digest):
                found = token
        return found

    def _refresh(self) -> None:
        if time.monotonic() - self._looked < _REREAD_S:
            return
        self._looked = time.monotonic()
        version = self._stat()
        if version == self._version:
            return
        self._version = version
        try:
            self._tokens = _read(self._path)
        except ConfigError:
            # Closed rather than open: a token that was to be revoked must not go on.
            log.error("the tokens file cannot be read; no token is accepted until it can")
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
