"""The guideline of a request, named or inline, checked against what the models support."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from actors.guideline import Guideline
from pipelines.serve.answering.models import GuidelineUse, ModelFacts
from pipelines.serve.wire.errors import Problem
from pipelines.serve.wire.responses import Detail


def use_of(facts: Sequence[ModelFacts]) -> GuidelineUse:
    """The guideline support that all models have in common."""
    uses = {fact.guideline for fact in facts}
    if "none" in uses:
        return "none"
    return "any" if "any" in uses else "labels"


def chosen(
    requested: str | Guideline | None, known: Mapping[str, Guideline], facts: Sequence[ModelFacts]
) -> Guideline | None:
    """The requested guideline.

    Raises Problem if the name is unknown, or if no model supports the guideline: ignoring it
    silently would look as if it had been followed.
    """
    if requested is None:
        return None
    if isinstance(requested, str):
        if requested not in known:
            raise Problem("guideline_not_found")
        requested = known[requested]
    use = use_of(facts)
    if use == "none":
        raise Problem("guideline_not_supported")
    if use == "labels":
        labels = {label.casefold() for fact in facts for label in fact.labels}
        unsupported = [
            Detail(where=f"guideline.labels.{place}", message="no model finds this label")
            for place, (name, label) in enumerate(requested.labels.items())
            if labels.isdisjoint(word.casefold() for word in (name, *label.synonyms))
        ]
        if unsupported:
            raise Problem("guideline_not_supported", details=unsupported[:20])
    return requested
