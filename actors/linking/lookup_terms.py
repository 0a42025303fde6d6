"""What to look up for an entity: its words, and its words with abbreviations written out."""

from __future__ import annotations

import re
from collections.abc import Mapping

_WORD = re.compile(r"[^\W_]+(?:[-./][^\W_]+)*")


def written_out(mention: str, abbreviations: Mapping[str, str]) -> str | None:
    """A mention with the short forms that its document defines replaced; None without any.

    "the CETP deficiency" gives "the cholesteryl ester transfer protein deficiency". Where the
    mention itself has both forms, "transfer protein (CETP) deficiency", the short one goes.
    """
    if not abbreviations:
        return None
    if mention in abbreviations:
        return abbreviations[mention]
    text = mention
    for short, long in abbreviations.items():
        if f"({short})" in text and long.casefold() in text.casefold():
            text = text.replace(f"({short})", " ")
    text = _WORD.sub(lambda match: _long_form(match.group(), abbreviations), text)
    return text if text != mention else None


def _long_form(word: str, abbreviations: Mapping[str, str]) -> str:
    if word in abbreviations:
        return abbreviations[word]
    if word.endswith("s") and word[:-1] in abbreviations:
        return abbreviations[word[:-1]]
    # Parts of a compound, such as APC-associated.
    parts = re.split(r"([-./])", word)
    return "".join(abbreviations.get(part, part) for part in parts)
