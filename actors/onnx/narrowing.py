"""What a token classifier says, under a guideline that came with the document: its labels are its
weights', so a guideline can only choose among them, and name them by its synonyms."""

from __future__ import annotations

from dataclasses import replace

from actors.config import fingerprint
from actors.guideline import Guideline
from actors.spans import Extraction


def narrowed(extraction: Extraction, guideline: Guideline | None) -> Extraction:
    """The entities whose label is one of the guideline's labels or synonyms, under the guideline's
    name for it. The fingerprint is then of both. None: everything, as it is."""
    if guideline is None:
        return extraction
    names = guideline.names
    return replace(
        extraction,
        fingerprint=fingerprint(guideline, model=extraction.fingerprint),
        entities=tuple(
            replace(entity, label=names[entity.label.casefold()])
            for entity in extraction.entities
            if entity.label.casefold() in names
        ),
    )
