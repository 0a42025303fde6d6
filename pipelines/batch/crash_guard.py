"""Submit units to a model and journal each attempt, so that a document that crashes its worker can
be found and quarantined."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

from actors.spans import Document
from pipelines.batch.bisection import CrashBisection
from pipelines.batch.pulse import Pulse
from pipelines.batch.shared_gate import SharedGate
from pipelines.tables.folder import SinkFolder
from pipelines.worker.events import log_event

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Attempts:
    """The journal of a stage's attempts at the units of a run. ``key`` distinguishes its files from
    those of other stages; ``step`` is the stage's display name."""

    sink: str
    run_id: str
    key: str
    step: str
    max_attempts: int


class CrashGuard(Generic[_T]):
    """Wraps a model's ``submit`` and journals the attempts at each unit."""

    def __init__(
        self,
        attempts: Attempts,
        submit: Callable[[Document], Future[_T]],
        pulse: Pulse,
    ) -> None:
        """``pulse`` is called for every finished document."""
        self._pulse = pulse
        self._attempts = attempts
        self._submit = submit
        self._folder = SinkFolder(attempts.sink)
        self._gate = SharedGate()

    async def submit_unit(self, unit: str, documents: Sequence[Document]) -> list[_T | None]:
        """Process a unit's documents. Results are in their order; None for a document that crashed
        the worker ``max_attempts`` times when processed alone.

        The attempt is journaled before the model gets the documents, so that a crash leaves a
        trace; see ``pipelines.batch.bisection``.
        """
        try:
            return await self._submit_unit(unit, documents)
        finally:
            self._pulse.end_unit(unit)

    async def _submit_unit(self, unit: str, documents: Sequence[Document]) -> list[_T | None]:
        if not documents:
            return []
        work = self._attempts
        name = f"_runs/{work.run_id}/attempts/{unit}.{work.key}.json"
        content = await asyncio.to_thread(self._folder.read, name)
        hunt = CrashBisection.from_json(content) if content else CrashBisection.of(len(documents))
        hunt.begin(work.max_attempts)
        found: list[_T | None] = [None] * len(documents)
        if not hunt.bisecting:
            async with self._gate.shared():
                await asyncio.to_thread(self._folder.write, name, hunt.as_json())
                found[:] = await self._together(unit, documents)
                return found
        log_event(
            "unit crashed its worker; retrying in smaller groups",
            logging.WARNING,
            run=work.run_id,
            unit=unit,
            step=work.step,
            groups=len(hunt.groups),
        )
        async with self._gate.exclusive():
            for low, high in hunt.order():
                hunt.running = (low, high)
                await asyncio.to_thread(self._folder.write, name, hunt.as_json())
                found[low:high] = await self._together(unit, documents[low:high])
            hunt.running = None
            await asyncio.to_thread(self._folder.write, name, hunt.as_json())
        for document, one in zip(documents, found, strict=True):
            if one is None:
                log_event(
                    "document quarantined",
                    logging.ERROR,
                    run=work.run_id,
                    document=document.id,
                    step=work.step,
                )
        return found

    async def _together(self, unit: str, documents: Sequence[Document]) -> list[_T]:
        futures = [self._submit(document) for document in documents]
        for future in futures:
            future.add_done_callback(lambda _: self._pulse.finish_document(unit))
        try:
            return [await asyncio.wrap_future(future) for future in futures]
        except Exception as error:
            # A document's failure is returned as data, so an exception is a lost model. Exiting
            # makes Ray start a new actor and retry this unit there.
            log_event(
                "model lost",
                logging.CRITICAL,
                run=self._attempts.run_id,
                unit=unit,
                step=self._attempts.step,
                error_type=type(error).__name__,
            )
            os._exit(1)


def poison(max_attempts: int) -> str:
    """The failure message of a quarantined document."""
    return f"crashed the worker {max_attempts} times when processed alone"
