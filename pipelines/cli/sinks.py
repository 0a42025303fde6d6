"""The sink that a command names: by its folder, or by the pipeline file that says it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipelines.lake.layout import Sink

SinkPath = Annotated[
    str, typer.Argument(help="The folder that runs wrote to, or the pipeline file that says it.")
]


def lake_of(path: str) -> Sink:
    """The sink, with the storage options of the pipeline file where one is given."""
    from pipelines.config import load_pipeline
    from pipelines.lake.layout import Sink
    from pipelines.storage import Storage

    if path.endswith((".yaml", ".yml")):
        pipeline = load_pipeline(path).pipeline
        pipeline.storage.apply()
        return Sink(pipeline.sink.path)
    Storage().apply()
    return Sink(path)
