"""Turn token spans into entities: offsets in characters, label filter, invariants.

An entity extends from the first character of its first token to the last character of its last,
with whitespace trimmed at both ends. It never ends inside a grapheme cluster: a tokenizer that
strips accents or composes characters returns a decomposed letter or syllable without its last
parts. A cluster shared by two entities belongs to the first.
"""

from __future__ import annotations

from collections.abc import Iterable

from actors.config import ConfigError, LabelFilter
from actors.graphemes import whole
from actors.onnx.tokenizer import TokenizedText
from actors.onnx.tokens.label_decoder import TokenSpan
from actors.spans import Entity, spanning


class EntityBuilder:
    """Builds entities from token spans, applying a label filter."""

    def __init__(self, settings: LabelFilter, types: Iterable[str], model: str) -> None:
        """Raises ConfigError if the filter names a label that the model does not have."""
        known = sorted(set(types))
        if unknown_labels := settings.unknown(known):
            raise ConfigError(
                f"model {model}: unknown labels: {', '.join(unknown_labels)}; "
                f"the model's labels are {', '.join(known)}"
            )
        self._filter = settings
        self._model = model

    def entities(
        self, text: str, tokens: TokenizedText, spans: Iterable[TokenSpan]
    ) -> list[Entity]:
        """Build the entities of a text; the spans index ``tokens`` and are in text order."""
        found = []
        covered = 0
        for span in spans:
            if not self._filter.keeps(span.type, span.score):
                continue
            first, last = _trim(text, int(tokens.starts[span.first]), int(tokens.ends[span.last]))
            start, end = whole(text, first, last) if first < last else (first, last)
            if start < min(first, covered) and covered < end:
                start, end = _trim(text, covered, end)
            if start < end:
                covered = end
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
