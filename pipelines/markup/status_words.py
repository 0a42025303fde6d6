"""The status of an entity in words, and the look that each word has.

Each look differs in shape, not in colour alone: struck through, dashed, faint and slanted, a sign.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from actors.spans import Entity, Experiencer

WORDS = ("negated", "uncertain", "hypothetical", "conditional", "historical", "family", "other")
"""Words for all but "of the patient, now", in the order in which they are shown."""

_LOOK = {
    "negated": "negated",
    "uncertain": "unsure",
    "hypothetical": "unsure",
    "conditional": "unsure",
    "historical": "historical",
    "family": "others",
    "other": "others",
}
LEGEND = {
    "negated": "negated",
    "unsure": "uncertain, hypothetical or conditional",
    "historical": "historical",
    "others": "of family or another person",
}
"""The looks, classes of reader.css, with what they mean."""


def status_words(entity: Entity) -> list[str]:
    """Return the words for an entity's assertion (negated, family, ...), if there are any."""
    assertion = entity.assertion
    if assertion is None:
        return []
    words = [name for name in WORDS if getattr(assertion, name, False)]
    if assertion.experiencer is not Experiencer.PATIENT:
        words.append(assertion.experiencer.value)
    return words


def status_looks(words: Iterable[str]) -> list[str]:
    """The classes that draw some words, each once."""
    return list(dict.fromkeys(_LOOK[word] for word in words))


def status_facts(entity: Entity, text: str | None) -> list[tuple[str, str]]:
    """Each word of an entity's status with its cues as they stand in the text, and their rules."""
    return [("status", _status_text(word, entity, text)) for word in status_words(entity)]


def legend(words: Iterable[str]) -> Sequence[tuple[str, str]]:
    """The looks that some words have, with what they mean."""
    used = set(status_looks(words))
    return [(look, meaning) for look, meaning in LEGEND.items() if look in used]


def _status_text(word: str, entity: Entity, text: str | None) -> str:
    if entity.assertion is None:
        return word
    attribute = "experiencer" if word in ("family", "other") else word
    cues = [cue for cue in entity.assertion.cues if cue.attribute == attribute]
    if not cues or text is None:
        return word
    details = ", ".join(
        f"“{' '.join(text[cue.start : cue.end].split())}” ({cue.rule})" for cue in cues
    )
    return f"{word}: {details}"
