"""A private Ray has one node, one driver and no dashboard: nothing starts that serves clusters."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from support.lake import Quiet, hashing, pipeline, rows_of

from pipelines.batch.run import begin_run, drive_run
from pipelines.private_ray import replaced
from pipelines.ray_cluster import cluster, is_private
from pipelines.runs.store import RunStore
from pipelines.source.units import plan_source


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_a_run_starts_no_process_but_those_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    lines = (json.dumps({"id": f"d{i}", "text": "aspirin"}) for i in range(4))
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    loaded = pipeline(str(tmp_path / "in.jsonl"), str(tmp_path / "out"), unit_rows=2)
    sink = RunStore(loaded.pipeline.sink.path)
    run_id = begin_run(loaded, plan_source(loaded.pipeline.source))
    with cluster():
        assert is_private()
        drive_run(sink, run_id, Quiet(), hashing())
        # Those of Ray Data are named, so that the datasets of a cluster share them.
        named = [actor["name"] for actor in ray.util.list_named_actors(all_namespaces=True)]
        assert not [name for name in named if not name.startswith("medspan-")]
        commands = [" ".join(p.cmdline()) for p in psutil.Process().children(recursive=True)]
    assert not is_private()
    assert any("raylet" in command for command in commands)
    for script in ("dashboard/dashboard.py", "_private/monitor.py", "_private/log_monitor.py"):
        assert not [command for command in commands if script in command]
    assert len(rows_of(sink)) == 4


def test_names_of_ray_are_given_back_and_missing_ones_are_an_error() -> None:
    theirs = SimpleNamespace(start=1)
    with replaced(theirs, start=2):
        assert theirs.start == 2
    assert theirs.start == 1
    with pytest.raises(KeyError, match="begin"), replaced(theirs, begin=2):
        pass
