"""The stage that finds relations between the entities of a document, and its abbreviations."""

from __future__ import annotations

from dataclasses import replace

from actors.config.relations import Relations
from actors.relations.abbreviations import find_abbreviations
from actors.relations.rules import RelationFinder
from actors.spans import Annotations


class RelationStage:
    """Relations and abbreviations for the annotations of a document; threads may share it."""

    def __init__(self, config: Relations) -> None:
        self._find = RelationFinder(config.rules)
        self._abbreviations = config.abbreviations

    def refine(self, text: str, annotations: Annotations) -> Annotations:
        """``annotations`` with relations and abbreviations in place of those it had.

        Entities come back as they are.
        """
        return replace(
            annotations,
            relations=self._find(text, annotations.entities, annotations.tables),
            abbreviations=find_abbreviations(text) if self._abbreviations else {},
        )
