"""Which dose belongs to which drug: relations by rules, with readings; and abbreviations."""

from __future__ import annotations

from actors.relations.stage import RelationStage

RESULTS = 1
"""Raised by hand when the same text and entities get other relations, readings, abbreviations."""

__all__ = ["RESULTS", "RelationStage"]
