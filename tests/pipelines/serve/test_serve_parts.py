"""The parts of the server: queues, rates, tokens, what may be bound."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console
from support import ROOT
from support.serve import PIPELINE
from typer.testing import CliRunner

from actors.config import ConfigError
from pipelines.cli.app import app
from pipelines.cli.serve import _reloaded, check_host
from pipelines.config import ServeLimits, load_pipeline
from pipelines.serve.answering.admission import Queue, Rate, Rejected
from pipelines.serve.catalogue import Catalogue, catalogue_of
from pipelines.serve.http.bearer_tokens import TokenStore
from pipelines.serve.replicas.build import BuildArgs, application
from pipelines.serve.replicas.health import Settings
from pipelines.serve.replicas.ingress import limited


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_queue_is_bounded_in_documents_and_characters() -> None:
    queue = Queue(documents=3, characters=100)
    with queue.place([30] * 2, deadline=10):
        with pytest.raises(Rejected), queue.place([1, 0], deadline=10):
            pass
        with pytest.raises(Rejected), queue.place([41], deadline=10):
            pass
        with queue.place([40], deadline=10):
            assert (queue.documents, queue.characters) == (3, 100)
    assert (queue.documents, queue.characters) == (0, 0)


def test_an_empty_queue_takes_whatever_the_limits_of_a_request_allow() -> None:
    with Queue(documents=1, characters=1).place([20] * 64, deadline=10):
        pass


def test_work_that_would_come_too_late_is_refused_at_once_with_the_time_it_takes() -> None:
    clock = Clock()
    queue = Queue(documents=100, characters=10_000, clock=clock)
    with queue.place([100], deadline=10):
        clock.now += 2  # 50 characters a second
    with queue.place([1000], deadline=60):
        assert queue.wait() == pytest.approx(20, rel=0.01)
        with queue.place([1], deadline=30):
            pass
        with pytest.raises(Rejected) as refused, queue.place([1], deadline=10):
            pass
        assert 15 <= refused.value.retry_after <= 25
        with pytest.raises(Rejected), queue.place([1], deadline=22):
            pass  # 20 s are expected: too near
        with pytest.raises(Rejected), queue.place([1000], deadline=30):
            pass


def test_failed_and_cancelled_documents_do_not_count_as_throughput() -> None:
    clock = Clock()
    queue = Queue(documents=100, characters=10_000, clock=clock)

    def too_late() -> None:
        with queue.place([100], deadline=10):
            clock.now += 5
            raise TimeoutError

    with pytest.raises(TimeoutError):
        too_late()
    assert queue.documents == 0
    assert queue.wait() == 0


def test_a_huge_document_starves_no_short_one() -> None:
    clock = Clock()
    queue = Queue(documents=100, characters=4_000_000, clock=clock)

    def short() -> None:
        with queue.place([500], deadline=60):
            clock.now += 0.5  # 1000 characters a second

    for _ in range(4):
        short()
    usual = queue._seconds(1)

    def huge() -> None:
        with queue.place([1_000_000], deadline=300):
            for _ in range(20):
                clock.now += 14
                with queue.place([500], deadline=60):
                    clock.now += 1  # they take turns
            with pytest.raises(Rejected), queue.place([500_000], deadline=60):
                pass  # most of this one would be read after the other
            raise TimeoutError

    with pytest.raises(TimeoutError):
        huge()
    with queue.place([500], deadline=60), queue.place([500], deadline=5):
        pass
    assert queue._seconds(1) < 2 * usual, "its time went with it"


def test_a_finished_huge_document_updates_the_models_speed() -> None:
    clock = Clock()
    queue = Queue(documents=100, characters=4_000_000, clock=clock)
    with queue.place([200_000], deadline=300):
        for _ in range(20):
            clock.now += 9.5
            with queue.place([500], deadline=60):
                clock.now += 0.5
    assert queue._seconds(1_000) == pytest.approx(1, rel=0.1)


def test_of_three_times_the_capacity_most_is_refused_at_once_and_nothing_comes_too_late() -> None:
    """Equal requests, one after the other at one a second, of which three come in each."""
    clock = Clock()
    queue = Queue(documents=1_000, characters=4_000_000, clock=clock)
    with ExitStack() as rest:
        under_way: list[tuple[float, ExitStack]] = []
        late = refused = 0
        for second in range(300):
            for _ in range(3):
                place = rest.enter_context(ExitStack())
                try:
                    place.enter_context(queue.place([10_000], deadline=30))
                    under_way.append((clock.now, place))
                except Rejected:
                    refused += 1
            clock.now += 1
            began, place = under_way.pop(0)
            late += second > 100 and clock.now - began > 30
            place.close()
    assert late == 0
    assert refused > 500


def test_idle_time_does_not_count_as_slowness() -> None:
    clock = Clock()
    queue = Queue(documents=100, characters=10_000, clock=clock)
    for _ in range(3):
        with queue.place([100], deadline=10):
            clock.now += 1
        clock.now += 1000
    with queue.place([200], deadline=10):
        assert queue.wait() == pytest.approx(2, rel=0.1)


def test_a_rate_refills_and_is_per_client() -> None:
    clock = Clock()
    rate = Rate(per_minute=60, clock=clock)
    for _ in range(10):
        rate.take("a")
    with pytest.raises(Rejected) as refused:
        rate.take("a")
    assert refused.value.retry_after == 1
    rate.take("b")
    clock.now += 1
    rate.take("a")
    with pytest.raises(Rejected):
        rate.take("a")


def _pipeline(folder: Path, serve: str) -> Path:
    path = folder / "pipe.yaml"
    path.write_text(PIPELINE.format(serve=serve, more=""))
    return path


def test_a_token_is_made_once_and_only_its_digest_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "tokens.yaml"
    runner = CliRunner()
    made = [runner.invoke(app, ["token", name, "-f", str(file)]) for name in ("a", "b")]
    assert [result.exit_code for result in made] == [0, 0]
    secrets = [result.stdout.strip() for result in made]
    assert file.stat().st_mode & 0o077 == 0
    assert not any(secret in file.read_text() for secret in secrets)
    tokens = TokenStore(str(file))
    assert [getattr(tokens.find(secret), "name", None) for secret in secrets] == ["a", "b"]
    assert tokens.find("medspan_other") is None
    twice = runner.invoke(app, ["token", "a", "-f", str(file)])
    assert twice.exit_code != 0
    assert len(yaml.safe_load(file.read_text())["tokens"]) == 2


@pytest.mark.parametrize(
    ("host", "fine"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("h", False)],
)
def test_beyond_loopback_tokens_are_needed(tmp_path: Path, host: str, fine: bool) -> None:
    catalogue = catalogue_of(load_pipeline(_pipeline(tmp_path, "{}")))
    if fine:
        check_host(host, catalogue)
    else:
        with pytest.raises(ConfigError, match=r"serve\.tokens"):
            check_host(host, catalogue)
    guarded = catalogue_of(load_pipeline(_pipeline(tmp_path, "{tokens: t.yaml}")))
    check_host(host, guarded)


@pytest.mark.parametrize(
    ("args", "message"),
    [({}, "serve.tokens is required"), ({"opne": True}, "opne: unknown key")],
)
def test_a_cluster_needs_tokens_or_a_word(
    tmp_path: Path, args: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        application({"config": str(_pipeline(tmp_path, "{}"))} | args)


def test_the_file_for_serve_deploy_fits_what_it_names() -> None:
    from ray.serve.schema import ServeDeploySchema

    content = yaml.safe_load((ROOT / "configs/deploy/serve.yaml").read_text())
    [deployed] = ServeDeploySchema.model_validate(content).applications
    assert deployed.import_path == f"{application.__module__}:{application.__name__}"
    BuildArgs.model_validate(deployed.args)
    front, *models = deployed.deployments
    assert front.name == "http"
    catalogue = catalogue_of(load_pipeline(ROOT / "configs/quickstart.yaml"))
    asked = front.user_config["limits"]
    assert limited(catalogue, front.user_config).serve.limits == ServeLimits(**asked)
    for model in models:
        assert model.name.startswith("model-")
        Settings(stall_timeout_s=1).changed(model.user_config)


def test_limits_of_a_serve_file_are_limits_and_wait_no_longer_than_what_waits_for_them() -> None:
    catalogue = catalogue_of(load_pipeline(ROOT / "configs/quickstart.yaml"))
    assert limited(catalogue, None).serve.limits == catalogue.serve.limits
    for asked, message in (
        ({"limits": {"max_deadline_s": 301}}, "can only be lowered"),
        ({"limits": {"docs": 3}}, "docs: unknown key"),
        ({"limit": {}}, "limit: unknown key"),
    ):
        with pytest.raises(ConfigError, match=message):
            limited(catalogue, asked)


class Rolled:
    """In the place of Serve: what it was to serve, and what it makes of it, one after the other."""

    def __init__(self, *outcomes: Exception | None) -> None:
        self.asked: list[str] = []
        self._outcomes = list(outcomes)

    def __call__(self, catalogue: Catalogue) -> None:
        self.asked.append(catalogue.default)
        outcome = self._outcomes.pop(0)
        if outcome is not None:
            raise outcome


@pytest.mark.parametrize(
    ("outcomes", "asked", "said", "served"),
    [
        ([None], ["pipe"], "reloaded", "pipe"),
        ([ConfigError("[no]")], ["pipe"], "not reloaded: [no]", "before"),
        (
            [RuntimeError("Traceback"), None],
            ["pipe", "before"],
            "not reloaded: a model failed to load",
            "before",
        ),
        (
            [RuntimeError("Traceback"), RuntimeError("Traceback")],
            ["pipe", "before"],
            "no longer loads either",
            "before",
        ),
    ],
)
def test_invalid_configuration_keeps_the_previous_application(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    outcomes: list[Exception | None],
    asked: list[str],
    said: str,
    served: str,
) -> None:
    """Weights that are missing are found only by a replica, which fails the update."""
    rolled = Rolled(*outcomes)
    monkeypatch.setattr("pipelines.serve.replicas.running.update", rolled)
    path = _pipeline(tmp_path, "{}")
    now = replace(catalogue_of(load_pipeline(path)), default="before")
    console = Console(file=StringIO(), width=200)
    found = _reloaded(path, now, console)
    assert (rolled.asked, found.default) == (asked, served)
    told = console.file.getvalue()  # type: ignore[attr-defined]
    assert said in told
    assert "Traceback" not in told
