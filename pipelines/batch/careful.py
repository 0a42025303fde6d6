"""Documents to a model, and back, so that one which ends its process is found and set aside."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

from actors.spans import Document, Moved, unheard
from pipelines.batch.gate import Gate
from pipelines.batch.hunt import Hunt
from pipelines.tables.folder import Folder
from pipelines.worker.events import say

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Attempts:
    """Where a step's attempts at the units of a run are recorded: ``key`` tells its files from
    those of other steps, ``step`` is its name for people."""

    sink: str
    run_id: str
    key: str
    step: str
    most_tries: int


class Careful(Generic[_T]):
    """A model's ``submit`` for the documents of units, with their attempts recorded."""

    def __init__(
        self,
        attempts: Attempts,
        submit: Callable[[Document], Future[_T]],
        moved: Moved = unheard,
    ) -> None:
        """``moved`` is called when a document is done."""
        self._moved = moved
        self._attempts = attempts
        self._submit = submit
        self._folder = Folder(attempts.sink)
        self._gate = Gate()

    async def give(self, unit: str, documents: Sequence[Document]) -> list[_T | None]:
        """What the model says of a unit's documents, in their order; None for one that ended its
        process ``most_tries`` times while it was alone in it.

        Before the model sees them it is written down that it does, so that a process which dies of
        them leaves a trace; see ``pipelines.batch.hunt``.
        """
        if not documents:
            return []
        work = self._attempts
        name = f"_runs/{work.run_id}/attempts/{unit}.{work.key}.json"
        content = await asyncio.to_thread(self._folder.read, name)
        hunt = Hunt.from_json(content) if content else Hunt.of(len(documents))
        hunt.begin(work.most_tries)
        found: list[_T | None] = [None] * len(documents)
        if not hunt.hunting:
            async with self._gate.shared():
                await asyncio.to_thread(self._folder.write, name, hunt.as_json())
                found[:] = await self._together(unit, documents)
                return found
        say(
            "a unit that its process died of is tried in groups",
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
                say(
                    "a document was set aside",
                    logging.ERROR,
                    run=work.run_id,
                    document=document.id,
                    step=work.step,
                )
        return found

    async def _together(self, unit: str, documents: Sequence[Document]) -> list[_T]:
        futures = [self._submit(document) for document in documents]
        for future in futures:
            future.add_done_callback(lambda _: self._moved())
        try:
            return [await asyncio.wrap_future(future) for future in futures]
        except Exception as error:
            # A document's failure is data: what comes here is a lost model. Ending the process
            # makes Ray start another and give it this unit.
            say(
                "model lost",
                logging.CRITICAL,
                run=self._attempts.run_id,
                unit=unit,
                step=self._attempts.step,
                error_type=type(error).__name__,
            )
            os._exit(1)


def poison(most_tries: int) -> str:
    """Why a document was set aside, for its row."""
    return f"ended its process {most_tries} times while it was alone in it"
