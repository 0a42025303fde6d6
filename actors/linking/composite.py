"""Mentions that combine several names: "breast and ovarian cancer", "types 1 and 2 diabetes".

The names share their first words, their last words, both or neither. The mention alone does not
show which words are shared, so all readings are generated, and the vocabulary decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MOST_NAMES = 6
MOST_SHARED = 4
"""Words that the names have in common."""
_LEAST_LETTERS = 3
"""Letters and digits of a name; a shorter one is an abbreviation of too many things."""
_OR = "or|o|ou|oder|hoặc"
_CONJUNCTION = rf"(?:and/or|and|as well as|y|et|und|và|{_OR})"
_LAST = re.compile(rf",?\s+{_CONJUNCTION}\s+|\s*[/&]\s*", re.I)
_EARLIER = re.compile(rf"{_LAST.pattern}|\s*,\s*", re.I)
_ALTERNATIVE = re.compile(rf"\b(?:{_OR})\b", re.I)
_PLURAL = re.compile(r"[^\W\d](?<![su])(?<!i)s$", re.I)


def readings(mention: str) -> Iterator[tuple[str, ...]]:
    """The names that a mention may combine, the reading with most shared words first.

    Empty without a conjunction: a comma alone combines no names ("diabetes mellitus, type 2").
    """
    if _LAST.search(mention) is None:
        return
    parts = [part.split() for part in _EARLIER.split(mention)]
    if len(parts) > MOST_NAMES or not all(parts):
        return
    *_, last = _LAST.finditer(mention)
    if mention[last.end() :].split() != parts[-1]:  # a comma after the last conjunction
        return
    first, last_words = parts[0], parts[-1]
    for shared in range(MOST_SHARED, -1, -1):
        for ahead in range(shared + 1):
            behind = shared - ahead
            if ahead < len(first) and behind < len(last_words):
                names = _reading(parts, first[:ahead], last_words[len(last_words) - behind :])
                if all(sum(map(str.isalnum, name)) >= _LEAST_LETTERS for name in names):
                    yield names


def is_several(mention: str) -> bool:
    """True if a mention that joins names cannot be one: "A or B cancer", "A and B cancers"."""
    return _ALTERNATIVE.search(mention) is not None or _PLURAL.search(mention) is not None


def _reading(parts: list[list[str]], before: list[str], after: list[str]) -> tuple[str, ...]:
    names = []
    for at, part in enumerate(parts):
        words = [*(before if at else ()), *part, *(after if at < len(parts) - 1 else ())]
        names.append(" ".join(words))
    return tuple(names)
