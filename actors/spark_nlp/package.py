"""A downloaded Spark NLP model: a zip or a folder with metadata/, fields/ and the engine's file."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

GGUF = b"GGUF"
ZIP = b"PK\x03\x04"
# Bytes: real metadata has a few thousand. A small zip can expand a thousandfold.
_MOST_METADATA = 4 << 20
# An ONNX file starts with the version field, a small number.
_ONNX = re.compile(rb"\x08[\x01-\x40]")

ENCRYPTED = (
    "is in no format that its engine reads, so it is encrypted for a licence. Such a file only "
    "opens inside Spark NLP with that licence: ask its publisher for the plain GGUF or ONNX file"
)


class SparkNlpError(ValueError):
    """A Spark NLP model that cannot be imported; the message has the reason and advice."""


@dataclass(frozen=True)
class Package:
    """An opened model folder: its metadata and its files."""

    root: Traversable
    source: Path
    kind: str
    """The annotator's class, without its package."""
    given: Mapping[str, Any]
    """The parameters that the model was saved with."""
    defaults: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The model's own name, from its file name: ``<name>_<language>_<version>_...zip``."""
        stem = self.source.name.removesuffix(".zip")
        name = re.sub(r"_[a-z]{2,3}_\d+\.\d+\.\d+_\d+\.\d+_\d{10,}$", "", stem)
        return re.sub(r"[^A-Za-z0-9._-]", "-", name).lstrip("._-") or "model"

    def parameter(self, name: str, otherwise: Any) -> Any:
        """Return a saved parameter, else its saved default, else ``otherwise``."""
        return self.given.get(name, self.defaults.get(name, otherwise))

    def files(self) -> list[Traversable]:
        """Return the engine's files: everything but metadata, fields and checksums."""
        return sorted(
            (file for file in self.root.iterdir() if file.is_file() and file.name[0] not in "._"),
            key=lambda file: file.name,
        )


@contextmanager
def opened(source: Path) -> Iterator[Package]:
    """Open the model in a zip or a folder. Raises FileNotFoundError or SparkNlpError."""
    if source.is_dir():
        yield _package(source, source)
        return
    if not source.is_file():
        raise FileNotFoundError(f"{source}: no such file or folder")
    try:
        archive = zipfile.ZipFile(source)
    except zipfile.BadZipFile as error:
        raise SparkNlpError(f"{source}: neither a folder nor a zip") from error
    with archive:
        if any(entry.flag_bits & 1 for entry in archive.infolist()):
            raise SparkNlpError(f"{source}: the zip {ENCRYPTED}")
        yield _package(zipfile.Path(archive), source)


def beginning(file: Traversable, length: int = 8) -> bytes:
    """Return the first bytes of a file, which identify its format."""
    with file.open("rb") as stream:
        return stream.read(length)


def is_onnx(start: bytes) -> bool:
    """Return True if a file that starts with these bytes may be an ONNX model."""
    return _ONNX.match(start) is not None


def _package(folder: Traversable, source: Path) -> Package:
    root = _root(folder, source)
    content = _metadata(root, source)
    kind = str(content.get("class", "")).rpartition(".")[2]
    if root.joinpath("stages").is_dir():
        stages = ", ".join(sorted(stage.name for stage in root.joinpath("stages").iterdir()))
        raise SparkNlpError(f"{source}: a pipeline; unpack it and import one of stages/: {stages}")
    given, defaults = content.get("paramMap", {}), content.get("defaultParamMap", {})
    if not isinstance(given, dict) or not isinstance(defaults, dict):
        raise SparkNlpError(f"{source}: its metadata has no parameters")
    return Package(root, source, kind, given, defaults)


def _root(folder: Traversable, source: Path) -> Traversable:
    """Return the folder with metadata/: the given one, or its only subfolder."""
    if folder.joinpath("metadata").is_dir():
        return folder
    inside = [one for one in folder.iterdir() if one.is_dir() and one.name[0] not in "._"]
    if len(inside) == 1 and inside[0].joinpath("metadata").is_dir():
        return inside[0]
    raise SparkNlpError(f"{source}: not a Spark NLP model: it has no metadata folder")


def _metadata(root: Traversable, source: Path) -> dict[str, Any]:
    parts = [p for p in root.joinpath("metadata").iterdir() if p.name.startswith("part-")]
    raw = b""
    for part in sorted(parts, key=lambda part: part.name):
        raw += beginning(part, _MOST_METADATA - len(raw) + 1)
        if len(raw) > _MOST_METADATA:
            raise SparkNlpError(
                f"{source}: its metadata is larger than {_MOST_METADATA >> 20} MiB, so this is not "
                "a Spark NLP model"
            )
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise SparkNlpError(f"{source}: its metadata is not JSON: it {ENCRYPTED}") from error
    if not isinstance(content, dict):
        raise SparkNlpError(f"{source}: its metadata has no parameters")
    return content
