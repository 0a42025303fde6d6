"""The status of entities, after ConText: cues with a direction, and scopes that stops end.

A cue reaches from its words to the end of its sentence, to the next stop that ends its effect, or
as many words as its rule allows. Harkema et al., J Biomed Inform 2009.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from actors.context.clauses import Sentence
from actors.context.lexicon import Lexicon
from actors.context.phrases import lowered
from actors.context.scan import CueMatch, Rule
from actors.spans import Assertion, Cue, Experiencer

PRESENT = Assertion()
"""The default status: the patient has it now. Shared, since most entities have this status."""

_FLAGS = ("negated", "uncertain", "hypothetical", "historical", "conditional")

FARTHEST = 1000
"""Characters that no scope reaches over, whatever the sentence: text may come without stops."""

_ONE_CLAUSE = frozenset({"negated", "uncertain", "historical"})
"""Effects that a clause before the main one keeps to itself. What an ``if`` decides is in both."""

_PUNCTUATION = re.compile(r"[,:()\[\]]")

_NEW_ITEM = frozenset(
    {
        ("negated", "negated"),
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
    text: str,
    spans: Sequence[tuple[int, int]],
    sentences: Sequence[Sentence],
    lexicon: Lexicon,
) -> list[Assertion]:
    """The assertion of each span, in the order of ``spans``, which may overlap and be unsorted.

    ``lexicon``: the one with which ``sentences`` were found.
    """
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
            scopes = _scopes(text, sentence, lexicon)
        cues = [scope for scope in scopes if _decides(text, scope, start, end, lexicon)]
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


def _scopes(text: str, sentence: Sentence, lexicon: Lexicon) -> list[Scope]:
    scopes = []
    marks = sentence.marks
    for place, mark in enumerate(marks):
        for rule in mark.rules:
            if rule.effect in ("pseudo", "stop"):
                continue
            left, right = _bracketed(text, sentence, mark.start)
            if sentence.main > sentence.start and rule.effect in _ONE_CLAUSE:
                if mark.start < sentence.main:
                    right = min(right, sentence.main)
                else:
                    left = max(left, sentence.main)
            if rule.forward:
                ends = (m.start for m in marks[place + 1 :] if _stops(text, m, rule))
                end = min(right, next(ends, right))
                if rule.effect == "negated" and not rule.phrase:
                    end = _enumeration(text, mark.end, end, right, lexicon)
                    if _repeated(text, marks[:place], mark):
                        end = _own_item(text, mark.end, end, lexicon)
                if rule.phrase and (sign := _PUNCTUATION.search(text, mark.end, end)) is not None:
                    end = sign.start()
                scopes.append(Scope(mark.end, end, True, mark, rule))
            if rule.backward:
                begins = (m.end for m in reversed(marks[:place]) if _stops(text, m, rule))
                start = max(left, next(begins, left))
                if rule.phrase:
                    for sign in _PUNCTUATION.finditer(text, start, mark.start):
                        start = sign.end()
                scopes.append(Scope(start, mark.start, False, mark, rule))
    return scopes


def _bracketed(text: str, sentence: Sentence, at: int) -> tuple[int, int]:
    """The place within the brackets that stand around ``at`` in a sentence, or the sentence.

    What stands first in brackets belongs to what is before them: "pneumonia (ruled out)".
    """
    opening = text.rfind("(", sentence.start, at)
    if opening < 0 or text.find(")", opening, at) >= 0:
        return sentence.start, sentence.end
    closing = text.find(")", at, sentence.end)
    if closing < 0:
        return sentence.start, sentence.end
    return opening + 1 if text[opening + 1 : at].strip() else sentence.start, closing


def _repeated(text: str, before: Sequence[CueMatch], mark: CueMatch) -> bool:
    """True if a negation is said again for this item: "no fever, no chills"."""
    return _after_comma(text, mark) and any(
        rule.effect == "negated" and rule.forward for one in before for rule in one.rules
    )


def _own_item(text: str, start: int, end: int, lexicon: Lexicon) -> int:
    """The end of the first item in [start, end), unless a word joins more to it."""
    comma = text.find(",", start, end)
    if comma < 0 or not lexicon.joiners.isdisjoint(text[start:end].lower().split()):
        return end
    return comma


def _enumeration(text: str, start: int, end: int, last: int, lexicon: Lexicon) -> int:
    """Where an enumeration that begins at ``start`` ends within ``end``: before a comma that a
    clause follows. ``last``: the end of the clause."""
    comma = text.find(",", start, end)
    while comma >= 0:
        after = text.find(",", comma + 1, last)
        if not lexicon.is_item(text[comma + 1 : last if after < 0 else after]):
            return comma
        comma = after if after < end else -1
    return end


def _stops(text: str, mark: CueMatch, scoped: Rule) -> bool:
    """True if a mark ends the scopes of a rule: a stop, or a new item of another kind.

    "No fever, possible pneumonia": the second item has a cue of its own.
    """
    effect = scoped.effect
    for rule in mark.rules:
        if rule.effect == "stop":
            ends = rule.ends
            if scoped.whole:
                if ends is not None and "whole" in ends:
                    return True
            elif ends is None or effect in ends or (scoped.phrase and "phrase" in ends):
                return True
        elif (
            not scoped.whole
            and (effect, rule.effect) in _NEW_ITEM
            and rule.forward
            and _after_comma(text, mark)
        ):
            return True
    return False


def _after_comma(text: str, mark: CueMatch) -> bool:
    return text[max(0, mark.start - 2) : mark.start].strip() == ","


def _decides(text: str, scope: Scope, start: int, end: int, lexicon: Lexicon) -> bool:
    """True if a scope decides the entity at [start, end)."""
    mark = scope.mark
    if mark.start < start and end <= mark.end:
        # Within the cue, a shorter one beside it decides: "no" in "no evidence of" does "evidence".
        rest = lowered(text[mark.start : start]) + "\n" + lowered(text[end : mark.end])
        return any(r.effect == scope.rule.effect for m in lexicon.scanner(rest) for r in m.rules)
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
        not lexicon.is_item(item) for item in between.split(",")[:-1]
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
