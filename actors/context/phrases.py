"""Phrases with choices to the literal forms that a text may have."""

from __future__ import annotations

import re
import unicodedata

MOST_FORMS = 2000
"""Phrases that one pattern may stand for: a slip of the pen must not fill the memory."""

_PART = re.compile(r"[()\[\]|]|[^()\[\]|]+")


def written_out(phrase: str) -> list[str]:
    """Every form of a phrase with choices: ``no (sign|signs) [at all]`` has four.

    Forms are lower case with single spaces. Raises ValueError where brackets do not match, a form
    is empty, or there are more than MOST_FORMS.
    """
    parts = _PART.findall(phrase)
    forms, at = _choices(parts, 0, phrase)
    if at != len(parts):
        raise ValueError(f"{phrase!r}: unmatched closing bracket")
    tidy = dict.fromkeys(" ".join(form.lower().split()) for form in forms)
    if "" in tidy:
        raise ValueError(f"{phrase!r} can be empty")
    return list(tidy)


def _choices(parts: list[str], at: int, phrase: str) -> tuple[list[str], int]:
    """The forms from ``at`` up to an unmatched closing bracket, and its place."""
    done: list[str] = []
    forms = [""]
    while at < len(parts) and parts[at] not in ")]":
        part = parts[at]
        if part == "|":
            done += forms
            forms = [""]
        elif part in "([":
            inner, at = _choices(parts, at + 1, phrase)
            if at == len(parts) or parts[at] != {"(": ")", "[": "]"}[part]:
                raise ValueError(f"{phrase!r}: unmatched opening bracket")
            if part == "[":
                inner = ["", *inner]
            forms = [form + more for form in forms for more in inner]
        else:
            forms = [form + part for form in forms]
        if len(forms) + len(done) > MOST_FORMS:
            raise ValueError(f"{phrase!r} expands to more than {MOST_FORMS} phrases")
        at += 1
    return done + forms, at


def spellings(phrase: str, unaccented: bool) -> set[str]:
    """Return the spellings of a phrase: composed and decomposed, and without accents if asked.

    A single word of fewer than four letters keeps its accents: without them it is another word.
    """
    composed = unicodedata.normalize("NFC", phrase)
    decomposed = unicodedata.normalize("NFD", phrase)
    found = {composed, decomposed}
    if unaccented and (" " in composed or len(composed) > 3):
        found.add("".join(c for c in decomposed if not unicodedata.combining(c)))
    return found | {one.replace("'", "\u2019") for one in found if "'" in one}


def lowered(text: str) -> str:
    """``text`` in lower case with the same length: offsets stay what they are."""
    low = text.lower()
    if len(low) == len(text):
        return low
    return "".join(c.lower() if len(c.lower()) == 1 else c for c in text)
