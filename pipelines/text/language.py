"""The language of a text, by py3langid (a naive Bayes model over character n-grams; Lui and
Baldwin, ACL 2012)."""

from __future__ import annotations

# Enough for a note's language; the time grows with the characters (0.4 ms for these).
_CHARACTERS = 300


def language(text: str | None) -> str:
    """The ISO 639 code of a text's language, by some words in its middle, where a heading or a
    letterhead is less likely; "none" for a text without letters."""
    from py3langid.langid import classify  # its model takes half a second to load

    if not text:
        return "none"
    start = max(0, (len(text) - _CHARACTERS) // 2)
    part = text[start : start + _CHARACTERS]
    if not any(character.isalpha() for character in part):
        return "none"
    return str(classify(part)[0])
