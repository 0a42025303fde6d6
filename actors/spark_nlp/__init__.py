"""Convert models downloaded for Spark NLP: ``medspan models import``.

A Spark NLP model is a zip or folder with metadata (its parameters as JSON), fields (vocabulary and
labels) and the engine's own file. The GGUF or ONNX file is copied, the fields are written next to
it, and a model file is generated with the parameters under llama.cpp's names.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from actors.config import load_model
from actors.spark_nlp.gguf import import_gguf
from actors.spark_nlp.onnx import import_onnx
from actors.spark_nlp.package import GGUF, Package, SparkNlpError, beginning, opened
from actors.spark_nlp.writing import Left, write_model_file

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def import_model(
    source: Path, into: Path, *, name: str | None = None, guideline: Path | None = None
) -> Path:
    """Import the model at ``source`` into the folder ``into`` and return the path of its model
    file.

    ``name`` overrides the model's own. With a ``guideline`` a language model extracts by it, in the
    template format; without one it writes prose. Raises SparkNlpError, which names the source and
    says what to do, including for a file encrypted for a licence; FileNotFoundError; and
    FileExistsError if the model file already exists. Nothing is written outside ``into``.
    """
    if name is not None and not _NAME.fullmatch(name):
        raise SparkNlpError(
            f"invalid model name {name!r}: use letters, digits, '.', '_' and '-', and begin with a "
            "letter or a digit"
        )
    with opened(source) as package:
        name = name or package.name
        path = into / f"{name}.yaml"
        if path.exists():
            raise FileExistsError(f"{path}: already exists; choose another name or folder")
        into.mkdir(parents=True, exist_ok=True)
        if _is_language_model(package):
            relative = os.path.relpath(guideline.resolve(), into.resolve()) if guideline else None
            content, left = import_gguf(package, into, name, relative)
        elif guideline is not None:
            raise SparkNlpError(
                f"{source}: a {package.kind} has its own labels and takes no guideline"
            )
        else:
            content, left = import_onnx(package, into, name), Left()
        write_model_file(path, package, content, left)
    load_model(path)
    return path


def _is_language_model(package: Package) -> bool:
    """True if llama.cpp is the engine: by a file, or by the metadata if that is encrypted."""
    engine = str(package.parameter("engine", "")).casefold().replace("_", "")
    files = package.files()
    return engine == "llamacpp" or any(
        file.name.endswith(".gguf") or beginning(file, len(GGUF)) == GGUF for file in files
    )


__all__ = ["SparkNlpError", "import_model"]
