"""Doing it again and again: the embedded scheduler, for those who have no other."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from types import FrameType

from croniter import CroniterBadCronError, croniter

from actors.config import ConfigError
from actors.weights import WeightsError
from pipelines.batch.run import RunFailedError
from pipelines.tables.folder import RunError

log = logging.getLogger(__name__)


def check_expression(expression: str) -> str:
    """The cron expression; raises ConfigError where it is none."""
    try:
        croniter(expression)
    except CroniterBadCronError as error:
        raise ConfigError(f"--cron {expression!r}: {error}") from None
    return expression


def run_on_schedule(
    expression: str,
    one_pass: Callable[[], None],
    stopped: threading.Event,
    now: Callable[[], datetime] = lambda: datetime.now().astimezone(),
) -> None:
    """Do ``one_pass`` at each time of a cron expression (local time), until ``stopped``.

    A pass that outlasts its interval makes the times that it covered pass by: passes never
    overlap, here or, by their lease, on other machines. A failed pass is logged and the next one
    tries again. An error of configuration ends it at the first pass alone: what was right then is
    wrong by what the lake holds now (a file that is still being written, a mount that is away), and
    the next pass may find it mended.
    """
    first = True
    while not stopped.is_set():
        due = croniter(expression, now()).get_next(datetime)
        log.info("next pass at %s", due.isoformat(timespec="seconds"))
        if stopped.wait(max((due - now()).total_seconds(), 0.0)):
            return
        try:
            one_pass()
        except (ConfigError, WeightsError, RunFailedError, RunError, OSError) as error:
            if first and isinstance(error, ConfigError | WeightsError):
                raise
            log.error("the pass failed: %s", error)
        first = False


@contextmanager
def stopping_on_sigterm() -> Iterator[threading.Event]:
    """An event that SIGTERM sets, as Kubernetes and systemd end a service: the pass under way is
    interrupted as by Ctrl-C, keeps what is done, and the next start goes on with it."""
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.set()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGTERM, before)
