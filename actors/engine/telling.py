"""Output as it comes: what of a growing output is sure, told once, as text."""

from __future__ import annotations

import codecs
import logging
from collections.abc import Callable, Sequence

_log = logging.getLogger(__name__)

Tell = Callable[[str], None]
"""Called with further text of an output. It runs in the engine's thread, so it must not wait; what
it raises ends the telling and nothing else."""


class Telling:
    """The listener of one request. All that it is told, joined, is the Completion's text.

    Held back are bytes that are no whole character yet, and those that may be the beginning of a
    stop string.
    """

    def __init__(self, tell: Tell, stops: Sequence[bytes]) -> None:
        self._tell: Tell | None = tell
        self._stops = stops
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._told = 0

    def update(self, output: bytes | bytearray, end: int, final: bool) -> None:
        """Tell what is new before byte ``end``; ``final``: nothing will follow."""
        if self._tell is None:
            return
        sure = end if final else end - self._held(output)
        if sure <= self._told and not final:
            return
        text = self._decoder.decode(bytes(output[self._told : sure]), final)
        self._told = max(self._told, sure)
        if not text:
            return
        try:
            self._tell(text)
        except Exception as error:
            _log.warning("the listener of an output failed: %s", type(error).__name__)
            self._tell = None

    def _held(self, output: bytes | bytearray) -> int:
        """Length of the longest end of ``output`` that a stop string may begin with."""
        held = 0
        for stop in self._stops:
            for length in range(min(len(stop) - 1, len(output)), held, -1):
                if output.endswith(stop[:length]):
                    held = length
                    break
        return held
