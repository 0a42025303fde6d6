"""Parse and validate the files of a model folder as optimum exports it; no weights are loaded."""

from __future__ import annotations

import json
import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.config import ConfigError

MODELS = (
    "model.onnx",
    "model_quantized.onnx",
    "onnx/model.onnx",
    "onnx/model_quantized.onnx",
    "onnx/model_int8.onnx",
)
"""Names that the exporters and the Hugging Face hub give to the weights in a folder."""


@dataclass(frozen=True, slots=True)
class FolderFiles:
    """The files that are read from a model's folder: the first of ``models`` that exists, and those
    of ``others`` that do."""

    models: tuple[str, ...]
    others: tuple[str, ...] = ()

    def chosen(self, file: str | None) -> FolderFiles:
        """Return the same with ``file`` as the only model; None changes nothing."""
        return self if file is None else FolderFiles((file,), self.others)

    def present(self, folder: Path) -> list[Path]:
        """Return the paths of all files that are read: the model, its parts, the others.

        Raises FileNotFoundError that names the model or the part that is missing.
        """
        others = (folder / name for name in self.others)
        return [*model_parts(self.model(folder)), *(path for path in others if path.is_file())]

    def model(self, folder: Path) -> Path:
        """Return the path of the model; raises FileNotFoundError."""
        for name in self.models:
            if (folder / name).is_file():
                return folder / name
        raise FileNotFoundError(self.missing(folder))

    def missing(self, folder: object) -> str:
        """Return the message for a folder without any of the models."""
        return (
            f"{folder}: no ONNX model (looked for {', '.join(self.models)}); export the model to "
            "ONNX, or name its file in weights.file"
        )


CLASSIFIER_FILES = FolderFiles(
    MODELS, ("config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt")
)
"""The files of a token classifier."""

_LOCATION = b"\n\x08location\x12"
"""The key of a StringStringEntryProto, and the tag of its value (onnx.proto)."""

_LONGEST_NAME = 4096
_UNBOUNDED = 1_000_000
_DEFAULT_SIZE = 512


class ModelFileError(ConfigError):
    """An unusable model folder; the message names the file and the problem."""


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model folder: its weights, labels by index, the padding id, and the maximum sequence length
    in tokens, which may be a few too many (see ``longest``)."""

    path: Path
    model: Path
    labels: tuple[str, ...]
    pad_id: int
    longest: int


def read_folder(path: Path, file: str | None = None) -> ModelFolder:
    """Read the folder's metadata, without the weights; ``file`` is its ``weights.file``.

    Raises FileNotFoundError or ModelFileError; both name the file.
    """
    if not path.is_dir():
        raise FileNotFoundError(
            f"{path}: not a folder; a token classifier is a folder with model.onnx, config.json "
            "and tokenizer.json or vocab.txt"
        )
    model, *_ = CLASSIFIER_FILES.chosen(file).present(path)
    config = read_json(path / "config.json")
    return ModelFolder(path, model, _labels(config, path), _pad_id(config), longest(config, path))


def model_parts(model: Path) -> list[Path]:
    """Return an ONNX file and the files beside it that hold its large tensors.

    Raises FileNotFoundError that names a missing one, or ModelFileError.
    """
    parts = [model.parent / name for name in external_files(model)]
    for part in parts:
        if not part.is_file():
            raise FileNotFoundError(f"{part}: not found; it holds tensors of {model.name}")
    return [model, *parts]


def external_files(model: Path) -> list[str]:
    """Return the names of the files that hold tensors of a local ONNX file; see
    ``external_data``."""
    with model.open("rb") as file:
        if not model.stat().st_size:
            return []  # cannot be mapped
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return external_data(content, str(model))


def external_data(content: bytes | mmap.mmap, model: str) -> list[str]:
    """Return the names of the files that hold tensors of an ONNX model, in order of appearance.

    They are read from the file's own bytes, since exporters name them as they like
    (model.onnx_data, model.onnx.data, a file per tensor). Raises ModelFileError if one lies outside
    the model's folder; ``model`` is for that message.
    """
    names: dict[str, None] = {}
    at = content.find(_LOCATION)
    while at >= 0:
        at += len(_LOCATION)
        size, shift = 0, 0
        while content[at : at + 1] >= b"\x80":  # a varint, seven bits a byte
            size |= (content[at] & 0x7F) << shift
            at, shift = at + 1, shift + 7
        size |= (content[at] if at < len(content) else 0) << shift
        name = content[at + 1 : at + 1 + min(size, _LONGEST_NAME)].decode("utf-8", "replace")
        if name.startswith("/") or ".." in name.split("/"):
            raise ModelFileError(f"{model}: keeps tensors outside its folder, in {name}")
        names[name] = None
        at = content.find(_LOCATION, at)
    return list(names)


def tokenizer_config(path: Path) -> dict[str, Any]:
    """Return the content of tokenizer_config.json, empty if there is none."""
    file = path / "tokenizer_config.json"
    return read_json(file) if file.is_file() else {}


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises FileNotFoundError, or ModelFileError for any other content."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: not found") from None
    except ValueError as error:
        raise ModelFileError(f"{path}: not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ModelFileError(f"{path}: not a JSON object")
    return content


def _labels(config: dict[str, Any], path: Path) -> tuple[str, ...]:
    table = config.get("id2label")
    if not isinstance(table, dict) or not table:
        raise ModelFileError(
            f"{path / 'config.json'}: has no id2label, so this is not a classifier"
        )
    try:
        by_index = {int(index): str(name) for index, name in table.items()}
    except ValueError:
        message = f"{path / 'config.json'}: id2label has non-numeric keys"
        raise ModelFileError(message) from None
    if sorted(by_index) != list(range(len(by_index))):
        raise ModelFileError(
            f"{path / 'config.json'}: id2label must number its {len(by_index)} labels from 0 "
            "without gaps"
        )
    return tuple(by_index[index] for index in range(len(by_index)))


def _pad_id(config: dict[str, Any]) -> int:
    pad_id = config.get("pad_token_id")
    return pad_id if isinstance(pad_id, int) and pad_id >= 0 else 0


def added_tokens(path: Path) -> dict[str, int]:
    """The tokens that a folder's tokenizer.json has beside or above its vocabulary, and their ids:
    special ones and the like. Empty where there is no such file."""
    file = path / "tokenizer.json"
    content = read_json(file) if file.is_file() else {}
    return {str(one["content"]): int(one["id"]) for one in content.get("added_tokens") or ()}


def pad_id(path: Path) -> int:
    """The id of the padding token of a folder's tokenizer, 0 where it names none."""
    named = tokenizer_config(path).get("pad_token")
    named = named.get("content") if isinstance(named, dict) else named
    known = added_tokens(path)
    return next((known[name] for name in (named, "[PAD]", "<pad>") if name in known), 0)


def longest(config: dict[str, Any], path: Path) -> int:
    """Return the maximum sequence length in tokens, special tokens included, for this config.json.

    Some families start their positions at an offset, so a few of these are not usable: see
    ``actors.onnx.length``. Raises ModelFileError if tokenizer_config.json cannot be read.
    """
    limits = [
        limit
        for limit in (tokenizer_config(path).get("model_max_length"),)
        if isinstance(limit, int | float) and 0 < limit < _UNBOUNDED
    ]
    positions = config.get("max_position_embeddings")
    if isinstance(positions, int) and positions > 0:
        limits.append(positions)
    return int(min(limits, default=_DEFAULT_SIZE))
