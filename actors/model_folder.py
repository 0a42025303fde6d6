"""Parse and validate the files of a model folder as optimum exports it; no weights are loaded."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.config import ConfigError

FILES = (
    "model.onnx",
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
)
"""The files that are read from a model folder; the first holds the weights."""

_UNBOUNDED = 1_000_000
_DEFAULT_SIZE = 512


class ModelFileError(ConfigError):
    """An unusable model folder; the message names the file and the problem."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A model folder: labels by index, the padding id, and the maximum sequence length in tokens,
    which may be a few too many (see ``longest``)."""

    path: Path
    labels: tuple[str, ...]
    pad_id: int
    longest: int

    @property
    def model(self) -> Path:
        """Path of the weights."""
        return self.path / "model.onnx"


def read_folder(path: Path) -> Folder:
    """Read the folder's metadata, without the weights.

    Raises FileNotFoundError or ModelFileError; both name the file.
    """
    if not path.is_dir():
        raise FileNotFoundError(
            f"{path}: not a folder; a token classifier is a folder with model.onnx, config.json "
            "and tokenizer.json or vocab.txt"
        )
    if not (path / "model.onnx").is_file():
        raise FileNotFoundError(f"{path / 'model.onnx'}: not found")
    config = read_json(path / "config.json")
    return Folder(path, _labels(config, path), _pad_id(config), longest(config, path))


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
