"""Listing: from the paths of a source to files with versions. What is passed over is counted."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from actors.config import ConfigError
from pipelines.config import Source
from pipelines.source.opening import filesystem
from pipelines.source.partitions import chosen
from pipelines.storage import StoreError, reason, store_errors
from pipelines.text.compression import COMPRESSED

log = logging.getLogger(__name__)

SUFFIXES = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".txt": "text",
    ".rtf": "text",
    ".html": "text",
    ".htm": "text",
    ".xhtml": "text",
    ".xml": "text",
    ".hl7": "text",
    ".docx": "docx",
    ".docm": "docx",
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
            ".heic",
            ".heif",
            ".avif",
            ".jp2",
            ".j2k",
            ".pdf",
            ".dcm",
            ".dicom",
        ),
        "image",
    ),
}
WHOLE = frozenset({"text", "image", "docx"})
"""Formats of which a file is one document."""
_RECORDS = frozenset({"jsonl", "json", "csv", "tsv", "text"})
_GLOB = frozenset("*?[")
_SAVED_OTHERWISE = frozenset({".doc", ".dot", ".odt", ".pages", ".wpd"})
_DONE = "_SUCCESS"  # Spark's, in every folder that it writes
_NAMED = 8
IMMUTABLE = "delta:"
"""Prefix of the versions of files that never change under their name."""


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


@dataclass(slots=True)
class Listing:
    """The files of a source, sorted by URI, none twice, and what was passed over: how many files
    by suffix, or ``hidden`` and the like; of tables which snapshot was listed: a Delta version or
    the id of an Iceberg snapshot, by path."""

    files: list[SourceFile] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    snapshots: dict[str, int] = field(default_factory=dict)

    def skipped_words(self) -> str:
        """Describe the skipped files, the most frequent suffix first; empty if there are none."""
        return passed_over_words(self.skipped)


def passed_over_words(skipped: Mapping[str, int]) -> str:
    """Count skipped files by suffix, the most frequent first, with advice for files of word
    processors; empty if there are none."""
    found = [f"{count:,} {suffix}" for suffix, count in Counter(skipped).most_common(_NAMED)]
    more = len(skipped) - len(found)
    words = ", ".join(found) + (f" and {more} more suffixes" if more > 0 else "")
    letters = sorted(_SAVED_OTHERWISE & skipped.keys())
    return words + (f" (save {' and '.join(letters)} as .docx or PDF)" if letters else "")


def list_source(source: Source) -> Listing:
    """The files of a source now; what is passed over is logged, or an error with ``strict``.

    Raises ConfigError for a path without files, a table that is not loose files, a file of unknown
    format, and a ``where`` that names no partition.
    """
    paths = (source.path,) if isinstance(source.path, str) else source.path
    if source.format == "delta":
        from pipelines.source.delta import list_delta

        listing = _of_tables({path: list_delta(path) for path in paths})
    elif source.format == "iceberg":
        from pipelines.source.iceberg import list_iceberg

        listing = _of_tables({path: list_iceberg(path, source) for path in paths})
    else:
        listing = _listed(paths, source.format)
    for path, version in listing.snapshots.items():
        log.info("source: %s at version %d", path, version)
    if source.where:
        listing.files = chosen(listing.files, source.where)
    if words := listing.skipped_words():
        if source.strict:
            raise ConfigError(f"source.strict: files would be passed over: {words}")
        log.warning("source: passed over %s (source.strict makes this an error)", words)
    return listing


def _of_tables(tables: Mapping[str, tuple[int, list[SourceFile]]]) -> Listing:
    files = _in_order(file for _, listed in tables.values() for file in listed)
    return Listing(files, snapshots={path: version for path, (version, _) in tables.items()})


def list_files(paths: Sequence[str], format_: str) -> list[SourceFile]:
    """The files at paths, sorted by URI, none twice; raises ConfigError as ``list_source`` does."""
    return _listed(paths, format_).files


def _listed(paths: Sequence[str], format_: str) -> Listing:
    found: dict[str, SourceFile] = {}
    skipped: dict[str, str] = {}
    for path in paths:
        here = 0
        for uri, file in _list(path, format_):
            if isinstance(file, str):
                skipped[uri] = file
            else:
                here += 1
                found.setdefault(uri, file)
        if not here:
            there = Listing(skipped=Counter(skipped.values())).skipped_words()
            raise ConfigError(
                f"source.path: no file of a known format at {path}"
                + (f" (passed over: {there})" if there else "")
            )
    counts = Counter(why for uri, why in skipped.items() if uri not in found)
    return Listing(_in_order(found.values()), counts)


def _in_order(files: Iterable[SourceFile]) -> list[SourceFile]:
    """Sorted by URI, none twice: which of two rows with an id is the first, and what a unit holds,
    follows from names alone, not from the order of paths or of a store's listing."""
    return sorted({file.uri: file for file in files}.values(), key=lambda file: file.uri)


def _list(path: str, format_: str) -> Iterator[tuple[str, SourceFile | str]]:
    """Each file by its URI: a SourceFile, or why it is passed over."""
    fs, inner = filesystem(path)
    try:
        with store_errors():
            infos, root, named = _infos(fs, inner)
    except StoreError:
        raise
    except FileNotFoundError as error:
        raise ConfigError(f"source.path: there is nothing at {path}") from error
    except OSError as error:
        raise ConfigError(f"source.path: cannot list {path}: {reason(error)}") from error
    _refuse_tables(infos, path)
    for info in infos:
        name = str(info["name"])
        uri = fs.unstrip_protocol(name)
        if root is not None and _hidden(name, root):
            if PurePosixPath(name).name != _DONE:
                yield uri, "hidden"
            continue
        if (other := _unreadable(info)) is not None:
            yield uri, other
            continue
        found = format_of(name) if format_ in ("auto", "delta") else format_
        if found is None:
            if named:
                raise ConfigError(
                    f"source.path: the suffix of {path} is unknown; set source.format"
                )
            yield uri, "".join(_suffixes(name)) or "without a suffix"
            continue
        yield uri, SourceFile(uri, int(info["size"]), _version(info), found)


def _infos(fs: Any, inner: str) -> tuple[list[Mapping[str, Any]], str | None, bool]:
    """List a path. Return the entries, the folder to skip hidden names in (None for a glob), and
    True if the path names one file. An existing path is never read as a glob."""
    try:
        info = fs.info(inner)
    except FileNotFoundError:
        if not _GLOB & set(inner):
            raise
        found: list[Mapping[str, Any]] = []
        for one in fs.glob(inner, detail=True).values():
            if one["type"] == "file":
                found.append(one)
            elif one["type"] == "directory":
                found += _files(fs, str(one["name"]))
            else:
                found.append(_followed(fs, one))
        return found, None, False
    if info["type"] == "file":
        return [info], None, True
    return _files(fs, inner), inner, False


def _files(fs: Any, folder: str) -> list[Mapping[str, Any]]:
    """All that is in a folder and is no folder, and the folders that cannot be listed."""
    if not isinstance(fs, LocalFileSystem):
        found = fs.find(folder, detail=True).values()
        return [info for info in found if info["type"] != "directory"]
    # Not by ``find``, which passes over folders that it cannot list.
    files: list[Mapping[str, Any]] = []
    folders = [folder]
    while folders:
        here = folders.pop()
        try:
            infos = fs.ls(here, detail=True)
        except FileNotFoundError:
            continue
        except OSError:
            files.append({"name": here, "type": "folder that cannot be listed"})
            continue
        folders += [info["name"] for info in infos if info["type"] == "directory"]
        files += [_followed(fs, info) for info in infos if info["type"] != "directory"]
    return files


def _followed(fs: Any, info: Mapping[str, Any]) -> Mapping[str, Any]:
    """A symbolic link as the file that it leads to. Folders behind links are not entered: links
    may lead back."""
    if not info.get("islink"):
        return info
    try:
        target: Mapping[str, Any] = fs.info(info["name"])
    except OSError:
        return {**info, "type": "link without a target"}
    return {**info, "type": "link to a folder"} if target["type"] == "directory" else target


def _unreadable(info: Mapping[str, Any]) -> str | None:
    """Why what is at a path is no file that can be read and named; None where it is one."""
    if info["type"] == "other":
        return "no regular file"
    if info["type"] != "file":
        return str(info["type"])
    try:
        str(info["name"]).encode()
    except UnicodeEncodeError:
        return "name that is not UTF-8"
    return None


def _refuse_tables(infos: Sequence[Mapping[str, Any]], path: str) -> None:
    """A table's folder holds rows that were deleted or replaced: only its log tells which."""
    for info in infos:
        parts = PurePosixPath(str(info["name"])).parts
        kind = None
        if "_delta_log" in parts:
            kind, way = "a Delta", "set source.format: delta"
        elif ".hoodie" in parts:
            kind, way = "a Hudi", "export a snapshot of it, or name single files"
        elif parts[-2:-1] == ("metadata",) and parts[-1].endswith(".metadata.json"):
            kind, way = "an Iceberg", "set source.format: iceberg"
        if kind is not None:
            raise ConfigError(
                f"source.path: {path} is or contains {kind} table; its files also have rows "
                f"that were deleted or replaced; {way}"
            )


def format_of(name: str) -> str | None:
    """The format by the suffix; that before the suffix of a compression which can be read."""
    suffixes = _suffixes(name)
    found = SUFFIXES.get(suffixes[-1]) if suffixes else None
    if found is None and len(suffixes) > 1 and suffixes[-1] in COMPRESSED:
        found = SUFFIXES.get(suffixes[-2])
        found = found if found in _RECORDS else None
    return found


def _suffixes(name: str) -> list[str]:
    """The last suffix, lower-case, and that before it where the last is a compression's."""
    path = PurePosixPath(name)
    last = path.suffix.lower()
    if last in COMPRESSED:
        return [one for one in (PurePosixPath(path.stem).suffix.lower(), last) if one]
    return [last] if last else []


def version_of(uri: str) -> str:
    """The version of a file now; raises FileNotFoundError where it is gone."""
    fs, inner = filesystem(uri)
    with store_errors():
        return _version(fs.info(inner))


def size_of(uri: str) -> int:
    """The bytes of a file now."""
    fs, inner = filesystem(uri)
    with store_errors():
        return int(fs.info(inner)["size"])


def _hidden(name: str, root: str) -> bool:
    inside = name[len(root) :] if name.startswith(root) else name
    return any(part.startswith(("_", ".")) for part in PurePosixPath(inside).parts if part != "/")


def _version(info: Mapping[str, Any]) -> str:
    for key in ("ETag", "etag", "md5Hash", "content_md5"):
        if info.get(key):
            return str(info[key]).strip('"')
    changed = info.get("mtime") or info.get("LastModified") or info.get("last_modified") or ""
    fact = f"{info['size']}:{changed}"
    return hashlib.sha256(fact.encode()).hexdigest()[:16]
