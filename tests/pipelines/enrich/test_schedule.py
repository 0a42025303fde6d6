"""The embedded scheduler: on time, never twice at a time, not stopped by a failure."""

from __future__ import annotations

import os
import signal
import threading
from datetime import UTC, datetime, timedelta

import pytest

from actors.config import ConfigError
from pipelines.batch.run import RunFailedError
from pipelines.enrich.schedule import check_expression, run_on_schedule, stopping_on_sigterm
from pipelines.runs.lease import LeaseHeldError


class Clock:
    """Time that passes only while somebody waits or works."""

    def __init__(self) -> None:
        self.time = datetime(2026, 3, 1, 11, 58, 30, tzinfo=UTC)
        self.passes: list[datetime] = []
        self.stopped = threading.Event()
        self.wait, self.stopped.wait = self.stopped.wait, self._wait  # type: ignore[method-assign]

    def _wait(self, timeout: float | None = None) -> bool:
        self.time += timedelta(seconds=timeout or 0)
        return self.stopped.is_set()

    def one_pass(self) -> None:
        self.passes.append(self.time)
        self.time += timedelta(minutes=40 if len(self.passes) == 2 else 1)
        if len(self.passes) == 3:
            raise RunFailedError("r1", "the store is away")
        if len(self.passes) == 4:
            raise LeaseHeldError("somebody else is at it")
        if len(self.passes) == 5:
            raise ConfigError("a.parquet: cannot be read as parquet")
        if len(self.passes) == 6:
            self.stopped.set()


def test_passes_are_on_time_and_a_long_one_makes_others_pass_by() -> None:
    clock = Clock()
    run_on_schedule("*/15 * * * *", clock.one_pass, clock.stopped, lambda: clock.time)
    assert [f"{time:%H:%M}" for time in clock.passes] == [
        "12:00",
        "12:15",
        "13:00",
        "13:15",
        "13:30",
        "13:45",
    ]


def test_schedule_reports_invalid_configuration_immediately() -> None:
    clock = Clock()

    def one_pass() -> None:
        clock.one_pass()
        raise ConfigError("source.path: there is nothing at s3://lake/in")

    with pytest.raises(ConfigError, match="nothing at"):
        run_on_schedule("*/15 * * * *", one_pass, clock.stopped, lambda: clock.time)
    assert len(clock.passes) == 1


def test_a_wrong_expression_is_refused() -> None:
    assert check_expression("*/15 * * * *")
    with pytest.raises(ConfigError, match="--cron 'every day'"):
        check_expression("every day")


def test_sigterm_ends_it_as_ctrl_c_does() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stopping_on_sigterm() as stopped:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        assert stopped.is_set()
    assert signal.getsignal(signal.SIGTERM) is before
