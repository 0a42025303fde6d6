"""Apply a per-request guideline to a token classifier: its label set is fixed, so a guideline can
only select and rename labels."""

from __future__ import annotations

from dataclasses import replace

from actors.config import fingerprint
from actors.guideline import Guideline
from actors.spans import Extraction


def select_labels(extraction: Extraction, guideline: Guideline | None) -> Extraction:
    """Keep the entities whose label is a label or synonym of the guideline, under the guideline's
    name. The fingerprint then covers both. None: return the extraction unchanged."""
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
