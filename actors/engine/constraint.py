"""Grammar state along one output: which tokens may follow, and which must.

llguidance does the work (its matcher releases the GIL while compiling). A mask costs 10 to 50
microseconds at 152k tokens, and very few bits are set inside a verbatim string, so the allowed ids
are read from the non-zero 64-bit words instead of unpacking the whole mask.
"""

from __future__ import annotations

from typing import Any

import llguidance
import llguidance.numpy
import numpy as np
from numpy.typing import NDArray

from actors.engine.request import RequestRefused


class Constraint:
    """Grammar state of one output. Not thread-safe; one instance per request."""

    def __init__(self, tokenizer: Any, grammar: str) -> None:
        """Compile ``grammar`` (Lark). RequestRefused does not repeat the grammar, because a
        verbatim grammar contains the document."""
        self._matcher = llguidance.LLMatcher(
            tokenizer, llguidance.LLMatcher.grammar_from_lark(grammar), log_level=0
        )
        if self._matcher.is_error():
            raise RequestRefused("the grammar does not compile")
        words = (tokenizer.vocab_size + 63) // 64
        # int32 as llguidance requires, with padding to whole 64-bit words for the uint64 view.
        self._mask = np.zeros((1, 2 * words), dtype=np.int32)
        self._view = self._mask[:, : (tokenizer.vocab_size + 31) // 32]
        self._words = self._mask.view(np.uint64)[0]

    @property
    def complete(self) -> bool:
        """True if only an end token may follow (also after an error)."""
        return bool(self._matcher.is_stopped())

    @property
    def failed(self) -> bool:
        """True if llguidance failed: it hit a limit of its own, or a token was not allowed."""
        return bool(self._matcher.is_error())

    def consume(self, token: int) -> bool:
        """Advance by one token; return False if it is not allowed."""
        return bool(self._matcher.consume_token(token))

    def forced(self) -> list[int]:
        """Return the tokens that must follow, not yet consumed."""
        return list(self._matcher.compute_ff_tokens())

    def allowed(self) -> NDArray[np.int64]:
        """Return the ids of all tokens that may follow, ascending; int64 [allowed]."""
        self._matcher.unsafe_compute_mask_ptr(self._view.ctypes.data, self._view.nbytes)
        places = np.flatnonzero(self._words)
        bits = np.unpackbits(
            self._words[places].view(np.uint8).reshape(-1, 8), axis=1, bitorder="little"
        )
        row, column = np.nonzero(bits)
        ids: NDArray[np.int64] = places[row] * 64 + column
        return ids
