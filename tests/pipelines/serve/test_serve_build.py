"""`serve deploy`: configurations rejected before a replica starts, and shares of replicas."""

from __future__ import annotations

from pathlib import Path

import pytest
from ray.serve import Application, Deployment
from support.gguf_models import make_prose

from actors.config import ConfigError
from actors.config.gguf import DEFAULT_SLOTS
from pipelines.capacity import placement
from pipelines.capacity.nodes import Node
from pipelines.config import load_pipeline
from pipelines.serve.catalogue import Catalogue, catalogue_of
from pipelines.serve.replicas.build import build_application


def _catalogue(
    folder: Path,
    *,
    pool: str,
    ocr: str | None = None,
    model: str = "starter:token-classifier",
    serve: str = "{}",
) -> Catalogue:
    path = folder / "pipe.yaml"
    reader = "" if ocr is None else f'ocr: {{model: "starter:ocr", pool: {ocr}}}\n'
    path.write_text(
        "name: pipe\n"
        "source: {path: notes/}\n"
        f'{reader}steps: [{{model: "{model}", pool: {pool}}}]\n'
        f"sink: {{path: out/}}\nserve: {serve}\n"
    )
    return catalogue_of(load_pipeline(path))


def _cluster(
    monkeypatch: pytest.MonkeyPatch, cpus: float, gpus: float = 0.0, count: int = 1
) -> None:
    """So many nodes of each."""
    total = {"CPU": cpus * count, "GPU": gpus * count}
    monkeypatch.setattr("ray.cluster_resources", lambda: total)
    monkeypatch.setattr(placement, "nodes", lambda: [Node(cpus, gpus, cpus)] * count)
    monkeypatch.setattr(placement, "smallest_gpu", lambda: 24 * 10**9)


def test_a_server_scales_its_ingress_and_its_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _cluster(monkeypatch, 4.0)
    catalogue = _catalogue(
        tmp_path,
        pool="{num_cpus: 1, min_actors: 1, max_actors: 3}",
        serve="{ingress_replicas: 2, target_ongoing_requests: 6}",
    )
    application = build_application(catalogue)
    assert application._bound_deployment.num_replicas == 2
    (model,) = _deployments(application).values()
    scaling = model._deployment_config.autoscaling_config
    assert scaling is not None
    assert (scaling.min_replicas, scaling.max_replicas) == (1, 3)
    assert scaling.target_ongoing_requests == 6


def _deployments(application: Application) -> dict[str, Deployment]:
    """Those of the models, by name."""
    (handles,) = [a for a in application._bound_deployment.init_args if isinstance(a, dict)]
    found = [bound._bound_deployment for bound in handles.values()]
    return {deployment.name: deployment for deployment in found}


@pytest.mark.parametrize(
    ("pool", "message"),
    [
        ("{num_cpus: 3}", "requests 3 CPUs, but the largest node has 2"),
        (
            "{num_cpus: 1, num_gpus: 0.6, min_actors: 3, max_actors: 3}",
            r"\(0\.6, 0\.6, 0\.6\) do not fit on 2 GPUs",
        ),
    ],
)
def test_actors_that_fit_no_single_node_are_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pool: str, message: str
) -> None:
    """Serve would wait for its replicas for ever."""
    _cluster(monkeypatch, 2.0, gpus=1.0, count=2)
    with pytest.raises(ConfigError, match=f"^serve.pools: .*{message}"):
        build_application(_catalogue(tmp_path, pool=pool))


@pytest.mark.parametrize(("share", "surge"), [(0.5, 100), (0.7, 0)])
def test_an_update_has_both_up_only_where_cards_can_be_cut_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float, surge: int
) -> None:
    _cluster(monkeypatch, 2.0, gpus=1.0, count=3)
    pool = f"{{num_cpus: 1, num_gpus: {share}, min_actors: 2, max_actors: 2}}"
    [deployment] = _deployments(build_application(_catalogue(tmp_path, pool=pool))).values()
    assert deployment._deployment_config.max_surge_percent == surge


@pytest.mark.parametrize(
    ("sequences", "requests"), [("1", 16), ("24", 48), ("auto", 2 * DEFAULT_SLOTS)]
)
def test_a_replica_takes_enough_requests_to_fill_its_slots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sequences: str, requests: int
) -> None:
    _cluster(monkeypatch, 2.0)
    make_prose(tmp_path)
    model = tmp_path / "tiny.yaml"
    model.write_text(model.read_text().replace("sequences: 1", f"sequences: {sequences}"))
    deployments = _deployments(
        build_application(_catalogue(tmp_path, pool="{num_cpus: 1}", model=str(model)))
    )
    assert deployments["model-tiny"].max_ongoing_requests == requests


def test_replicas_whose_threads_would_share_cores_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _cluster(monkeypatch, 2.0)
    build_application(_catalogue(tmp_path, pool="{num_cpus: 0.5, max_actors: 2}"))
    with pytest.raises(ConfigError, match=r"^serve.pools: a 2-core node .* 4 threads"):
        build_application(_catalogue(tmp_path, pool="{num_cpus: 0.5, max_actors: 4}"))


@pytest.mark.parametrize("cpus", [1, 0.5])
def test_the_error_for_three_models_on_two_cores_has_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cpus: float
) -> None:
    """Each has a thread at least, so whoever follows advice to lower a number is refused again."""
    _cluster(monkeypatch, 2.0)
    path = tmp_path / "three.yaml"
    models = ("token-classifier", "extractor")
    steps = ", ".join(f"{{model: 'starter:{m}', pool: {{num_cpus: {cpus}}}}}" for m in models)
    path.write_text(
        "name: three\n"
        "source: {path: notes/}\n"
        f"ocr: {{model: 'starter:ocr', pool: {{num_cpus: {cpus}}}}}\n"
        f"steps: [{steps}]\n"
        "sink: {path: out/}\n"
    )
    with pytest.raises(ConfigError, match="each of the 3 models needs a core") as refused:
        build_application(catalogue_of(load_pipeline(path)))
    assert "lower" not in str(refused.value)
    assert "num_cpus to 1" not in str(refused.value)


def test_replicas_that_are_too_many_or_too_wide_can_be_fewer_or_narrower(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _cluster(monkeypatch, 2.0)
    for pool, how in (
        ("{num_cpus: 1, min_actors: 3, max_actors: 3}", "; lower pool.min_actors$"),
        (
            "{num_cpus: 2, min_actors: 2, max_actors: 2}",
            "; lower pool.num_cpus or pool.min_actors$",
        ),
    ):
        with pytest.raises(ConfigError, match=how):
            build_application(_catalogue(tmp_path, pool=pool))


def test_ocr_replicas_get_their_own_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _cluster(monkeypatch, 4.0, gpus=1.0)
    application = build_application(
        _catalogue(tmp_path, pool="{num_cpus: 1}", ocr="{num_gpus: auto, gpu_memory_gb: 24}")
    )
    shares = {
        name: deployment.ray_actor_options["num_gpus"]
        for name, deployment in _deployments(application).items()
    }
    assert shares.pop("model-starter-token-classifier") == 0
    [share] = shares.values()
    assert 0 < share < 0.5


def test_ocr_falls_back_to_the_cpu_if_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _cluster(monkeypatch, 4.0)
    build_application(
        _catalogue(tmp_path, pool="{num_cpus: 1}", ocr="{num_gpus: auto, cpu_fallback: true}")
    )
    assert "no GPU in this cluster: ocr runs on the CPU" in caplog.text
    monkeypatch.setattr(placement, "smallest_gpu", lambda: None)
    with pytest.raises(ConfigError, match="GPU memory of the cluster is unknown"):
        build_application(_catalogue(tmp_path, pool="{num_cpus: 1}", ocr="{num_gpus: auto}"))
