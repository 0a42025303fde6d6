"""A scripted model for the engine's tests: it checks the state that it is given, and records."""

from __future__ import annotations

import random
import threading
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llguidance import LLTokenizer, TokenizerWrapper

from actors.engine import Block, Logits, Request

END = 256
Script = Callable[[list[int]], int]


class _Bytes:
    """A vocabulary of the 256 bytes and an end token, as llguidance wants to see it."""

    eos_token_id = END
    bos_token_id = None
    special_token_ids = (END,)
    tokens = (*(bytes([i]) for i in range(256)), b"<end>")

    def __call__(self, text: bytes | str) -> list[int]:
        return list(text if isinstance(text, bytes) else text.encode())


TOKENIZER: Any = LLTokenizer(TokenizerWrapper(_Bytes()), slices=[])


class FakeRunner:
    """Tokens are bytes. The logits after a state are noise that depends on every token of it, so
    any mistake with slots, copies or trims changes the output; ``script`` raises one token."""

    def __init__(
        self,
        sequences: int = 6,
        context: int = 200,
        capacity: int | None = None,
        batch: int = 64,
        script: Script | None = None,
    ) -> None:
        self.sequences, self.batch = sequences, batch
        self.capacity = capacity
        self.context = min(context, capacity or context)
        self.pieces: Sequence[bytes] = (*(bytes([i]) for i in range(256)), b"")
        self.ends = frozenset({END})
        self.script = script
        self.state: list[list[int]] = [[] for _ in range(sequences)]
        self.steps: list[list[Block]] = []
        self.copies = 0
        self.closed = False
        self.fail_at: int | None = None
        self.gate = threading.Event()
        self.gate.set()

    def constraint_tokenizer(self) -> Any:
        return TOKENIZER

    def decode(self, blocks: Sequence[Block]) -> list[Logits]:
        self.gate.wait(20)
        if self.fail_at is not None and len(self.steps) >= self.fail_at:
            raise RuntimeError("llama_decode failed on text of a patient")
        assert blocks
        assert sum(len(block.tokens) for block in blocks) <= self.batch
        assert len({block.sequence for block in blocks}) == len(blocks)
        rows = []
        for block in blocks:
            state = self.state[block.sequence]
            assert block.tokens
            assert block.start == len(state), "a block must follow the state"
            for place, token in enumerate(block.tokens, start=1):
                state.append(token)
                if place > len(block.tokens) - block.rows:
                    row = self._logits(state)
                    rows.append(row if block.wanted is None else row[block.wanted])
            assert len(state) <= self.context
        self.steps.append(list(blocks))
        if self.capacity is not None:
            assert self.held() <= self.capacity, "no room for the KV cache"
        return rows

    def held(self) -> int:
        """Tokens held; what was copied counts once, as equal beginnings."""
        beginnings = {tuple(state[:n]) for state in self.state for n in range(1, len(state) + 1)}
        return len(beginnings)

    def _logits(self, state: list[int]) -> Logits:
        noise = np.random.default_rng(zlib.crc32(bytes(t % 256 for t in state)))
        row = noise.standard_normal(257).astype(np.float32)
        row[END] = -30.0  # only a script ends an output
        if self.script is not None:
            row[self.script(state)] = 30.0
        return row

    def copy(self, source: int, target: int, length: int) -> None:
        assert not self.state[target]
        assert length <= len(self.state[source])
        self.state[target] = self.state[source][:length]
        self.copies += 1

    def trim(self, sequence: int, length: int) -> None:
        assert length <= len(self.state[sequence]) or length == 0
        del self.state[sequence][length:]

    def close(self) -> None:
        self.closed = True


def echo(after: str, text: str) -> Script:
    """A script that prints ``text`` and the end once the prompt's last character was ``after``."""
    wanted, mark = text.encode(), ord(after)

    def script(state: list[int]) -> int:
        said = len(state) - 1 - max(i for i, token in enumerate(state) if token == mark)
        return wanted[said] if said < len(wanted) else END

    return script


def ask(prefix: str, suffix: str, **fields: Any) -> Request:
    """A request of the fake's byte tokens."""
    return Request(tuple(prefix.encode()), tuple(suffix.encode()), **fields)


def notes(count: int, seed: int = 0) -> list[str]:
    """Made-up documents of unequal length."""
    draw = random.Random(seed)
    words = ["aspirin", "fever", "cough", "10 mg", "daily", "pain", "left arm", "naïve"]
    return [" ".join(draw.choices(words, k=draw.randint(1, 9))) for _ in range(count)]
