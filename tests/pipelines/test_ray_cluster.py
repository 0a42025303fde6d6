"""A private Ray is given several attempts to start, and fails with a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from actors.config import ConfigError
from pipelines import ray_cluster


class Starts:
    """ray.init that fails as often as it is told to, as on a machine that is overloaded."""

    def __init__(self, failures: int) -> None:
        self.failures, self.calls = failures, 0
        self.settings: dict[str, Any] = {}

    def __call__(self, **settings: Any) -> None:
        self.calls += 1
        self.settings = settings
        if self.calls <= self.failures:
            raise Exception("The current node timed out during startup.")


def test_a_slow_machine_gets_a_second_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    starts = Starts(failures=2)
    monkeypatch.setattr("ray.init", starts)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with ray_cluster.cluster():
        pass
    assert starts.calls == 3


def test_ray_declares_the_cores_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    starts = Starts(failures=0)
    monkeypatch.setattr("ray.init", starts)
    monkeypatch.setattr("pipelines.ray_cluster.cores", lambda: 3)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with ray_cluster.cluster():
        pass
    assert starts.settings["num_cpus"] == 3


def test_a_ray_that_never_starts_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    starts = Starts(failures=9)
    monkeypatch.setattr("ray.init", starts)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with (
        pytest.raises(ConfigError, match="did not start on this machine in 3 attempts"),
        ray_cluster.cluster(),
    ):
        pass
