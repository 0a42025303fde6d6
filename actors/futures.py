"""Settling futures: each gets one outcome, unless it was cancelled before."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TypeVar

_T = TypeVar("_T")


def settle(future: Future[_T], outcome: _T | BaseException) -> bool:
    """Give a future its result or its exception; False where it was cancelled or is settled.

    One thread settles a future. From the first call on it can no longer be cancelled.
    """
    if future.done() or not future.set_running_or_notify_cancel():
        return False
    if isinstance(outcome, BaseException):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
    return True
