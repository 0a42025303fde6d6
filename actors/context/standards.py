"""An assertion in the words of others: the classes of i2b2 2010, and OMOP's NOTE_NLP fields."""

from __future__ import annotations

from typing import Literal, NamedTuple

from actors.spans import Assertion, Experiencer

I2b2Class = Literal[
    "present", "absent", "possible", "conditional", "hypothetical", "associated_with_someone_else"
]


class OmopModifiers(NamedTuple):
    """The columns of OMOP CDM's NOTE_NLP that say what a term's context makes of it."""

    term_exists: Literal["Y", "N"]
    term_temporal: Literal["Past", "Present"]
    term_modifiers: str


def i2b2_class(assertion: Assertion) -> I2b2Class:
    """The class of the i2b2/VA 2010 challenge: one for a problem, so the first that fits.

    The order is someone else, hypothetical, conditional, possible, absent, present. The challenge
    has no class for the past: a past problem of the patient is present.
    """
    if assertion.experiencer is not Experiencer.PATIENT:
        return "associated_with_someone_else"
    if assertion.hypothetical:
        return "hypothetical"
    if assertion.conditional:
        return "conditional"
    if assertion.uncertain:
        return "possible"
    return "absent" if assertion.negated else "present"


def omop_modifiers(assertion: Assertion) -> OmopModifiers:
    """``term_exists``, ``term_temporal`` and ``term_modifiers`` of OMOP CDM 5.4.

    ``term_exists`` is Y only where the patient has or had it: not negated, uncertain,
    hypothetical, conditional or another's. ``term_modifiers`` names each attribute, separated by
    commas without spaces.
    """
    exists = assertion.experiencer is Experiencer.PATIENT and not (
        assertion.negated or assertion.uncertain or assertion.hypothetical or assertion.conditional
    )
    modifiers = (
        f"negated={_truth(assertion.negated)}",
        f"subject={assertion.experiencer}",
        f"uncertain={_truth(assertion.uncertain)}",
        f"hypothetical={_truth(assertion.hypothetical)}",
        f"conditional={_truth(assertion.conditional)}",
        f"historical={_truth(assertion.historical)}",
    )
    return OmopModifiers(
        "Y" if exists else "N", "Past" if assertion.historical else "Present", ",".join(modifiers)
    )


def _truth(value: bool) -> str:
    return "true" if value else "false"
