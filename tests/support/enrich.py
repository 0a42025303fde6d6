"""A lake that is enriched pass by pass, and the documents that its model sees."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipelines.config import LoadedPipeline
from pipelines.enrich import Pass, enrich_once
from pipelines.runs.store import RunStore
from support.lake import HashModel, Quiet, pipeline, write_rows


class Lake:
    """A source, a sink, and how many documents the model saw in the last pass."""

    def __init__(self, folder: Path) -> None:
        self.source, self.sink = folder / "in", RunStore(str(folder / "out"))
        self.forgive = folder / "forgive"

    def loaded(self, on_duplicate: str = "fail_row", **more: object) -> LoadedPipeline:
        made = pipeline(str(self.source), self.sink.path, **more)  # type: ignore[arg-type]
        source = made.pipeline.source.model_copy(update={"on_duplicate": on_duplicate})
        return replace(made, pipeline=made.pipeline.model_copy(update={"source": source}))

    def write(self, name: str, *ids: str, extra: str = "") -> None:
        path = self.source / f"{name}.jsonl"
        write_rows(path, ids, extra)
        stamp = path.stat().st_mtime_ns + 1_000_000_000 * len(list(self.sink.committed()))
        os.utime(path, ns=(stamp, stamp))  # a clock of a second's grain must not hide a change

    def enrich(self, **more: Any) -> tuple[Pass, int]:
        before = Counting.seen
        done = enrich_once(self.loaded(**more), Quiet(), nullcontext(), counting(str(self.forgive)))
        return done, Counting.seen - before


class Counting(HashModel):
    seen = 0

    def submit(self, document):  # type: ignore[no-untyped-def]
        Counting.seen += 1
        return super().submit(document)


def counting(forgive: str) -> Callable[..., Counting]:
    return lambda config, share: Counting(config, share, 0.0, forgive)
