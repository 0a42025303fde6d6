"""The beginnings that requests share: each computed once, kept in a sequence of its own.

An entry is made by the first request that brings a new prefix: when that request has computed the
prefix in its own slot, the state is copied to the entry's sequence, and from there to every later
request. The least recently used entry that nobody reads makes room.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from actors.engine.runner import Runner

Key = tuple[int, ...]


@dataclass(slots=True, eq=False)
class Entry:
    """One shared beginning. ``tokens``: what its sequence holds, once ``ready``."""

    tokens: list[int]
    sequence: int
    ready: bool = False
    users: int = 0


class Prefixes:
    """Least-recently-used store of prefixes over the runner's spare sequence ids."""

    def __init__(self, runner: Runner, sequences: list[int]) -> None:
        self._runner = runner
        self._free = list(sequences)
        self._entries: OrderedDict[Key, Entry] = OrderedDict()

    @property
    def held(self) -> int:
        """Tokens that the entries take of a common room."""
        return sum(len(entry.tokens) for entry in self._entries.values())

    def find(self, prefix: Key) -> Entry | None:
        """The entry of this prefix, now the most recently used; also one not ready yet."""
        entry = self._entries.get(prefix)
        if entry is not None:
            self._entries.move_to_end(prefix)
        return entry

    def create(self, prefix: Key, prompt: list[int]) -> Entry | None:
        """A new entry for the part of ``prefix`` that is the beginning of ``prompt``; None where
        all sequences are in use."""
        # One prompt token must be left to compute: its logits start the output.
        tokens = prompt[: min(len(prefix), len(prompt) - 1)]
        if not tokens or (not self._free and not self.evict()):
            return None
        entry = self._entries[prefix] = Entry(tokens, self._free.pop())
        return entry

    def fill(self, entry: Entry, slot: int) -> None:
        """Take the entry's state from a slot that has computed it."""
        self._runner.copy(slot, entry.sequence, len(entry.tokens))
        entry.ready = True

    def evict(self) -> bool:
        """Drop the least recently used entry that nobody uses; False where there is none."""
        for prefix, entry in self._entries.items():
            if entry.users == 0:
                self._drop(prefix, entry)
                return True
        return False

    def release(self, entry: Entry) -> None:
        """One user less; an entry whose maker went away before it was ready is dropped."""
        entry.users -= 1
        if not entry.ready and entry.users == 0:
            prefix = next(key for key, value in self._entries.items() if value is entry)
            self._drop(prefix, entry)

    def _drop(self, prefix: Key, entry: Entry) -> None:
        del self._entries[prefix]
        self._runner.trim(entry.sequence, 0)
        self._free.append(entry.sequence)
