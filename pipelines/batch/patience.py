"""Waiting for rows that may never come, and saying so in the end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import Empty, Queue
from typing import Any

from ray.data import Dataset


class StalledError(RuntimeError):
    """Nothing happened for too long."""


def patiently(dataset: Dataset, most_seconds: float) -> Iterator[dict[str, Any]]:
    """The rows of a dataset as they come. Raises StalledError when none comes for so long: Ray
    itself waits for ever for an actor that cannot be placed or dies again and again."""
    rows: Queue[dict[str, Any] | BaseException | None] = Queue()
    ended = threading.Event()

    def pull() -> None:
        try:
            for row in dataset.iter_rows():
                rows.put(row)
                if ended.is_set():
                    return  # closes the iterator, and with it Ray's execution
            rows.put(None)
        except BaseException as error:
            rows.put(error)

    threading.Thread(target=pull, name="rows", daemon=True).start()
    try:
        while True:
            try:
                row = rows.get(timeout=most_seconds)
            except Empty:
                raise StalledError(
                    f"no unit was done for {most_seconds / 60:g} minutes; is every actor of the "
                    "cluster alive, and can it load its model?"
                ) from None
            if row is None:
                return
            if isinstance(row, BaseException):
                raise row
            yield row
    finally:
        ended.set()
