"""Progress of a unit under way: reported by workers, and shown by the progress bar."""

from __future__ import annotations

import io
import pickle
import time
from collections import Counter
from typing import Any

import pytest
from rich.console import Console
from rich.progress import Progress

from pipelines.batch import pulse
from pipelines.batch.pulse import Pulse, _Counter, _NamedCounter
from pipelines.cli.run_display import Bar
from pipelines.runs.tally import Tally


class Remote:
    """A counter that is called as Ray's actors are."""

    def __init__(self) -> None:
        self.counter = _Counter()
        self.add = self
        self.started = True

    def __call__(self) -> Remote | None:
        return self if self.started else None

    def remote(self, steps: int, documents: dict[tuple[str, int], int]) -> None:
        self.counter.add(steps, documents)


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> Remote:
    monkeypatch.setattr(pulse, "_EVERY_S", 0.0)
    return Remote()


def test_steps_and_documents_of_all_stages_are_counted_until_their_unit_ends(
    remote: Remote,
) -> None:
    first, second = Pulse(remote).of(0), Pulse(remote).of(1)
    for _ in range(3):
        first()
        first.finish_document("u1")
    second.finish_document("u1")
    second.finish_document("u2")
    assert remote.counter.count(()) == (3, {("u1", 0): 3, ("u1", 1): 1, ("u2", 1): 1})
    assert remote.counter.count({"u1"}) == (3, {("u2", 1): 1})


def test_a_unit_that_begins_again_elsewhere_is_counted_from_the_first(remote: Remote) -> None:
    died, other = Pulse(remote), Pulse(remote)
    for _ in range(5):
        died.finish_document("u1")
    other.finish_document("u1")
    assert remote.counter.count(())[1] == {("u1", 0): 1}


def test_reports_are_rare_and_the_last_one_of_a_unit_is_not_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pulse, "_EVERY_S", 1e9)
    remote = Remote()
    made = Pulse(remote)
    made._last = 1e9  # a report was made a moment ago
    for _ in range(100):
        made()
        made.finish_document("u1")
    assert remote.counter.count(()) == (0, {})
    made.end_unit("u1")
    assert remote.counter.count(()) == (100, {("u1", 0): 100})


def test_nothing_is_lost_before_the_counter_has_started(remote: Remote) -> None:
    remote.started = False
    made = Pulse(remote)
    for _ in range(3):
        made()
        made.finish_document("u1")
    assert remote.counter.count(()) == (0, {})
    remote.started = True
    made()
    assert remote.counter.count(()) == (4, {("u1", 0): 3})


def test_a_pulse_survives_pickling() -> None:
    made: Any = pickle.loads(pickle.dumps(Pulse(_NamedCounter("pulse"), 3)))
    assert made._stage == 3
    assert made._counter._name == "pulse"


def test_the_bar_moves_within_a_unit_and_never_back() -> None:
    with Progress(console=Console(file=io.StringIO())) as progress:
        bar = Bar(progress)
        (task,) = progress.tasks
        bar.update(Tally(), 600)
        bar.working(99.5, 1_200)
        assert task.completed == 99.5
        assert task.fields["work"] == ", 1,200 steps"
        bar.working(40.0, 1_300)  # a worker crashed, and its unit begins again
        assert task.completed == 99.5
        bar.update(Tally(documents=Counter(ok=301)), 600)
        bar.working(1_000.0, 1_400)
        assert task.completed == 600


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The process's CPU seconds: the first number is added to the second each time it is asked."""
    clock = [0.01, 0.0]

    def process_time() -> float:
        clock[1] += clock[0]
        return clock[1]

    monkeypatch.setattr(pulse, "_EVERY_S", 0.02)
    monkeypatch.setattr(time, "process_time", process_time)
    return clock


def test_work_after_the_last_window_is_progress_and_waiting_is_not(
    remote: Remote, cpu: list[float]
) -> None:
    made = Pulse(remote)
    with made.while_busy(1_000_000):
        time.sleep(0.5)
    busy = made._steps + remote.counter.count(())[0]
    assert busy > 0

    cpu[0] = 0.0
    with made.while_busy(1_000_000):
        time.sleep(0.5)
    assert made._steps + remote.counter.count(())[0] == busy


def test_a_loop_without_end_uses_up_what_its_unit_may_take(
    remote: Remote, cpu: list[float]
) -> None:
    cpu[0] = 0.0625
    made = Pulse(remote)
    with made.while_busy(2_000):  # 0.24 s of CPU time
        until = time.monotonic() + 30
        while made._steps + remote.counter.count(())[0] < 4 and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.5)
    assert made._steps + remote.counter.count(())[0] == 4
