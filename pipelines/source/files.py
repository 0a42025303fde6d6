"""Listing: from the paths of a source to files with versions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import fsspec

from actors.config import ConfigError
from pipelines.storage import StoreError, store_errors

SUFFIXES = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".txt": "text",
    **dict.fromkeys(
        (
            ".png",
            ".jpg",
            ".jpeg",
            ".tif",
            ".tiff",
            ".webp",
            ".bmp",
            ".gif",
            ".pdf",
            ".dcm",
            ".dicom",
        ),
        "image",
    ),
}
_GLOB = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of a source: its URI, its size in bytes, its version and its format.

    ``version`` changes when the content does: the store's etag where there is one, else size and
    time of modification.
    """

    uri: str
    size: int
    version: str
    format: str


def list_files(paths: Sequence[str], format_: str) -> list[SourceFile]:
    """The files of a source, sorted by URI, none twice.

    In a folder, names that begin with ``_`` or ``.`` are passed over, as Spark and Hive do, and
    with format ``auto`` files of an unknown suffix too. Raises ConfigError for a path that holds
    nothing, and for a file whose format cannot be told.
    """
    found: dict[str, SourceFile] = {}
    for path in paths:
        before = len(found)
        for file in _list(path, format_):
            found.setdefault(file.uri, file)
        if len(found) == before and not any(True for _ in _list(path, format_)):
            raise ConfigError(f"source.path: no file of a known format at {path}")
    return sorted(found.values(), key=lambda file: file.uri)


def _list(path: str, format_: str) -> Iterator[SourceFile]:
    fs, inner = fsspec.core.url_to_fs(path)
    try:
        with store_errors():
            if _GLOB & set(inner):
                infos = list(fs.glob(inner, detail=True).values())
                explicit = True
            else:
                info = fs.info(inner)
                explicit = info["type"] == "file"
                infos = [info] if explicit else list(fs.find(inner, detail=True).values())
    except StoreError:
        raise
    except FileNotFoundError as error:
        raise ConfigError(f"source.path: there is nothing at {path}") from error
    except (PermissionError, OSError) as error:
        raise ConfigError(f"source.path: cannot list {path}: {type(error).__name__}") from error
    for info in infos:
        if info["type"] != "file":
            continue
        name = str(info["name"])
        if not explicit and _hidden(name, inner):
            continue
        found = SUFFIXES.get(PurePosixPath(name).suffix.lower()) if format_ == "auto" else format_
        if found is None:
            if explicit and not _GLOB & set(inner):
                raise ConfigError(
                    f"source.path: the suffix of {path} is unknown; set source.format"
                )
            continue
        yield SourceFile(fs.unstrip_protocol(name), int(info["size"]), _version(info), found)


@store_errors()
def version_of(uri: str) -> str:
    """The version of a file now; raises FileNotFoundError where it is gone."""
    fs, inner = fsspec.core.url_to_fs(uri)
    return _version(fs.info(inner))


def _hidden(name: str, root: str) -> bool:
    inside = name[len(root) :] if name.startswith(root) else name
    return any(part.startswith(("_", ".")) for part in PurePosixPath(inside).parts if part != "/")


def _version(info: dict[str, Any]) -> str:
    for key in ("ETag", "etag", "md5Hash", "content_md5"):
        if info.get(key):
            return str(info[key]).strip('"')
    changed = info.get("mtime") or info.get("LastModified") or info.get("last_modified") or ""
    fact = f"{info['size']}:{changed}"
    return hashlib.sha256(fact.encode()).hexdigest()[:16]
