"""Prompt-lookup speculation: what the document says after the last tokens is a fair guess."""

from __future__ import annotations


class Lookup:
    """Drafts from one document's own tokens, by its last three, two or one tokens.

    The guess is verified in the same batch as it is made in, so a wrong one costs rows, never
    correctness.
    """

    def __init__(self, document: tuple[int, ...], longest: int) -> None:
        """``document``: its tokens. ``longest``: tokens that a draft has at most."""
        self._document = document
        self._longest = longest
        self._after: dict[tuple[int, ...], int] = {}
        for size in (1, 2, 3):
            for start in range(len(document) - size):
                # The first place wins: entities are mostly listed in the order of the text, and
                # the first mention is the one that a model copies.
                self._after.setdefault(document[start : start + size], start + size)

    def draft(self, output: list[int]) -> list[int]:
        """Tokens that may follow ``output``; empty when its end is not in the document."""
        for size in (3, 2, 1):
            if len(output) >= size:
                place = self._after.get(tuple(output[-size:]))
                if place is not None:
                    return list(self._document[place : place + self._longest])
        return []
