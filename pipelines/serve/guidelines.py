"""The guideline of a request: one by name or its own, and whether the models can follow it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from actors.guideline import Guideline
from pipelines.serve.errors import Problem
from pipelines.serve.schema import Detail
from pipelines.serve.service import GuidelineUse, ModelFacts


def use_of(facts: Sequence[ModelFacts]) -> GuidelineUse:
    """What the models together can make of a guideline."""
    uses = {fact.guideline for fact in facts}
    if "none" in uses:
        return "none"
    return "any" if "any" in uses else "labels"


def chosen(
    asked: str | Guideline | None, known: Mapping[str, Guideline], facts: Sequence[ModelFacts]
) -> Guideline | None:
    """The guideline that is asked for; raises Problem where there is none of that name, or where
    no model can follow it: ignored in silence, it would look obeyed."""
    if asked is None:
        return None
    if isinstance(asked, str):
        if asked not in known:
            raise Problem("guideline_not_found")
        asked = known[asked]
    use = use_of(facts)
    if use == "none":
        raise Problem("guideline_not_supported")
    if use == "labels":
        labels = {label.casefold() for fact in facts for label in fact.labels}
        strange = [
            Detail(where=f"guideline.labels.{place}", message="no model finds this label")
            for place, (name, label) in enumerate(asked.labels.items())
            if labels.isdisjoint(word.casefold() for word in (name, *label.synonyms))
        ]
        if strange:
            raise Problem("guideline_not_supported", details=strange[:20])
    return asked
