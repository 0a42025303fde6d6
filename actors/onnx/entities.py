"""Spans of tokens to entities: characters, the label filter, and the invariant.

An entity reaches from the first character of its first token to the last character of its last,
with white space trimmed at both ends, and never ends inside a grapheme cluster: a tokenizer that
strips accents or composes gives a decomposed letter or syllable without its last parts. A cluster
that two entities share belongs to the first.
"""

from __future__ import annotations

from collections.abc import Iterable

from actors.config import ConfigError, LabelFilter
from actors.graphemes import whole
from actors.onnx.decode import TokenSpan
from actors.onnx.tokenizer import Tokens
from actors.spans import Entity, spanning


class Chooser:
    """Makes entities of token spans, as a label filter wants them."""

    def __init__(self, settings: LabelFilter, types: Iterable[str], model: str) -> None:
        """Raises ConfigError where the filter names a label that the model does not have."""
        known = sorted(set(types))
        if strange := settings.unknown(known):
            raise ConfigError(
                f"model {model}: labels names {', '.join(strange)}; "
                f"the model has {', '.join(known)}"
            )
        self._filter = settings
        self._model = model

    def entities(self, text: str, tokens: Tokens, spans: Iterable[TokenSpan]) -> list[Entity]:
        """The entities of a text; its tokens are those that the spans count, and the spans are in
        the order of the text."""
        found = []
        done = 0
        for span in spans:
            if not self._filter.keeps(span.type, span.score):
                continue
            first, last = _trim(text, int(tokens.starts[span.first]), int(tokens.ends[span.last]))
            start, end = whole(text, first, last) if first < last else (first, last)
            if start < min(first, done) and done < end:
                start, end = _trim(text, done, end)
            if start < end:
                done = end
                label = self._filter.replace.get(span.type, span.type)
                score = round(span.score, 6)
                found.append(spanning(text, start, end, label, score=score, model=self._model))
        return found


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return start, end
