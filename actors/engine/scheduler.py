"""Admission and step scheduling. Deals in slots and KV-cache tokens, not in models.

Admission is first come, first served. It reserves every token that a request may come to hold, so
the KV cache never runs out midway. A step holds one block of every decoding sequence and fills up
with prompt chunks, oldest first. Neither starves: the chunk size bounds prefill, and decoding is
never skipped for it.

If each sequence has its own KV cache (``Runner.capacity`` None), every distinct block length in a
step is a separate computation that reads all weights again. A run of forced tokens is then computed
as one block only if that is cheaper than one token per step alongside the others: if it is at least
as long as the number of sequences that share the step.
"""

from __future__ import annotations

import heapq
from collections import deque

from actors.engine.prefixes import Prefixes, SharedPrefix
from actors.engine.runner import Block, Runner
from actors.engine.sequence import SequenceState, Techniques


class Scheduler:
    """Waiting and active requests over the runner's sequence ids."""

    def __init__(self, runner: Runner, slots: int, techniques: Techniques) -> None:
        """Use ``slots`` sequences for decoding; the runner's other ids hold prefixes."""
        if not 1 <= slots <= runner.sequences:
            raise ValueError(f"{slots} slots need more than {runner.sequences} sequences")
        self.waiting: deque[SequenceState] = deque()
        self.active: list[SequenceState] = []
        self.prefixes = Prefixes(runner, list(range(slots, runner.sequences)))
        self._runner = runner
        self._techniques = techniques
        self._free = list(range(slots))  # a heap: low ids first, so used ids have no gaps
        self._reserved = 0
        self._steps = 0

    def admit(self) -> None:
        """Admit waiting requests in order. A request waiting for a prefix lets later ones overtake
        it; one waiting for KV space does not, so large requests cannot starve."""
        held_back: list[SequenceState] = []
        while self.waiting and self._free:
            state = self.waiting.popleft()
            entry = self._entry(state)
            if entry is not None and entry.users and not entry.ready:
                held_back.append(state)
                continue
            if not self._start(state, entry):
                self.waiting.appendleft(state)
                break
        self.waiting.extendleft(reversed(held_back))

    def _entry(self, state: SequenceState) -> SharedPrefix | None:
        prefix = state.request.prefix
        if not prefix or not self._techniques.share:
            return None
        return self.prefixes.find(prefix) or self.prefixes.create(prefix, state.tokens)

    def _start(self, state: SequenceState, entry: SharedPrefix | None) -> bool:
        """Reserve KV space and take a slot; return False if other requests must finish first."""
        shared = 0
        if entry is not None:
            entry.users += 1  # before eviction: the request must not evict its own prefix
            shared = min(len(entry.tokens), state.prompt_length - 1) if entry.ready else 0
        if not self._reserve_space(state.max_kv_tokens - shared):
            if entry is not None:
                self.prefixes.release(entry)
            if self.active:
                return False
            # No other request is active: every request fits an empty model, if need be without its
            # prefix.
            entry, shared = None, 0
            self._reserve_space(state.max_kv_tokens)
        state.entry, state.reserved = entry, state.max_kv_tokens - shared
        self._reserved += state.reserved
        slot = heapq.heappop(self._free)
        if entry is not None and shared:
            self._runner.copy(entry.sequence, slot, shared)
        state.admit(slot, shared)
        self.active.append(state)
        return True

    def _reserve_space(self, space: int) -> bool:
        """Evict idle prefixes until ``space`` more tokens fit; return False if they do not."""
        capacity = self._runner.capacity
        if capacity is None:
            return True
        while self._reserved + self.prefixes.held + space > capacity:
            if not self.prefixes.evict():
                return False
        return True

    def schedule(self) -> list[tuple[SequenceState, Block]]:
        """Choose the blocks of the next step, at most ``runner.batch`` tokens."""
        self._steps += 1
        own_caches = self._runner.capacity is None
        space = self._runner.batch
        chosen: list[tuple[SequenceState, Block]] = []
        # Least recently served first: with more tokens than a batch holds, all take turns.
        order = sorted(self.active, key=lambda state: (not state.decoding, state.stepped))
        decoding = sum(state.decoding for state in order)
        prompts = min(self._techniques.chunk, space)
        # A quarter of the batch is reserved for prefill, however many tokens are decoding.
        reserved_for_prefill = min(prompts, space // 4) if order and not order[-1].decoding else 0
        for state in order:
            if not state.decoding:
                limit = min(space, prompts)
                if own_caches:
                    limit = max(limit, min(space, 1))  # keeps sequence ids contiguous
            elif own_caches and 1 < state.pending < decoding:
                limit = min(space - reserved_for_prefill, 1)
            else:
                limit = space - reserved_for_prefill
            if limit <= 0:
                continue
            block = state.block(limit)
            space -= len(block.tokens)
            if state.decoding:
                state.stepped = self._steps
            else:  # prompts stay in order of admission: the oldest finishes first
                prompts -= len(block.tokens)
            chosen.append((state, block))
        chosen.sort(key=lambda pair: pair[1].sequence)
        return chosen

    def drop_cancelled(self) -> None:
        """Drop waiting and active requests whose future was cancelled."""
        for state in [s for s in self.active if s.future.cancelled()]:
            self.retire(state)
        if any(state.future.cancelled() for state in self.waiting):
            self.waiting = deque(s for s in self.waiting if not s.future.cancelled())

    def retire(self, state: SequenceState) -> None:
        """Free the slot of a request that has ended, for whatever reason."""
        self.active.remove(state)
        self._runner.trim(state.slot, 0)
        heapq.heappush(self._free, state.slot)
        self._reserved -= state.reserved
        if state.entry is not None:
            self.prefixes.release(state.entry)
            state.entry = None
