"""Shared-prefix cache: each prefix is computed once and kept in its own KV-cache sequence.

The first request with a new prefix creates the entry. Once that request has computed the prefix in
its own slot, the state is copied to the entry's sequence, and from there to every later request.
The least recently used idle entry is evicted first.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from actors.engine.runner import Runner

PrefixKey = tuple[int, ...]


@dataclass(slots=True, eq=False)
class SharedPrefix:
    """One shared prefix. ``tokens`` is what its sequence holds once ``ready``."""

    tokens: list[int]
    sequence: int
    ready: bool = False
    users: int = 0


class Prefixes:
    """LRU cache of prefixes over the runner's spare sequence ids."""

    def __init__(self, runner: Runner, sequences: list[int]) -> None:
        self._runner = runner
        self._free = list(sequences)
        self._entries: OrderedDict[PrefixKey, SharedPrefix] = OrderedDict()

    @property
    def held(self) -> int:
        """KV-cache tokens that the entries occupy in a unified cache."""
        return sum(len(entry.tokens) for entry in self._entries.values())

    def find(self, prefix: PrefixKey) -> SharedPrefix | None:
        """Return the entry of this prefix, ready or not, and mark it as most recently used."""
        entry = self._entries.get(prefix)
        if entry is not None:
            self._entries.move_to_end(prefix)
        return entry

    def create(self, prefix: PrefixKey, prompt: list[int]) -> SharedPrefix | None:
        """Create an entry for the part of ``prefix`` that ``prompt`` starts with; None if all
        sequences are in use."""
        # At least one prompt token must remain to compute: its logits start the output.
        tokens = prompt[: min(len(prefix), len(prompt) - 1)]
        if not tokens or (not self._free and not self.evict()):
            return None
        entry = self._entries[prefix] = SharedPrefix(tokens, self._free.pop())
        return entry

    def fill(self, entry: SharedPrefix, slot: int) -> None:
        """Copy the prefix's state from a slot that has computed it."""
        self._runner.copy(slot, entry.sequence, len(entry.tokens))
        entry.ready = True

    def evict(self) -> bool:
        """Evict the least recently used idle entry; return False if there is none."""
        for prefix, entry in self._entries.items():
            if entry.users == 0:
                self._drop(prefix, entry)
                return True
        return False

    def release(self, entry: SharedPrefix) -> None:
        """Drop one user; remove the entry if its creator is gone before it was ready."""
        entry.users -= 1
        if not entry.ready and entry.users == 0:
            prefix = next(key for key, value in self._entries.items() if value is entry)
            self._drop(prefix, entry)

    def _drop(self, prefix: PrefixKey, entry: SharedPrefix) -> None:
        del self._entries[prefix]
        self._runner.trim(entry.sequence, 0)
        self._free.append(entry.sequence)
