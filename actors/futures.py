"""Settle futures: each gets exactly one outcome, unless it was cancelled first."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TypeVar

_T = TypeVar("_T")


def settle(future: Future[_T], outcome: _T | BaseException) -> bool:
    """Set a future's result or exception; return False if it is cancelled or already done.

    Only one thread may settle a given future. It can no longer be cancelled once this is called.
    """
    if future.done() or not future.set_running_or_notify_cancel():
        return False
    if isinstance(outcome, BaseException):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
    return True
