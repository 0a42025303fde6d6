"""The SINK argument: a sink's folder, or a pipeline file that names it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipelines.runs.store import RunStore

SinkPath = Annotated[str, typer.Argument(help="A sink folder, or a pipeline file that names it.")]


def store_of(path: str) -> RunStore:
    """Open the sink; a pipeline file also supplies its storage options."""
    from pipelines.config import load_pipeline
    from pipelines.runs.store import RunStore
    from pipelines.storage import Storage

    if path.endswith((".yaml", ".yml")):
        pipeline = load_pipeline(path).pipeline
        pipeline.storage.apply()
        return RunStore(pipeline.sink.path)
    Storage().apply()
    return RunStore(path)
