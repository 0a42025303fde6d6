"""The arguments SINK (a folder, or a pipeline file that names it) and RUN (an id, or latest)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipelines.runs.store import RunStore

SinkPath = Annotated[str, typer.Argument(help="A sink folder, or a pipeline file that names it.")]


RunName = Annotated[str, typer.Argument(help="A run id, or latest.")]


def committed_run(store: RunStore, name: str) -> str:
    """Return a run id: ``name``, or for ``latest`` that of the last committed run. Raises RunError
    if there is none."""
    return store.latest() if name == "latest" else name


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
