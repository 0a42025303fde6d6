"""The output of one request: its bytes, per-token data, and stop strings."""

from __future__ import annotations

from collections.abc import Sequence

from actors.engine.request import Likeliest
from actors.engine.text_stream import OnOutput, TextStream


class OutputBuffer:
    """Bytes of the generated tokens, up to a stop string.

    ``ends[i]`` is the length in bytes after token i, ``logprobs[i]`` its log probability and
    ``likeliest[i]`` the most likely alternatives at its position.
    """

    def __init__(self, stop: Sequence[str] = (), on_text: OnOutput | None = None) -> None:
        self.ends: list[int] = []
        self.logprobs: list[float] = []
        self.likeliest: list[Likeliest] = []
        self._bytes = bytearray()
        self._stop = tuple(text.encode() for text in stop if text)
        self._cut: int | None = None
        self._stream = TextStream(on_text, self._stop) if on_text is not None else None

    def __bytes__(self) -> bytes:
        return bytes(self._bytes)

    @property
    def text(self) -> str:
        """The output without its stop string; invalid bytes become U+FFFD."""
        return self._bytes[: self._cut].decode("utf-8", "replace")

    def append(self, piece: bytes, logprob: float, others: Likeliest = ()) -> bool:
        """Append a token's bytes; return True if they complete a stop string."""
        begin = len(self._bytes)
        self._bytes += piece
        self.ends.append(len(self._bytes))
        self.logprobs.append(logprob)
        self.likeliest.append(others)
        places = [
            place
            for stop in self._stop
            if (place := self._bytes.find(stop, max(0, begin - len(stop) + 1))) >= 0
        ]
        if places:
            self._cut = min(places)
        return bool(places)

    def stream(self, final: bool) -> None:
        """Emit text that is new and final; ``final``: nothing will follow."""
        if self._stream is not None:
            end = len(self._bytes) if self._cut is None else self._cut
            self._stream.update(self._bytes, end, final=final)
