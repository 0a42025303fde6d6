"""Documents that end their process: they are found and set aside, and all others are done."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.lake import FAILING, POISON, Quiet, hashing, never, pipeline, rows_of, slow

from pipelines.batch.run import RunFailedError, begin_run, drive_run
from pipelines.ray_cluster import cluster
from pipelines.runs.store import RunStore
from pipelines.source.units import plan_source

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]


class Seen(Quiet):
    """Records the progress of the unit under way."""

    def __init__(self) -> None:
        self.under_way: list[float] = []

    def working(self, documents: float, steps: int) -> None:
        self.under_way.append(documents)


@pytest.fixture(scope="module", autouse=True)
def _ray() -> Iterator[None]:
    with cluster():
        yield


def test_poison_is_set_aside_and_its_neighbours_are_done(tmp_path: Path) -> None:
    texts = [f"note {i}: aspirin and rest" for i in range(60)]
    texts[17] = f"{POISON} 17"
    texts[43] = f"{FAILING} 43"
    lines = (json.dumps({"id": f"d{i}", "text": text}) for i, text in enumerate(texts))
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    loaded = pipeline(str(tmp_path / "in.jsonl"), str(tmp_path / "out"), unit_rows=20)
    run_id = begin_run(loaded, plan_source(loaded.pipeline.source))
    sink = RunStore(loaded.pipeline.sink.path)
    outcome = drive_run(sink, run_id, Quiet(), hashing())
    rows = rows_of(sink)
    assert len(rows) == 60
    failed = {i: row[1] for i, row in rows.items() if row[0] == "failed"}
    assert failed == {"d17": "PoisonDocument", "d43": "Refused"}
    assert outcome.marker["counts"]["failures"] == {"PoisonDocument": 1, "Refused": 1}
    assert not sink.folder.names(f"_runs/{run_id}")


def test_a_model_that_never_loads_ends_the_run_which_can_be_resumed(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"id": "a", "text": "x"}')
    loaded = pipeline(str(tmp_path / "in.jsonl"), str(tmp_path / "out"), no_progress_timeout_s=6)
    run_id = begin_run(loaded, plan_source(loaded.pipeline.source))
    sink = RunStore(loaded.pipeline.sink.path)
    with pytest.raises(RunFailedError, match=r"no unit finished for 0\.1 minutes"):
        drive_run(sink, run_id, Quiet(), never)
    assert sink.open_runs() == [run_id]
    # What goes on after the run would end this process once its Ray is gone.
    assert not [t for t in threading.enumerate() if t.name.startswith("StreamingExecutor")]
    loaded = pipeline(str(tmp_path / "in.jsonl"), str(tmp_path / "out"))
    drive_run(sink, begin_run(loaded, plan_source(loaded.pipeline.source)), Quiet(), hashing())
    assert len(rows_of(sink)) == 1


@pytest.mark.slow
def test_progress_within_a_unit_is_no_stall(tmp_path: Path) -> None:
    """One unit of 60 s, and half of that without a unit ends a run. Texts differ, since equal ones
    are processed once."""
    lines = (json.dumps({"id": f"d{i}", "text": f"x{i}"}) for i in range(30))
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    loaded = pipeline(
        str(tmp_path / "in.jsonl"), str(tmp_path / "out"), unit_rows=30, no_progress_timeout_s=30
    )
    sink = RunStore(loaded.pipeline.sink.path)
    seen = Seen()
    drive_run(sink, begin_run(loaded, plan_source(loaded.pipeline.source)), seen, slow(2.0))
    assert len(rows_of(sink)) == 30
    # The bar moves all the while.
    assert len(set(seen.under_way)) > 5
    assert seen.under_way == sorted(seen.under_way)
    assert 10 < seen.under_way[-1] <= 30
