"""The SINK argument: a sink's folder, or a pipeline file that names it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipelines.lake.layout import Sink

SinkPath = Annotated[str, typer.Argument(help="A sink folder, or a pipeline file that names it.")]


def lake_of(path: str) -> Sink:
    """Open the sink; a pipeline file also supplies its storage options."""
    from pipelines.config import load_pipeline
    from pipelines.lake.layout import Sink
    from pipelines.storage import Storage

    if path.endswith((".yaml", ".yml")):
        pipeline = load_pipeline(path).pipeline
        pipeline.storage.apply()
        return Sink(pipeline.sink.path)
    Storage().apply()
    return Sink(path)
