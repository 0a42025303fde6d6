"""Documents of equal content get one answer: copied-forward notes and forms are common in a lake.

A model answers the first of them; the others get a copy, while it is being answered and as long as
it is remembered. An actor remembers on its own, so documents that reach two actors are answered
twice, with the same result.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import TypeGuard

from cachetools import LRUCache

from actors.futures import settle
from actors.spans import Document, Extraction, Status, Usage

_MEMORY = 32 * 1024 * 1024
"""Bytes of answers that are remembered, by the estimate of ``_size``."""

Submit = Callable[[Document], "Future[Extraction]"]


@dataclass(slots=True)
class _Waiting:
    """A document waiting for the answer to another one with the same content."""

    document_id: str
    future: Future[Extraction] = field(default_factory=Future)


class Copies:
    """Wraps a model's ``submit`` so that equal content is answered once. Thread-safe."""

    def __init__(self, submit: Submit) -> None:
        self._submit = submit
        self._lock = Lock()
        self._waiting: dict[bytes, list[_Waiting]] = {}
        self._answers: LRUCache[bytes, Extraction] = LRUCache(_MEMORY, getsizeof=_size)

    def submit(self, document: Document) -> Future[Extraction]:
        """Like the model's ``submit``. A copy has no usage and is marked as one."""
        content = document.content_digest()
        with self._lock:
            answer = self._answers.get(content)
            if answer is not None:
                future: Future[Extraction] = Future()
                settle(future, _copy(answer, document.id))
                return future
            waiting = self._waiting.get(content)
            if waiting is not None:
                waiting.append(_Waiting(document.id))
                return waiting[-1].future
            self._waiting[content] = []
        try:
            future = self._submit(document)
        except BaseException as error:
            self._hand_out(content, error)
            raise
        future.add_done_callback(lambda done: self._hand_out(content, _outcome(done)))
        return future

    def _hand_out(self, content: bytes, outcome: Extraction | BaseException) -> None:
        with self._lock:
            waiting = self._waiting.pop(content)
            # A failure may be one of the moment: whoever asks later is answered anew.
            if _worth_keeping(outcome) and _size(outcome) <= self._answers.maxsize:
                self._answers[content] = outcome
        for one in waiting:
            if isinstance(outcome, Extraction):
                settle(one.future, _copy(outcome, one.document_id))
            else:
                settle(one.future, outcome)


def _worth_keeping(outcome: Extraction | BaseException) -> TypeGuard[Extraction]:
    return isinstance(outcome, Extraction) and outcome.status is not Status.FAILED


def _outcome(done: Future[Extraction]) -> Extraction | BaseException:
    return CancelledError() if done.cancelled() else done.exception() or done.result()


def _copy(answer: Extraction, document_id: str) -> Extraction:
    return replace(answer, document_id=document_id, usage=Usage(), copied=True)


def _size(answer: Extraction) -> int:
    """Estimate of an answer's bytes in memory: an entity takes about 500."""
    texts = (answer.completion, answer.reasoning, answer.structured)
    return 500 * (1 + len(answer.entities)) + 4 * sum(len(text) for text in texts if text)
