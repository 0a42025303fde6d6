"""A language model saved by Spark NLP: its GGUF, and its parameters under llama.cpp's names."""

from __future__ import annotations

import re
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from actors.config import ConfigSection
from actors.config.gguf import GgufContext, GgufSampling, spark_place
from actors.config.prompt import PromptSection
from actors.spark_nlp.package import ENCRYPTED, GGUF, Package, SparkNlpError, beginning
from actors.spark_nlp.writing import Left, copy, digest

# The parameters whose Spark NLP default is worth keeping. Its nPredict of 100 is meant for chat and
# would truncate every extraction; its batch size is specific to one machine.
_DEFAULTS = ("nCtx", "nGpuLayers", "systemPrompt")
_NOT_SETTINGS = {"inputCols", "outputCol", "lazyAnnotator", "engine", "metadata", "useChatTemplate"}
# GGUF metadata: the key, type 8 (a string), its length in eight bytes, its text.
_ARCHITECTURE = re.compile(rb"general\.architecture\x08\x00\x00\x00.{8}(\w+)", re.DOTALL)
_SECTIONS: dict[str, type[ConfigSection]] = {"context": GgufContext, "sampling": GgufSampling}


def import_gguf(
    package: Package, into: Path, name: str, guideline: str | None
) -> tuple[dict[str, Any], Left]:
    """Copy the weights to ``into``; return the model file's content and the omitted parameters."""
    file, encoder = _weights(package)
    weights = _copied(file, into / f"{name}.gguf", "model", "sha256")
    if encoder is not None:
        weights |= _copied(encoder, into / f"{name}-mmproj.gguf", "mmproj", "mmproj_sha256")
    sections, left = _settings(package)
    prompt = sections.pop("prompt")
    if guideline is None:
        prompt = {"format": "prose", **prompt}
    else:
        prompt = {"format": "template", "guideline": guideline, **prompt}
    content = {
        "name": name,
        "kind": "gguf",
        "weights": weights,
        **{key: section for key, section in sections.items() if section},
        "prompt": prompt,
    }
    return content, left


def _copied(file: Traversable, target: Path, name: str, digest_name: str) -> dict[str, str]:
    copy(file, target)
    return {name: target.name, digest_name: digest(target)}


def _weights(package: Package) -> tuple[Traversable, Traversable | None]:
    """Return the language model and, for a vision model, the image encoder."""
    files = [file for file in package.files() if file.name.endswith(".gguf")]
    files = files or package.files()
    for file in files:
        if beginning(file, len(GGUF)) != GGUF:
            raise SparkNlpError(f"{package.source}: {file.name} {ENCRYPTED}")
    encoders = [file for file in files if _is_encoder(file)]
    models = [file for file in files if file not in encoders]
    if len(models) != 1 or len(encoders) > 1:
        names = ", ".join(file.name for file in files) or "none"
        raise SparkNlpError(
            f"{package.source}: expected one weights file, plus an mmproj for a vision model; "
            f"found {names}"
        )
    return models[0], next(iter(encoders), None)


def _is_encoder(file: Traversable) -> bool:
    """Return True if a GGUF file is an mmproj: by its metadata, else by its name."""
    found = _ARCHITECTURE.search(beginning(file, 4096))
    return found[1].startswith(b"clip") if found else "mmproj" in file.name.casefold()


def _settings(package: Package) -> tuple[dict[str, dict[str, Any]], Left]:
    """Return the saved parameters by section, and the names of omitted ones."""
    given = {key: package.defaults[key] for key in _DEFAULTS if key in package.defaults}
    given.update(package.given)
    sections: dict[str, dict[str, Any]] = {"context": {}, "sampling": {}, "prompt": {}}
    unknown: list[str] = []
    invalid: list[str] = []
    for key, value in given.items():
        if key in _NOT_SETTINGS:
            continue
        place = spark_place(key, value)
        if place is None or place[0] not in sections:
            unknown.append(key)
        elif not _is_valid(*place):
            invalid.append(key)
        else:
            section, name, value = place
            part, _, inner = name.partition(".")
            if inner:
                sections[section].setdefault(part, {})[inner] = value
            else:
                sections[section][name] = value
    if given.get("useChatTemplate") is False:
        sections["prompt"]["chat_template"] = "none"
    return sections, Left(tuple(unknown), tuple(invalid))


def _is_valid(section: str, name: str, value: Any) -> bool:
    try:
        if section == "prompt":
            PromptSection.model_validate({"format": "prose", name: value})
        else:
            part, _, inner = name.partition(".")
            _SECTIONS[section].model_validate({part: {inner: value} if inner else value})
    except ValidationError:
        return False
    return True
