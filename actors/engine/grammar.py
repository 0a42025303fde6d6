"""A grammar's state along one output: which tokens may follow, and which must.

llguidance does the work (its matcher drops the GIL while it compiles). A mask costs 10 to 50
microseconds at 152k tokens and very few bits are set inside a verbatim string, so the allowed ids
are read from the 64-bit words that are not zero instead of unpacking the whole mask.
"""

from __future__ import annotations

from typing import Any

import llguidance
import llguidance.numpy
import numpy as np
from numpy.typing import NDArray

from actors.engine.request import RequestRefused


class Constraint:
    """One output's grammar state. Not thread-safe; one instance per request."""

    def __init__(self, tokenizer: Any, grammar: str) -> None:
        """Compile ``grammar`` (Lark); raises RequestRefused without repeating the grammar,
        because a verbatim grammar holds the document."""
        self._matcher = llguidance.LLMatcher(
            tokenizer, llguidance.LLMatcher.grammar_from_lark(grammar), log_level=0
        )
        if self._matcher.is_error():
            raise RequestRefused("the grammar does not compile")
        words = (tokenizer.vocab_size + 63) // 64
        # int32 as llguidance wants it, one odd word of slack so that it can be seen as uint64.
        self._mask = np.zeros((1, 2 * words), dtype=np.int32)
        self._view = self._mask[:, : (tokenizer.vocab_size + 31) // 32]
        self._words = self._mask.view(np.uint64)[0]

    @property
    def complete(self) -> bool:
        """Nothing but an end token may follow (also after an error)."""
        return bool(self._matcher.is_stopped())

    @property
    def failed(self) -> bool:
        """llguidance gave up: a limit of its own, or a token that was not allowed."""
        return bool(self._matcher.is_error())

    def consume(self, token: int) -> bool:
        """Go on by one token; False when it was not allowed."""
        return bool(self._matcher.consume_token(token))

    def forced(self) -> list[int]:
        """The tokens that must follow, not yet consumed."""
        return list(self._matcher.compute_ff_tokens())

    def allowed(self) -> NDArray[np.int64]:
        """The ids of all tokens that may follow, ascending; int64 [allowed]."""
        self._matcher.unsafe_compute_mask_ptr(self._view.ctypes.data, self._view.nbytes)
        places = np.flatnonzero(self._words)
        bits = np.unpackbits(
            self._words[places].view(np.uint8).reshape(-1, 8), axis=1, bitorder="little"
        )
        row, column = np.nonzero(bits)
        ids: NDArray[np.int64] = places[row] * 64 + column
        return ids
