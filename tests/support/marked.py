"""Gold in the text itself: ``No <fever:negated>, but <cough>.`` as text, entities, attributes."""

from __future__ import annotations

import re

from actors.spans import Annotations, Assertion, Experiencer, spanning

_MARK = re.compile(r"<([^<>:]+)(?::([^<>]*))?>")


def marked(source: str, label: str = "PROBLEM") -> tuple[str, Annotations, list[set[str]]]:
    """The text without marks, its entities, and the attributes that each must have."""
    text, gold, spans, at = "", [], [], 0
    for match in _MARK.finditer(source):
        text += source[at : match.start()]
        start = len(text)
        text += match.group(1)
        spans.append((start, len(text)))
        gold.append(set(filter(None, (match.group(2) or "").split(","))))
        at = match.end()
    text += source[at:]
    return text, Annotations(tuple(spanning(text, s, e, label) for s, e in spans)), gold


def attributes(assertion: Assertion) -> set[str]:
    """Return the names of all flags that are set, and the experiencer if it is not the patient."""
    names = {
        name
        for name in ("negated", "uncertain", "hypothetical", "historical", "conditional")
        if getattr(assertion, name)
    }
    if assertion.experiencer is not Experiencer.PATIENT:
        names.add(str(assertion.experiencer))
    return names
