"""Fuzzy search: the runs of words in a folded text most similar to a mention.

Candidates are anchored at words that both share or nearly share, so the text is never compared as a
whole: a mention costs a look-up, not a scan.
"""

from __future__ import annotations

from dataclasses import dataclass

from rapidfuzz import fuzz, process

from actors.words import words

_MIN_LETTERS = 4
"""Shorter mentions are not searched: a similar word is too likely to be a different one."""
_MAX_ANCHORS = 200
_SIMILAR_WORDS = 5
_WORD_CUTOFF = 70.0
"""Minimum similarity of two words to serve as an anchor; the threshold applies to the whole."""


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    start: int
    end: int


class WordIndex:
    """Index over the words of one folded text."""

    def __init__(self, folded: str) -> None:
        self._folded = folded
        self._tokens = _tokens(folded)
        self._positions: dict[str, list[int]] = {}
        for position, token in enumerate(self._tokens):
            self._positions.setdefault(token.text, []).append(position)
        self._vocabulary = [word for word in self._positions if _is_word(word)]

    def similar(self, mention: str, threshold: float) -> list[tuple[int, int]]:
        """Return disjoint spans similar to the folded ``mention``, most similar first."""
        tokens = _tokens(mention)
        if sum(len(token.text) for token in tokens if _is_word(token.text)) < _MIN_LETTERS:
            return []
        numbers = _numbers(tokens)
        if any(number not in self._positions for number in numbers):
            return []
        scored: dict[tuple[int, int], float] = {}
        for first, last in self._candidates(tokens):
            run = self._tokens[first:last]
            span = (run[0].start, run[-1].end)
            if span in scored or _numbers(run) != numbers:
                continue
            score = fuzz.ratio(mention, self._folded[slice(*span)], score_cutoff=100 * threshold)
            if score > 0:
                scored[span] = score
        return _disjoint(sorted(scored, key=lambda span: (-scored[span], span)))

    def _candidates(self, tokens: list[_Token]) -> set[tuple[int, int]]:
        """Return runs of about as many words as the mention around each anchor."""
        slack = 1 + len(tokens) // 4
        runs: set[tuple[int, int]] = set()
        for index, position in self._anchors(tokens):
            for first in range(position - index - slack, position - index + slack + 1):
                for length in range(len(tokens) - slack, len(tokens) + slack + 1):
                    last = first + length
                    if 0 <= first <= position < last <= len(self._tokens):
                        runs.add((first, last))
        return runs

    def _anchors(self, tokens: list[_Token]) -> list[tuple[int, int]]:
        """Return (index in the mention, position in the text) of the rarest shared words."""
        groups: list[list[tuple[int, int]]] = []
        for index, token in enumerate(tokens):
            if not _is_word(token.text) and not _is_number(token.text):
                continue
            positions = list(self._positions.get(token.text, ()))
            if not positions and _is_word(token.text):
                closest = process.extract(
                    token.text,
                    self._vocabulary,
                    scorer=fuzz.ratio,
                    score_cutoff=_WORD_CUTOFF,
                    limit=_SIMILAR_WORDS,
                )
                positions = [p for word, *_ in closest for p in self._positions[word]]
            groups.append([(index, position) for position in positions])
        anchors: list[tuple[int, int]] = []
        for group in sorted(groups, key=len):
            anchors += group
            if len(anchors) > _MAX_ANCHORS:
                break
        return anchors[:_MAX_ANCHORS]


def _tokens(folded: str) -> list[_Token]:
    tokens: list[_Token] = []
    at = 0
    for chunk in words(folded):
        if chunk != " ":
            tokens.append(_Token(chunk, at, at + len(chunk)))
        at += len(chunk)
    return tokens


def _is_word(chunk: str) -> bool:
    return chunk[0].isalpha()


def _is_number(chunk: str) -> bool:
    return chunk[0].isdecimal()


def _numbers(tokens: list[_Token]) -> list[str]:
    return [token.text for token in tokens if _is_number(token.text)]


def _disjoint(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    kept: list[tuple[int, int]] = []
    for start, end in spans:
        if all(end <= other_start or other_end <= start for other_start, other_end in kept):
            kept.append((start, end))
    return kept
