"""The status of entities, after ConText: cues with a direction, and scopes that stops end.

A cue reaches from its words to the end of its sentence, to the next stop that ends its effect, or
as many words as its rule allows. Harkema et al., J Biomed Inform 2009.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from actors.context.clauses import Sentence
from actors.context.scan import CueMatch, Rule
from actors.spans import Assertion, Cue, Experiencer

PRESENT = Assertion()
"""The default status: the patient has it now. Shared, since most entities have this status."""

_FLAGS = ("negated", "uncertain", "hypothetical", "historical", "conditional")

FARTHEST = 1000
"""Characters that no scope reaches over, whatever the sentence: text may come without stops."""

LONGEST_ITEM = 6
"""Words of an item of a negated enumeration."""

_NEW_ITEM = frozenset(
    {
        ("negated", "uncertain"),
        ("negated", "historical"),
        ("uncertain", "negated"),
        ("historical", "negated"),
        ("family", "negated"),
    }
)
"""(effect, effect of a cue after a comma) where the second ends the first's scope."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The part of a sentence that a cue decides: entities within [start, end)."""

    start: int
    end: int
    forward: bool
    mark: CueMatch
    rule: Rule


def assert_spans(
    text: str, spans: Sequence[tuple[int, int]], sentences: Sequence[Sentence]
) -> list[Assertion]:
    """The assertion of each span, in the order of ``spans``, which may overlap and be unsorted."""
    found = [PRESENT] * len(spans)
    order = sorted(range(len(spans)), key=spans.__getitem__)
    at, last = 0, len(sentences) - 1
    scopes: list[Scope] | None = None
    for index in order:
        start, end = spans[index]
        while at < last and sentences[at].end <= start:
            at, scopes = at + 1, None
        sentence = sentences[at]
        if not sentence.marks:
            continue
        if scopes is None:
            scopes = _scopes(text, sentence)
        cues = [scope for scope in scopes if _decides(text, scope, start, end)]
        if cues:
            found[index] = _assertion(cues)
    return found


def asserting(statuses: Sequence[str], rule: str, start: int, end: int) -> Assertion:
    """The assertion that a model makes of the entity at [start, end), which is its own cue."""
    names = {_attribute(status): status for status in statuses}
    return Assertion(
        **{name: True for name in names if name != "experiencer"},
        experiencer=Experiencer(names.get("experiencer", "patient")),
        cues=tuple(Cue(name, rule, start, end) for name in names),
    )


def decided(assertion: Assertion, by: Assertion, statuses: Collection[str]) -> Assertion:
    """Return ``assertion`` with these statuses taken from ``by``, set or not."""
    names = {_attribute(status) for status in statuses}
    changes: dict[str, Any] = {name: getattr(by, name) for name in names}
    kept = [cue for cue in assertion.cues if cue.attribute not in names]
    return replace(assertion, **changes, cues=(*kept, *by.cues))


def status_names(assertion: Assertion) -> set[str]:
    """The statuses of an assertion, as a configuration names them; none: present."""
    names = {name for name in _FLAGS if getattr(assertion, name)}
    if assertion.experiencer is not Experiencer.PATIENT:
        names.add(assertion.experiencer.value)
    return names


def _attribute(status: str) -> str:
    return "experiencer" if status in ("family", "other") else status


def with_section(assertion: Assertion, effects: Sequence[str], cue: Cue) -> Assertion:
    """``assertion`` with what its section implies; ``cue`` is the heading, its attribute unset.

    An experiencer stated in the sentence takes precedence over the section's.
    """
    changes: dict[str, Any] = {}
    cues = list(assertion.cues)
    for effect in effects:
        if effect in ("family", "other"):
            if assertion.experiencer is not Experiencer.PATIENT:
                continue
            changes["experiencer"] = Experiencer(effect)
            attribute = "experiencer"
        else:
            changes[effect] = True
            attribute = effect
        cues.append(Cue(attribute, cue.rule, cue.start, cue.end))
    return replace(assertion, **changes, cues=tuple(cues))


def _scopes(text: str, sentence: Sentence) -> list[Scope]:
    scopes = []
    marks = sentence.marks
    for place, mark in enumerate(marks):
        for rule in mark.rules:
            effect = rule.effect
            if effect in ("pseudo", "stop"):
                continue
            if rule.whole:
                if rule.forward:
                    scopes.append(Scope(mark.end, sentence.end, True, mark, rule))
                if rule.backward:
                    scopes.append(Scope(sentence.start, mark.start, False, mark, rule))
                continue
            if rule.forward:
                ends = (m.start for m in marks[place + 1 :] if _stops(text, m, effect))
                scopes.append(Scope(mark.end, next(ends, sentence.end), True, mark, rule))
            if rule.backward:
                begins = (m.end for m in reversed(marks[:place]) if _stops(text, m, effect))
                scopes.append(Scope(next(begins, sentence.start), mark.start, False, mark, rule))
    return scopes


def _stops(text: str, mark: CueMatch, effect: str) -> bool:
    """True if a mark ends the scopes of an effect: a stop, or a new item of another kind.

    "No fever, possible pneumonia": the second item has a cue of its own.
    """
    for rule in mark.rules:
        if rule.effect == "stop":
            if rule.ends is None or effect in rule.ends:
                return True
        elif (effect, rule.effect) in _NEW_ITEM and rule.forward and _after_comma(text, mark):
            return True
    return False


def _after_comma(text: str, mark: CueMatch) -> bool:
    return text[max(0, mark.start - 2) : mark.start].strip() == ","


def _decides(text: str, scope: Scope, start: int, end: int) -> bool:
    """True if a scope decides the entity at [start, end)."""
    mark = scope.mark
    if mark.start < start and end <= mark.end:
        return True  # within the cue: "evidence" in "no evidence of"
    # A cue may be the beginning or the end of an entity, "no fever" as one; not all of it.
    if scope.forward:
        if not mark.start <= start < scope.end or (start == mark.start and end <= mark.end):
            return False
        left, right = mark.end, start
    else:
        if not scope.start < end <= mark.end or (end == mark.end and start >= mark.start):
            return False
        left, right = end, mark.start
    if right - left > FARTHEST:
        return False
    between = text[left:right]
    if scope.rule.effect == "negated" and any(
        len(item.split()) > LONGEST_ITEM for item in between.split(",")[:-1]
    ):
        return False  # "no fever, chills or cough" has short items: a long one is a clause
    reach = scope.rule.reach
    return reach is None or len(between.split()) <= reach


def _assertion(scopes: Sequence[Scope]) -> Assertion:
    effects = {scope.rule.effect for scope in scopes}
    experiencer = Experiencer.PATIENT
    if "family" in effects:
        experiencer = Experiencer.FAMILY
    elif "other" in effects:
        experiencer = Experiencer.OTHER
    cues = dict.fromkeys(
        Cue(
            _attribute(scope.rule.effect),
            scope.rule.id,
            scope.mark.start,
            scope.mark.end,
        )
        for scope in scopes
        if not (scope.rule.effect == "other" and experiencer is Experiencer.FAMILY)
    )
    return Assertion(
        negated="negated" in effects,
        uncertain="uncertain" in effects,
        hypothetical="hypothetical" in effects,
        historical="historical" in effects,
        conditional="conditional" in effects,
        experiencer=experiencer,
        cues=tuple(cues),
    )
