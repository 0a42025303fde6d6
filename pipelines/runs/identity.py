"""The fingerprint of a pipeline: equal ones make the same rows of the same documents."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from urllib.parse import unquote, urlsplit

from actors.config import ModelConfig
from actors.config.load import STARTERS
from actors.config.ocr import OcrModel
from actors.weights import digest
from pipelines.config import LoadedPipeline
from pipelines.lake.files import list_files

_STARTER = "starter:"
# What of a source decides which documents there are and what the models see.
_SOURCE = ("id", "text", "image", "prompt", "max_document_mb")


def pipeline_fingerprint(loaded: LoadedPipeline) -> str:
    """16 hex digits that follow from the models' configuration (guidelines and prompts are in it),
    their weights, the merge, the columns read, and the version of medspan.

    Pools, paths and unit sizes are not in it. Local weights are digested (a second a GB) unless
    their configuration says the SHA-256; remote ones go by the version that their store gives.
    Raises ConfigError where there are no weights.
    """
    models = []
    for model in (*loaded.models, *((loaded.ocr,) if loaded.ocr else ())):
        facts = model.model_dump(mode="json")
        facts.pop("weights")
        models.append({"config": facts, "weights": _weights(model)})
    pipeline = loaded.pipeline
    content = {
        "models": models,
        "merge": pipeline.merge.model_dump(mode="json"),
        "source": pipeline.source.model_dump(mode="json", include=set(_SOURCE)),
        "medspan": version("medspan"),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _weights(model: ModelConfig | OcrModel) -> list[str]:
    if model.weights is None:  # what comes in the package of the reader
        return [version("rapidocr")]
    scales = [f"x{one.scale}" for one in getattr(model.weights, "lora", ())]
    return [said for file in model.weights.files for said in _file(*file)] + scales


def _file(uri: str, sha256: str | None) -> list[str]:
    """What tells a file, or the files of a folder, from others."""
    if sha256:
        return [sha256]
    if uri.startswith(_STARTER):
        local = STARTERS / uri.removeprefix(_STARTER)
    elif uri.startswith("file://"):
        local = Path(unquote(urlsplit(uri).path))
    elif "://" in uri:
        return [f"{Path(file.uri).name} {file.version}" for file in list_files([uri], "text")]
    else:
        local = Path(uri).expanduser()
    files = sorted(local.rglob("*")) if local.is_dir() else [local]
    return [f"{file.name} {digest(file)}" for file in files if file.is_file()]
