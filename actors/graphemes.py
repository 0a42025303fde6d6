"""Grapheme clusters: what a reader perceives as one character, however many code points it has.

Examples: a letter with its combining marks, a Hangul syllable made of jamo, a flag, a family emoji.
No entity offset lies inside one. Unlike in Unicode's definition, nothing joins with whitespace,
because no entity begins or ends with whitespace.
"""

from __future__ import annotations

import regex

# There is always a break between two plain characters.
_PLAIN = regex.compile(r"[\p{Grapheme_Cluster_Break=Other}\p{Grapheme_Cluster_Break=Control}]")
# Precomposed Hangul syllables are clusters on their own, unless another kind follows.
_JOINING = regex.compile(
    r"[^\p{Grapheme_Cluster_Break=Other}\p{Grapheme_Cluster_Break=Control}"
    r"\p{Grapheme_Cluster_Break=LV}\p{Grapheme_Cluster_Break=LVT}]"
)
_CLUSTER = regex.compile(r"\X")


def is_break(text: str, at: int) -> bool:
    """Return True if a cluster begins or ends at position ``at`` in ``[0, len(text)]``."""
    return whole(text, at, at) == (at, at)


def whole(text: str, start: int, end: int) -> tuple[int, int]:
    """Expand ``[start, end)`` to whole clusters; an empty span inside a cluster becomes that
    cluster."""
    first, last = _cluster_at(text, start), _cluster_at(text, end)
    return (first[0] if first else start), (last[1] if last else end)


def inner_places(text: str) -> list[int]:
    """Return every position inside a cluster, in order."""
    if text.isascii():  # the only ASCII cluster is CR LF
        return [match.start() + 1 for match in regex.finditer("\r\n", text)]
    if _JOINING.search(text) is None:
        return []
    return [
        place
        for match in _CLUSTER.finditer(text)
        if match.end() - match.start() > 1
        for place in range(match.start() + 1, match.end())
        if not _is_plain_break(text, place)
    ]


def _cluster_at(text: str, at: int) -> tuple[int, int] | None:
    """Return the cluster that contains ``at`` in its interior, or None if ``at`` is a break."""
    if _is_plain_break(text, at):
        return None
    start = at
    while not _is_plain_break(text, start):
        start -= 1
    while start < at:
        match = _CLUSTER.match(text, start)
        if match is None or match.end() <= start:
            return None
        if start < at < match.end():
            return start, match.end()
        start = match.end()
    return None


def _is_plain_break(text: str, at: int) -> bool:
    if not 0 < at < len(text):
        return True
    before, after = text[at - 1], text[at]
    if before.isspace() or after.isspace() or (before.isascii() and after.isascii()):
        return (before, after) != ("\r", "\n")
    return bool(_PLAIN.match(before) and _PLAIN.match(after))
