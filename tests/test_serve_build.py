"""What `serve deploy` refuses before a replica starts, and the shares it gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.config import ConfigError
from pipelines.config import load_pipeline
from pipelines.cores import Node
from pipelines.serve import build as room
from pipelines.serve.build import build
from pipelines.serve.catalogue import Catalogue, catalogue_of


def _catalogue(folder: Path, *, pool: str, ocr: str | None = None) -> Catalogue:
    path = folder / "pipe.yaml"
    reader = "" if ocr is None else f'ocr: {{model: "starter:ocr", pool: {ocr}}}\n'
    path.write_text(
        "name: pipe\n"
        "source: {path: notes/}\n"
        f'{reader}steps: [{{model: "starter:token-classifier", pool: {pool}}}]\n'
        "sink: {path: out/}\n"
    )
    return catalogue_of(load_pipeline(path))


def _cluster(monkeypatch: pytest.MonkeyPatch, cpus: float, gpus: float = 0.0) -> None:
    monkeypatch.setattr("ray.cluster_resources", lambda: {"CPU": cpus, "GPU": gpus})
    monkeypatch.setattr(room, "nodes", lambda: [Node(cpus, gpus, cpus)])


def test_replicas_whose_threads_would_share_cores_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _cluster(monkeypatch, 2.0)
    build(_catalogue(tmp_path, pool="{num_cpus: 0.5, max_actors: 2}"))
    with pytest.raises(ConfigError, match=r"^serve.pools: a node of 2 cores .* of 4 threads"):
        build(_catalogue(tmp_path, pool="{num_cpus: 0.5, max_actors: 4}"))


def test_what_reads_pictures_gets_a_share_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _cluster(monkeypatch, 4.0, gpus=1.0)
    application = build(
        _catalogue(tmp_path, pool="{num_cpus: 1}", ocr="{num_gpus: auto, card_gb: 24}")
    )
    (handles,) = [a for a in application._bound_deployment.init_args if isinstance(a, dict)]
    shares = {
        bound._bound_deployment.name: bound._bound_deployment.ray_actor_options["num_gpus"]
        for bound in handles.values()
    }
    assert shares.pop("model-starter-token-classifier") == 0
    [share] = shares.values()
    assert 0 < share < 0.5


def test_a_reader_without_a_card_runs_on_the_cpu_where_it_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _cluster(monkeypatch, 4.0)
    build(_catalogue(tmp_path, pool="{num_cpus: 1}", ocr="{num_gpus: auto, cpu_fallback: true}"))
    assert "no GPU in this cluster: ocr runs on the CPU" in caplog.text
    monkeypatch.setattr(room, "smallest_card", lambda: None)
    with pytest.raises(ConfigError, match="no card"):
        build(_catalogue(tmp_path, pool="{num_cpus: 1}", ocr="{num_gpus: auto}"))
