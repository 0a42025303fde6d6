"""Run batches concurrently, isolating failures to single members."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from typing import TypeVar

from actors.onnx.session import is_fatal
from actors.spans import Failure

W = TypeVar("W")
R = TypeVar("R")


def run_batches(
    batches: Sequence[Sequence[W]],
    read: Callable[[Sequence[W]], list[R]],
    runners: Executor,
    parallel: int,
    *,
    wanted: Callable[[W], bool],
    go_on: Callable[[], bool],
) -> Iterator[list[R]]:
    """Yield the result of ``read`` for each batch, in order, running ``parallel`` at a time.

    Members that are no longer ``wanted`` when their batch starts are skipped. Once ``go_on``
    returns False, no new batch starts; each thread runs at least one batch.
    """
    running: list[Future[list[R]]] = []
    try:
        for number, batch in enumerate(batches):
            if len(running) > parallel:
                yield running.pop(0).result()
            if number >= parallel and not go_on():
                break
            # Checked late: a round of windows of long documents takes minutes.
            if left := [one for one in batch if wanted(one)]:
                running.append(runners.submit(read, left))
        while running:
            yield running.pop(0).result()
    finally:
        for waiting in running:
            waiting.cancel()


def alone_where_it_fails(
    batch: Sequence[W],
    read: Callable[[Sequence[W]], list[R]],
    failed: Callable[[W, Failure], R],
) -> list[R]:
    """Return ``read(batch)``; if that fails, read the members one by one.

    Raises only if the model is lost to this process.
    """
    try:
        return read(batch)
    except Exception as error:
        if is_fatal(error):
            raise
        if len(batch) > 1:
            return [out for one in batch for out in alone_where_it_fails([one], read, failed)]
        # onnxruntime's messages contain nodes and shapes, never text
        return [failed(batch[0], Failure(type(error).__name__, str(error)[:300]))]
