"""Short forms that a text defines, "long form (SF)", after Schwartz and Hearst (2003)."""

from __future__ import annotations

import re

_BRACKET = re.compile(r"\(([^()\n]{2,40})\)")


def defined(text: str) -> dict[str, str]:
    """Short form to long form; of several definitions the first."""
    found: dict[str, str] = {}
    for match in _BRACKET.finditer(text):
        short = re.split(r"[;,]", match[1])[0].strip()
        if not (2 <= len(short) <= 12 and len(short.split()) <= 2 and short[0].isalnum()):
            continue
        before = re.split(r"[.;()]\s", text[max(0, match.start() - 200) : match.start()])[-1]
        words = before.split()[-min(len(short) + 5, 2 * len(short)) :]
        long = _long_form(short, " ".join(words))
        if long is not None:
            found.setdefault(short, long)
    return found


def _long_form(short: str, before: str) -> str | None:
    """The shortest end of ``before`` that has the letters of ``short`` in order."""
    if not any(character.isalpha() for character in short):
        return None
    at = len(before)
    for place in range(len(short) - 1, -1, -1):
        character = short[place].lower()
        if not character.isalnum():
            continue
        at -= 1
        while at >= 0 and not (
            before[at].lower() == character
            and (place > 0 or at == 0 or not before[at - 1].isalnum())
        ):
            at -= 1
        if at < 0:
            return None
    long = before[at:]
    return long if len(long) > len(short) and short not in long.split() else None
