"""Abbreviations that a text defines: "non-small cell lung cancer (NSCLC)", and the other way round.

Words whose initials are the short form are its long form. Else the algorithm of Schwartz and Hearst
(Pac Symp Biocomput 2003): each character of the short form is sought in the long one, from the
right; the first must begin a word. That alone takes the shortest: *encephalomyelitis* for EAE.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_PARENTHESIS = re.compile(r"[ \t\r\n]\(([^()\n]{2,200})\)")
_LAST_WORD = re.compile(r"[^\s(),;:]{2,10}\Z")
_SHORT = re.compile(r"[^\W_](?:[\w./&+'\u2019-]| (?=\S)){1,9}\Z")
_WORD = re.compile(r"[^\W_]+")
_LEFT_OUT = frozenset({"a", "an", "and", "by", "for", "in", "of", "on", "or", "the", "to", "with"})
"""Words of a long form that may have no initial in the short one."""


def find_abbreviations(text: str) -> dict[str, str]:
    """Short forms to long forms, both as they stand in the text; the first definition counts.

    A short form with a hyphen defines its last part, too: after "warfarin-associated intracerebral
    hemorrhage (W-ICH)", ICH is intracerebral hemorrhage unless the text says otherwise.
    """
    found: dict[str, str] = {}
    for short, start, end in _definitions(text):
        found.setdefault(short, text[start:end])
    for short, long in tuple(found.items()):
        before, _, part = short.rpartition("-")
        if not before.isalpha() or sum(map(str.isupper, part)) < 2 or part in _WORD.findall(long):
            continue
        if begin := _begin(part, long):
            found.setdefault(part, long[begin:])
    return found


def _definitions(text: str) -> Iterator[tuple[str, int, int]]:
    """Each short form with the place of its long form."""
    for match in _PARENTHESIS.finditer(text):
        inner = re.split(r"[;,]", match.group(1))[0].strip()
        if _is_short(inner):
            least = max(0, match.start() - 20 * (len(inner) + 5))
            before = text[least : match.start()]
            # The long form lies in the same sentence: after the last stop, semicolon or bracket.
            cut = max(before.rfind(mark) + len(mark) for mark in (". ", "; ", "\n\n", "(", ")"))
            start = _begin(inner, before[cut:] if cut > 1 else before)
            if start is not None:
                at = least + (cut if cut > 1 else 0) + start
                yield inner, at, match.start()
        else:
            word = _LAST_WORD.search(text, max(0, match.start() - 12), match.start())
            short = "" if word is None else word.group()
            long = match.group(1)
            if _is_short(short) and short.upper() == short and _begin(short, long) == 0:
                yield short, match.start(1), match.end(1)


def _is_short(words: str) -> bool:
    return (
        _SHORT.match(words) is not None
        and len(words.split()) <= 2
        and any(c.isalpha() for c in words)
        and any(c.isupper() for c in words)
    )


def _begin(short: str, long: str) -> int | None:
    """Return the start of the long form of ``short`` in ``long``; None if letters do not fit."""
    at = _by_initials(short, long)
    if at is None:
        at = _by_letters(short, long)
    if at is None:
        return None
    words = len(long[at:].split())
    if words > min(len(short) + 5, 2 * len(short)) or len(long) - at <= len(short):
        return None
    # A long form that holds its short one defines nothing.
    return None if short in long[at:].split() else at


def _by_initials(short: str, long: str) -> int | None:
    """Return where the last words of ``long`` begin whose initials are ``short``, if they are."""
    letters = [character for character in short.lower() if character.isalnum()]
    for match in reversed(list(_WORD.finditer(long))):
        word = match.group().lower()
        if word[0] == letters[-1]:
            letters.pop()
            if not letters:
                return match.start()
        elif word not in _LEFT_OUT:
            break
    return None


def _by_letters(short: str, long: str) -> int | None:
    """Return where the shortest end of ``long`` begins that has the characters of ``short``."""
    at = len(long)
    for index in range(len(short) - 1, -1, -1):
        char = short[index].lower()
        if not char.isalnum():
            continue
        at -= 1
        while at >= 0 and (
            long[at].lower() != char or (index == 0 and at > 0 and long[at - 1].isalnum())
        ):
            at -= 1
        if at < 0:
            return None
    return at
