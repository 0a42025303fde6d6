"""Which dose belongs to which drug: relations by rules, with readings; and abbreviations."""

from __future__ import annotations

from actors.relations.stage import RelationStage

__all__ = ["RelationStage"]
