"""Resolve a weights URI to a verified local path, downloaded once per node.

Local files (a path, file://, starter:, package:) are used in place. Remote ones (s3://, hf://,
https://, any fsspec URL) are copied into a cache shared by all processes of the node:
``MEDSPAN_CACHE``, else ``medspan`` under ``XDG_CACHE_HOME`` or ``~/.cache``. A URI is assumed to be
immutable: cached content is not revalidated. Set its SHA-256 to be sure.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from actors.config.base import Stated
from actors.config.gguf_parts import gguf_parts
from actors.model_folder import (
    FolderFiles,
    ModelFileError,
    external_data,
    external_files,
    model_parts,
)
from actors.weights.locations import WeightsError, local_path
from actors.weights.verify import digest, verify

_LOG = logging.getLogger(__name__)
_SMALL = 1 << 26
"""Bytes of an ONNX file that is read to see which files belong to it, before it is fetched. One
with its tensors elsewhere is far smaller, one without has them inside."""


def fetch_weights(uri: str, sha256: Stated = None, files: FolderFiles | None = None) -> Path:
    """Return the local path of the weights at ``uri``, after verifying ``sha256`` if given.

    Without ``files`` the URI is a file, or the first of a GGUF model in parts, which are all
    fetched into one folder. With ``files`` it is a folder, from which those are fetched, and the
    files that hold tensors of the ONNX model; ``sha256`` is that of the model, or of it and each of
    those. Raises FileNotFoundError or WeightsError, which name what is missing.
    """
    local = local_path(uri)
    if local is not None:
        verify(uri, weights_parts(uri, local, files), sha256)
        return local
    key = hashlib.sha256(repr((uri, sha256, files)).encode()).hexdigest()[:24]
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
                with _explained(uri):
                    if files is None:
                        _copy_file(uri, copy, whole=sha256 is None)
                    else:
                        _copy_folder(uri, copy, files, whole=sha256 is None)
                verify(uri, weights_parts(uri, copy, files), sha256)
                partial.rename(target.parent)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    return target


def check(uri: str, files: FolderFiles | None = None) -> None:
    """Raise FileNotFoundError or WeightsError if a file is missing at ``uri``; fetches nothing."""
    local = local_path(uri)
    if local is not None:
        weights_parts(uri, local, files)
        return
    with _explained(uri):
        if files is None:
            _remote_parts(uri)
            return
        system, folder = _system(uri)
        name = _remote_model(system, uri, folder, files)
        path = f"{folder}/{name}"
        size = system.info(path).get("size")
        if isinstance(size, int) and size <= _SMALL:
            for part in external_data(system.cat_file(path), f"{uri}/{name}"):
                _beside(system, uri, path, part)


@contextmanager
def open_weights(uri: str) -> Iterator[BinaryIO]:
    """Open a weights file in place: of a remote file, only the parts that are read are fetched.

    Raises FileNotFoundError or WeightsError.
    """
    local = local_path(uri)
    if local is not None:
        if not local.is_file():
            raise FileNotFoundError(f"{uri}: no such file")
        with local.open("rb") as file:
            yield file
        return
    import fsspec

    with _explained(uri):
        file = fsspec.open(uri, "rb").open()
    with file:
        yield file


def cache_folder() -> Path:
    """Return the folder of cached weights; it need not exist."""
    if own := os.environ.get("MEDSPAN_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "medspan"


def local_files(uri: str, files: FolderFiles | None = None) -> list[Path]:
    """Return all files of local weights that are read, the model and its parts first.

    Raises FileNotFoundError, or WeightsError if the URI is not local.
    """
    path = local_path(uri)
    if path is None:
        raise WeightsError(f"{uri}: not on this machine")
    if files is not None and path.is_dir():
        return files.present(path)
    return weights_parts(uri, path, files)


def weights_parts(uri: str, path: Path, files: FolderFiles | None) -> list[Path]:
    """Return the weights on this machine, the model first; raises FileNotFoundError."""
    if not path.exists():
        raise FileNotFoundError(f"{uri}: no such file or folder")
    if files is not None and path.is_dir():
        return model_parts(files.model(path))
    parts = [Path(part) for part in gguf_parts(str(path))]
    for part in parts:
        if not part.exists():
            raise FileNotFoundError(f"{uri}: part {part.name} is missing beside it")
    return parts


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Serialise the processes of a node; the kernel releases the lock if a process dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _explained(uri: str) -> Iterator[None]:
    """Turn the errors of any fsspec backend into FileNotFoundError or WeightsError."""
    try:
        yield
    except (WeightsError, ModelFileError):
        raise
    except ImportError as error:
        scheme = uri.split("://", 1)[0]
        package = {"hf": "huggingface_hub", "gs": "medspan[gcs]", "az": "medspan[azure]"}
        raise WeightsError(
            f"{uri}: {scheme}:// needs a package that is not installed: "
            f"pip install {package.get(scheme, scheme + 'fs')}"
        ) from error
    except FileNotFoundError as error:
        named = str(error).startswith(uri)
        raise FileNotFoundError(str(error) if named else f"{uri}: no such file or folder") from (
            error
        )
    except Exception as error:  # every fsspec backend raises its own types
        raise WeightsError(f"{uri}: {type(error).__name__}: {error}") from error


def _system(uri: str) -> tuple[Any, str]:
    import fsspec  # imported here: slow, and not needed for local weights

    system, path = fsspec.core.url_to_fs(uri)
    return system, path.rstrip("/")


def _copy_file(uri: str, target: Path, whole: bool) -> None:
    """Copy a file, or all parts of a GGUF model; ``whole``: compare them with what the store says
    of them."""
    for system, path in _remote_parts(uri):
        name = Path(urlsplit(path).path).name if "://" in path else Path(path).name
        _get(system, uri, path, target.parent / name, whole)


def _remote_parts(uri: str) -> list[tuple[Any, str]]:
    """Return the parts of a remote GGUF model; raises FileNotFoundError that names the first
    missing one."""
    parts = gguf_parts(uri)
    found = [_system(part) for part in parts]
    for part, (system, path) in zip(parts, found, strict=True):
        if not system.exists(path):
            missing = "no such file or folder" if part == uri else f"part {part} is missing"
            raise FileNotFoundError(f"{uri}: {missing}")
    return found


def _copy_folder(uri: str, target: Path, files: FolderFiles, whole: bool) -> None:
    """Copy the files of an ONNX model; ``whole`` as in ``_copy_file``."""
    system, folder = _system(uri)
    name = _remote_model(system, uri, folder, files)
    source, model = f"{folder}/{name}", target / name
    model.parent.mkdir(parents=True)
    _get(system, uri, source, model, whole)
    for part in external_files(model):
        (model.parent / part).parent.mkdir(parents=True, exist_ok=True)
        _get(system, uri, _beside(system, uri, source, part), model.parent / part, whole)
    for other in files.others:
        if system.exists(f"{folder}/{other}"):
            _get(system, uri, f"{folder}/{other}", target / other, whole)


def _remote_model(system: Any, uri: str, folder: str, files: FolderFiles) -> str:
    """Return the name of the model in a remote folder; raises FileNotFoundError."""
    # Asked for one by one, since a web server lists nothing.
    for name in files.models:
        if system.exists(f"{folder}/{name}"):
            return name
    raise FileNotFoundError(files.missing(uri))


def _beside(system: Any, uri: str, model: str, part: str) -> str:
    """Return the address of a file beside a remote model; raises FileNotFoundError."""
    path = f"{model.rpartition('/')[0]}/{part}"
    if not system.exists(path):
        name = model.rpartition("/")[2]
        raise FileNotFoundError(f"{uri}: {part}, which holds tensors of {name}, is missing")
    return path


def _get(system: Any, uri: str, source: str, target: Path, whole: bool) -> None:
    """Copy one file. ``whole``: raise WeightsError if it is not what the store says of it: its
    size and, on the Hugging Face hub, its SHA-256."""
    system.get_file(source, str(target))
    if not whole:
        return
    info = system.info(source)
    size, there = info.get("size"), target.stat().st_size
    if isinstance(size, int) and size != there:
        raise WeightsError(f"{uri}: {target.name} has {there} bytes, expected {size}")
    expected = getattr(info.get("lfs"), "sha256", None)
    if expected is not None and digest(target) != expected:
        raise WeightsError(f"{uri}: {target.name} does not match the hub's SHA-256")
