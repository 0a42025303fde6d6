"""Sections of a document, and the status of the entities in it, by rules over the text."""

from __future__ import annotations

from actors.context.stage import ContextStage

RESULTS = 1
"""Raised by hand when the same text and entities get other sections or assertions."""

__all__ = ["RESULTS", "ContextStage"]
