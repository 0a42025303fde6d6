"""``medspan schema``: JSON Schemas of the configuration files, for editors."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated, Any

import typer


class ConfigKind(StrEnum):
    """The two kinds of configuration file."""

    PIPELINE = "pipeline"
    MODEL = "model"


def schema(
    kind: Annotated[
        ConfigKind, typer.Argument(help="Kind of configuration file.")
    ] = ConfigKind.PIPELINE,
) -> None:
    """Print the JSON Schema of a configuration file; configs/schema holds both."""
    print(render_schema(kind), end="")


def render_schema(kind: ConfigKind) -> str:
    """The JSON Schema of a kind of file, as text that ends with a newline."""
    from pydantic import TypeAdapter

    from actors.config import ModelConfig
    from actors.config.ocr import OcrModel
    from pipelines.config import Pipeline

    content: dict[str, Any]
    if kind is ConfigKind.PIPELINE:
        content = Pipeline.model_json_schema()
    else:
        content = TypeAdapter(ModelConfig | OcrModel).json_schema()
    content = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | content
    return json.dumps(content, indent=1, sort_keys=True) + "\n"
