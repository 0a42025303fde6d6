"""Resolve a weights URI to a verified local path, downloaded once per node.

Local files (a path, file://, starter:) are used in place. Remote ones (s3://, hf://, https://, any
fsspec URL) are copied into a cache shared by all processes of the node: ``MEDSPAN_CACHE``, else
``medspan`` under ``XDG_CACHE_HOME`` or ``~/.cache``. A URI is assumed to be immutable: cached
content is not revalidated. Set its SHA-256 to be sure.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from actors.config.load import STARTERS

_LOG = logging.getLogger(__name__)
_STARTER = "starter:"
_BLOCK = 1 << 20


class WeightsError(RuntimeError):
    """Weights that cannot be fetched or fail verification; the message names the URI."""


def fetch(uri: str, sha256: str | None = None, files: Sequence[str] = ()) -> Path:
    """Return the local path of the weights at ``uri``, after verifying ``sha256`` if given.

    Without ``files`` the URI is a single file. With ``files`` it is a folder, from which those
    names are fetched if they exist, plus files whose names start with the first one's (ONNX stores
    large tensors in such files); ``sha256`` is that of the first. Raises FileNotFoundError or
    WeightsError.
    """
    local = _local(uri)
    if local is not None:
        if not local.exists():
            raise FileNotFoundError(f"{uri}: no such file or folder")
        _verify(uri, local / files[0] if files and local.is_dir() else local, sha256)
        return local
    key = hashlib.sha256("\0".join((uri, sha256 or "", *files)).encode()).hexdigest()[:24]
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    target = cache / key / Path(urlsplit(uri).path.rstrip("/") or "weights").name
    with _lock(cache / f"{key}.lock"):
        if not target.exists():
            partial = cache / f"{key}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            try:
                _LOG.info("fetching weights from %s", uri)
                copy = partial / target.name
                _copy(uri, copy, files)
                _verify(uri, copy / files[0] if files else copy, sha256)
                partial.rename(target.parent)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    return target


def check(uri: str) -> None:
    """Raise FileNotFoundError or WeightsError if nothing is at ``uri``; fetches nothing."""
    local = _local(uri)
    if local is not None:
        if not local.exists():
            raise FileNotFoundError(f"{uri}: no such file or folder")
        return
    import fsspec

    try:
        system, path = fsspec.core.url_to_fs(uri)
        there = system.exists(path)
    except Exception as error:  # every fsspec backend raises its own types
        raise WeightsError(f"{uri}: {type(error).__name__}: {error}") from error
    if not there:
        raise FileNotFoundError(f"{uri}: no such file or folder")


@contextmanager
def open_weights(uri: str) -> Iterator[BinaryIO]:
    """Open a weights file in place: of a remote file, only the parts that are read are fetched.

    Raises FileNotFoundError or WeightsError.
    """
    local = _local(uri)
    if local is not None:
        if not local.is_file():
            raise FileNotFoundError(f"{uri}: no such file")
        with local.open("rb") as file:
            yield file
        return
    import fsspec

    try:
        file = fsspec.open(uri, "rb").open()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{uri}: no such file or folder") from error
    except Exception as error:  # every fsspec backend raises its own types
        raise WeightsError(f"{uri}: {type(error).__name__}: {error}") from error
    with file:
        yield file


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            total.update(block)
    return total.hexdigest()


def cache_folder() -> Path:
    """Return the folder of cached weights; it need not exist."""
    if own := os.environ.get("MEDSPAN_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "medspan"


def _local(uri: str) -> Path | None:
    if uri.startswith(_STARTER):
        return STARTERS / uri.removeprefix(_STARTER)
    if uri.startswith("file://"):
        return Path(unquote(urlsplit(uri).path))
    return None if "://" in uri else Path(uri).expanduser()


def _verify(uri: str, file: Path, expected: str | None) -> None:
    if expected is None:
        return
    if not file.is_file():
        raise FileNotFoundError(f"{uri}: has no {file.name} to verify")
    found = digest(file)
    if found != expected:
        raise WeightsError(f"{uri}: SHA-256 of {file.name} is {found}, expected {expected}")


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Serialise the processes of a node; the kernel releases the lock if a process dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _copy(uri: str, target: Path, files: Sequence[str]) -> None:
    import fsspec  # imported here: slow, and not needed for local weights

    try:
        system, path = fsspec.core.url_to_fs(uri)
        if not files:
            system.get_file(path, str(target))
            return
        target.mkdir()
        for name, source in _requested_files(system, path.rstrip("/"), files):
            system.get_file(source, str(target / name))
    except ImportError as error:
        scheme = uri.split("://", 1)[0]
        package = {"hf": "huggingface_hub", "gs": "medspan[gcs]", "az": "medspan[azure]"}
        raise WeightsError(
            f"{uri}: {scheme}:// needs a package that is not installed: "
            f"pip install {package.get(scheme, scheme + 'fs')}"
        ) from error
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{uri}: no such file or folder") from error
    except Exception as error:  # every fsspec backend raises its own types
        raise WeightsError(f"{uri}: {type(error).__name__}: {error}") from error


def _requested_files(system: Any, folder: str, files: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield names and addresses of the requested files that exist in a folder."""
    if urlsplit(folder).scheme in ("http", "https"):  # no listing there
        there = [f"{folder}/{name}" for name in files if system.exists(f"{folder}/{name}")]
    else:
        there = system.ls(folder, detail=False)
    for address in there:
        name = address.rstrip("/").rsplit("/", 1)[-1]
        if name in files or name.startswith(files[0]):
            yield name, address
