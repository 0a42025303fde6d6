"""Convert offsets from code points to the unit that a client requested."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

OffsetUnit = Literal["code_points", "utf16", "bytes"]
"""Unicode code points (Python), UTF-16 code units (JavaScript, Java, C#), or bytes of UTF-8."""


def converted(text: str, offsets: Iterable[int], unit: OffsetUnit) -> Mapping[int, int]:
    """Map each code-point offset of ``text`` to the same position in ``unit``."""
    if unit == "code_points" or text.isascii():
        return {offset: offset for offset in offsets}
    found: dict[int, int] = {}
    at = place = 0
    for offset in sorted(set(offsets)):
        at, place = offset, place + _length(text[at:offset], unit)
        found[offset] = place
    return found


def _length(text: str, unit: OffsetUnit) -> int:
    if text.isascii():
        return len(text)
    if unit == "utf16":
        return len(text.encode("utf-16-le")) // 2
    return len(text.encode())


def code_points(text: str, offsets: Iterable[int], unit: OffsetUnit) -> Mapping[int, int]:
    """The reverse of ``converted``: map each offset in ``unit`` to code points of ``text``.

    Raises ValueError for an offset outside of the text or within a character; the message holds
    numbers only.
    """
    found: dict[int, int] = {}
    if unit == "code_points" or text.isascii():
        found = {offset: offset for offset in offsets}
        if any(not 0 <= offset <= len(text) for offset in found):
            raise ValueError(f"an offset is outside the text, which has {len(text)}")
        return found
    codec, width = ("utf-16-le", 2) if unit == "utf16" else ("utf-8", 1)
    encoded = text.encode(codec)
    at = place = 0
    for offset in sorted(set(offsets)):
        try:
            at += len(encoded[place * width : offset * width].decode(codec))
        except UnicodeDecodeError:
            raise ValueError(f"offset {offset} is within a character") from None
        if not 0 <= offset * width <= len(encoded):
            raise ValueError(f"offset {offset} is outside the text")
        place, found[offset] = offset, at
    return found
