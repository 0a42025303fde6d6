"""Who is admitted, and which tokens go into the next step. Knows slots and room, no model.

Admission is first come, first served, and reserves every token that a request may come to hold,
so the model never runs out of room halfway. A step holds one block of every decoding sequence and
fills up with prompt chunks, oldest first: neither starves, since the chunk bounds what prompts
may take and decoding is never left out for them.

Where each sequence has its own room (``Runner.capacity`` None), every length of block in a step is
a computation of its own, which reads all the weights again. So there a run of forced tokens goes
in as a block only where that is cheaper than one token a step beside the others: where it is as
long as there are sequences to share a step with.
"""

from __future__ import annotations

import heapq
from collections import deque

from actors.engine.prefixes import Entry, Prefixes
from actors.engine.runner import Block, Runner
from actors.engine.sequence import SequenceState, Techniques


class Scheduler:
    """Waiting and active requests over the runner's sequence ids."""

    def __init__(self, runner: Runner, slots: int, techniques: Techniques) -> None:
        """``slots`` sequences decode at a time; the runner's other ids hold prefixes."""
        if not 1 <= slots <= runner.sequences:
            raise ValueError(f"{slots} slots do not fit {runner.sequences} sequences")
        self.waiting: deque[SequenceState] = deque()
        self.active: list[SequenceState] = []
        self.prefixes = Prefixes(runner, list(range(slots, runner.sequences)))
        self._runner = runner
        self._techniques = techniques
        self._free = list(range(slots))  # a heap: low ids first, so that those in use have no gaps
        self._reserved = 0
        self._steps = 0

    def admit(self) -> None:
        """Give slots to those who wait, in order. Who waits for a prefix that is being computed
        lets others pass; who waits for room does not, or the largest would wait for ever."""
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

    def _entry(self, state: SequenceState) -> Entry | None:
        prefix = state.request.prefix
        if not prefix or not self._techniques.share:
            return None
        return self.prefixes.find(prefix) or self.prefixes.create(prefix, state.tokens)

    def _start(self, state: SequenceState, entry: Entry | None) -> bool:
        """Reserve room and take a slot; False where others must end first."""
        shared = 0
        if entry is not None:
            entry.users += 1  # before room is made: it must not be evicted for its own user
            shared = min(len(entry.tokens), state.prompt_length - 1) if entry.ready else 0
        if not self._make_room(state.room - shared):
            if entry is not None:
                self.prefixes.release(entry)
            if self.active:
                return False
            # Nobody else is here: every request fits an empty model, without its prefix if need be.
            entry, shared = None, 0
            self._make_room(state.room)
        state.entry, state.reserved = entry, state.room - shared
        self._reserved += state.reserved
        slot = heapq.heappop(self._free)
        if entry is not None and shared:
            self._runner.copy(entry.sequence, slot, shared)
        state.admit(slot, shared)
        self.active.append(state)
        return True

    def _make_room(self, room: int) -> bool:
        """Evict idle prefixes until ``room`` more tokens fit; False where they do not."""
        capacity = self._runner.capacity
        if capacity is None:
            return True
        while self._reserved + self.prefixes.held + room > capacity:
            if not self.prefixes.evict():
                return False
        return True

    def schedule(self) -> list[tuple[SequenceState, Block]]:
        """The blocks of the next step, at most ``runner.batch`` tokens."""
        self._steps += 1
        own_rooms = self._runner.capacity is None
        room = self._runner.batch
        chosen: list[tuple[SequenceState, Block]] = []
        # Who was served longest ago comes first: with more tokens than a batch all take turns.
        order = sorted(self.active, key=lambda state: (not state.decoding, state.stepped))
        beside = sum(state.decoding for state in order)
        prompts = min(self._techniques.chunk, room)
        # A quarter of the batch is kept for prompts, however many tokens the decoding ones have.
        kept = min(prompts, room // 4) if order and not order[-1].decoding else 0
        for state in order:
            if not state.decoding:
                limit = min(room, prompts)
                if own_rooms:
                    limit = max(limit, min(room, 1))  # leaves no gap
            elif own_rooms and 1 < state.pending < beside:
                limit = min(room - kept, 1)
            else:
                limit = room - kept
            if limit <= 0:
                continue
            block = state.block(limit)
            room -= len(block.tokens)
            if state.decoding:
                state.stepped = self._steps
            else:  # prompts keep their order of admission: the oldest is finished first
                prompts -= len(block.tokens)
            chosen.append((state, block))
        chosen.sort(key=lambda pair: pair[1].sequence)
        return chosen

    def drop_cancelled(self) -> None:
        """Forget those whose future was cancelled, waiting or active."""
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
