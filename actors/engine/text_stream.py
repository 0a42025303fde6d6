"""Stream a growing output as text, each character once and only when final."""

from __future__ import annotations

import codecs
import logging
from collections.abc import Callable, Sequence

_log = logging.getLogger(__name__)

OnOutput = Callable[[str], None]
"""Called with the next piece of an output's text. It runs on the engine's thread, so it must not
block; an exception stops further callbacks but not the request."""


class TextStream:
    """Streams one request's output to a callback. The pieces, joined, are the Completion's text.

    Incomplete characters and bytes that may be the start of a stop string are held back.
    """

    def __init__(self, on_text: OnOutput, stops: Sequence[bytes]) -> None:
        self._callback: OnOutput | None = on_text
        self._stops = stops
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._emitted = 0

    def update(self, output: bytes | bytearray, end: int, final: bool) -> None:
        """Emit what is new before byte ``end``; ``final``: nothing will follow."""
        if self._callback is None:
            return
        final_end = end if final else end - self._held_back(output)
        if final_end <= self._emitted and not final:
            return
        text = self._decoder.decode(bytes(output[self._emitted : final_end]), final)
        self._emitted = max(self._emitted, final_end)
        if not text:
            return
        try:
            self._callback(text)
        except Exception as error:
            _log.warning("output callback failed: %s", type(error).__name__)
            self._callback = None

    def _held_back(self, output: bytes | bytearray) -> int:
        """Return the length of the longest suffix of ``output`` that may start a stop string."""
        longest = 0
        for stop in self._stops:
            for length in range(min(len(stop) - 1, len(output)), longest, -1):
                if output.endswith(stop[:length]):
                    longest = length
                    break
        return longest
