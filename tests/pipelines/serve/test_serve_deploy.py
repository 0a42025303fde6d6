"""`serve deploy` of a config file on a real cluster: two models, each with settings of its own, and
what happens under load when they change, die, hang, or have lived long enough.

One cluster for the module; its tests go from the gentle to the rough.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from support import ROOT, TWO_CORES
from support.gguf_models import make_prose
from support.serve_cluster import TEXT, Cluster, Load

from benchmarks.serve_process import free_port
from pipelines.serve.http.bearer_tokens import as_yaml, new_token

pytestmark = [TWO_CORES, pytest.mark.ray, pytest.mark.weights, pytest.mark.timeout(600)]

CLASSIFIER, LANGUAGE = "model-starter-token-classifier", "model-tiny"
# What the client comes again after: a model without a replica, or a full queue.
PASSING = {"503 model_unavailable", "429 overloaded"}
SECRET, ENTRY = new_token("test")


class Deployed:
    """medspan on the cluster, and the config file that it was deployed with."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster, self._file = cluster, folder / "serve.yaml"
        # The example of the repository, with paths, a port and names of this test.
        self.config: dict[str, Any] = yaml.safe_load(
            (ROOT / "configs/deploy/serve.yaml")
            .read_text()
            .replace("/etc/medspan/clinical-notes.yaml", str(folder / "pipe.yaml"))
            .replace("jsl_meds_ner_2b_q8_v1", "tiny")
            .replace(", num_gpus: 0.25", "")
        )
        self.config["http_options"] |= {"host": "127.0.0.1", "port": free_port()}
        self.url = f"http://127.0.0.1:{self.config['http_options']['port']}"
        self.change(LANGUAGE, ray_actor_options={"num_cpus": 0.5}, max_ongoing_requests=1)
        self.change(LANGUAGE, max_queued_requests=1)
        self.change(CLASSIFIER, ray_actor_options={"num_cpus": 0.5}, health_check_period_s=1)

    def change(self, deployment: str, **settings: Any) -> None:
        [application] = self.config["applications"]
        [found] = [d for d in application["deployments"] if d["name"] == deployment]
        found.update(settings)

    def deploy(self) -> None:
        self._file.write_text(yaml.safe_dump(self.config))
        self.cluster.deploy(self._file)

    def ask(self, **body: Any) -> httpx2.Response:
        return httpx2.post(f"{self.url}/v1/extract", json=body, headers=HEADERS, timeout=120)

    def models(self) -> dict[str, Any]:
        answer = httpx2.get(f"{self.url}/v1/models", headers=HEADERS, timeout=60)
        return {model["name"]: model for model in answer.json()["models"]}

    def load(self, attempts: int = 1) -> Load:
        return Load(self.url, SECRET, attempts)


HEADERS = {"authorization": f"Bearer {SECRET}"}


@pytest.fixture(scope="module")
def medspan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    folder = tmp_path_factory.mktemp("deploy")
    make_prose(folder)  # without an instruction: the probe brings its own prompt
    (folder / "tokens.yaml").write_text(as_yaml([ENTRY]))
    (folder / "pipe.yaml").write_text(
        "name: pipe\n"
        "source: {path: notes/}\n"
        'steps: [{model: "starter:token-classifier"}]\n'
        "sink: {path: out/}\n"
        "serve: {tokens: tokens.yaml, models: [{model: tiny.yaml, pool: {num_cpus: 0.5}}]}\n"
    )
    cluster = Cluster(folder, cpus=4)
    try:
        deployed = Deployed(cluster, folder)
        deployed.deploy()
        cluster.wait_for(
            lambda: (
                cluster.healthy("http", CLASSIFIER, LANGUAGE)
                and len(cluster.replicas(CLASSIFIER)) == 2
            ),
            "everything is deployed",
        )
        yield deployed
    finally:
        cluster.stop()


def test_each_model_has_settings_of_its_own(medspan: Deployed) -> None:
    found = {n: d["deployment_config"] for n, d in medspan.cluster.deployments().items()}
    assert set(found) == {"http", CLASSIFIER, LANGUAGE}
    two, scaled = found[CLASSIFIER], found[LANGUAGE]
    assert (two["num_replicas"], two["max_ongoing_requests"]) == (2, 16)
    assert (scaled["max_ongoing_requests"], scaled["max_queued_requests"]) == (1, 1)
    assert scaled["autoscaling_config"]["max_replicas"] == 4
    assert scaled["ray_actor_options"]["num_cpus"] == 0.5
    assert httpx2.get(f"{medspan.url}/readyz", timeout=60).status_code == 200


def test_two_replicas_of_a_model_answer(medspan: Deployed) -> None:
    def documents() -> list[int]:
        replicas = medspan.models()["starter-token-classifier"]["replicas"]
        return [replica["documents"] for replica in replicas]

    with medspan.load() as load:
        medspan.cluster.wait_for(
            lambda: len(documents()) == 2 and min(documents()) > 0, "both replicas have read", 60
        )
    assert set(load.outcomes) == {"right"}


def test_the_limits_of_one_model_are_not_those_of_another(medspan: Deployed) -> None:
    """One runs in the language model and one waits; whoever else comes is sent away, and the other
    model does not notice."""
    asked = {"model": "tiny", "documents": [{"text": "insulin", "prompt": "Repeat."}]}
    with medspan.load() as load, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: medspan.ask(**asked), range(8)))
    refused = [answer for answer in answers if answer.status_code != 200]
    assert 0 < len(refused) < 8, [answer.status_code for answer in answers]
    assert {answer.json()["error"]["code"] for answer in refused} == {"overloaded"}
    assert {answer.status_code for answer in refused} == {429}
    assert all("retry-after" in answer.headers for answer in refused)
    assert set(load.outcomes) == {"right"}


def test_limits_change_under_load_without_loading_anything(medspan: Deployed) -> None:
    cluster, three = medspan.cluster, {"documents": [{"text": TEXT}] * 3}
    before = cluster.replicas(CLASSIFIER) | cluster.replicas("http")
    assert medspan.ask(**three).status_code == 200
    with medspan.load() as load:
        medspan.change("http", user_config={"limits": {"documents": 2}})
        medspan.change(CLASSIFIER, user_config={"stall_timeout_s": 30})
        medspan.deploy()
        cluster.wait_for(lambda: medspan.ask(**three).status_code == 413, "the limit holds")
        cluster.wait_for(cluster.healthy, "the update is done")
    assert set(load.outcomes) == {"right"}
    assert cluster.replicas(CLASSIFIER) | cluster.replicas("http") == before
    medspan.change("http", user_config=None)
    medspan.deploy()
    cluster.wait_for(lambda: medspan.ask(**three).status_code == 200, "the file's limits hold")


def test_a_new_revision_replaces_everything_under_load_and_drops_nothing(
    medspan: Deployed,
) -> None:
    cluster, names = medspan.cluster, ("http", CLASSIFIER, LANGUAGE)
    before = {name: cluster.replicas(name) for name in names}
    with medspan.load() as load:
        medspan.config["applications"][0]["args"]["revision"] = "2"
        medspan.change(CLASSIFIER, max_ongoing_requests=8)
        medspan.deploy()
        cluster.wait_for(
            lambda: all(
                (now := cluster.replicas(name)) and not now & before[name] for name in names
            ),
            "every replica is new",
        )
        cluster.wait_for(cluster.healthy, "the update is done")
    assert set(load.outcomes) == {"right"}
    assert load.outcomes["right"] > 5
    assert cluster.deployments()[CLASSIFIER]["deployment_config"]["max_ongoing_requests"] == 8


def _kill(medspan: Deployed, deployment: str) -> None:
    """Kill one replica, and wait until another is in its place."""
    cluster = medspan.cluster
    before = cluster.replicas(deployment)
    victim = min(before)
    time.sleep(1)
    os.kill(victim, signal.SIGKILL)
    cluster.wait_for(
        lambda: victim not in (now := cluster.replicas(deployment)) and len(now) == len(before),
        f"{deployment} is whole again",
    )


def test_a_request_that_fails_with_a_killed_replica_may_be_retried(
    medspan: Deployed,
) -> None:
    with medspan.load(attempts=1) as once, medspan.load(attempts=10) as patient:
        _kill(medspan, CLASSIFIER)
    assert set(once.outcomes) <= {"right", *PASSING}, once.outcomes
    assert set(patient.outcomes) == {"right"}, patient.outcomes


def test_all_replicas_killed_at_once_are_waited_for(medspan: Deployed) -> None:
    cluster, before = medspan.cluster, medspan.cluster.replicas(CLASSIFIER)
    with medspan.load(attempts=1) as once, medspan.load(attempts=10) as patient:
        time.sleep(1)
        for victim in before:
            os.kill(victim, signal.SIGKILL)
        cluster.wait_for(
            lambda: len(cluster.replicas(CLASSIFIER) - before) == 2, "both are replaced"
        )
    assert set(once.outcomes) <= {"right", *PASSING}, once.outcomes
    assert set(patient.outcomes) == {"right"}, patient.outcomes


def test_the_front_killed_under_load_is_met_by_the_client(medspan: Deployed) -> None:
    """The proxy's answer for a front that died is its own, and no envelope of ours."""
    with medspan.load(attempts=10) as patient:
        _kill(medspan, "http")
    assert set(patient.outcomes) == {"right"}, patient.outcomes


def test_a_replica_that_is_frozen_is_replaced(medspan: Deployed) -> None:
    cluster = medspan.cluster
    medspan.change(CLASSIFIER, health_check_timeout_s=2, graceful_shutdown_timeout_s=3)
    medspan.deploy()
    cluster.wait_for(
        lambda: (
            cluster.deployments()[CLASSIFIER]["deployment_config"]["health_check_timeout_s"] == 2
            and cluster.healthy(CLASSIFIER)
        ),
        "it is checked more often",
    )
    before = cluster.replicas(CLASSIFIER)
    victim = min(before)
    with medspan.load(attempts=10) as patient:
        os.kill(victim, signal.SIGSTOP)
        cluster.wait_for(
            lambda: victim not in (now := cluster.replicas(CLASSIFIER)) and len(now) == 2,
            "another is in its place",
        )
        cluster.wait_for(lambda: not Path(f"/proc/{victim}").exists(), "it is gone")
    assert set(patient.outcomes) == {"right"}, patient.outcomes
    assert medspan.ask(text=TEXT).status_code == 200


def test_replicas_whose_time_is_over_are_replaced_without_a_loss(medspan: Deployed) -> None:
    cluster, before = medspan.cluster, medspan.cluster.replicas(CLASSIFIER)
    with medspan.load(attempts=1) as load:
        medspan.change(CLASSIFIER, user_config={"recycle_documents": 20})
        medspan.deploy()
        cluster.wait_for(
            lambda: bool(now := cluster.replicas(CLASSIFIER)) and not before & now,
            "both are replaced",
        )
        medspan.change(CLASSIFIER, user_config=None)
        medspan.deploy()
        cluster.wait_for(
            lambda: len(cluster.replicas(CLASSIFIER)) == 2 and cluster.healthy(CLASSIFIER),
            "those that follow stay",
        )
    assert load.outcomes["right"] >= 20
    assert set(load.outcomes) == {"right"}, load.outcomes
