"""Which entities of which documents are exported."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from actors.spans import Entity
from pipelines.exchange.exporter import Lost
from pipelines.markup.status_words import WORDS, status_words
from pipelines.runs.results import Result

PRESENT = "present"
"""The status of an entity of the patient, now, that nothing qualifies."""
STATUSES = (PRESENT, *WORDS)


@dataclass(frozen=True, slots=True)
class Selection:
    """Filters; an empty one selects everything."""

    labels: frozenset[str] = frozenset()
    statuses: frozenset[str] = frozenset()
    """Of STATUSES; an entity needs one of them."""
    min_score: float = 0.0
    documents: frozenset[str] = frozenset()

    def apply(self, results: Iterable[Result], lost: Lost) -> Iterator[Result]:
        """The selected documents, with their selected entities and the relations among these.

        Counts in ``lost`` the entities that a filter cannot judge: without score or status.
        """
        everything = not (self.labels or self.statuses or self.min_score)
        for result in results:
            if self.documents and result.doc_id not in self.documents:
                continue
            yield result if everything else self._filtered(result, lost)

    def _filtered(self, result: Result, lost: Lost) -> Result:
        kept = [i for i, entity in enumerate(result.entities) if self._has(entity, lost)]
        place = {index: new for new, index in enumerate(kept)}
        return replace(
            result,
            entities=tuple(result.entities[index] for index in kept),
            relations=tuple(
                replace(one, head=place[one.head], tail=place[one.tail])
                for one in result.relations
                if one.head in place and one.tail in place
            ),
        )

    def _has(self, entity: Entity, lost: Lost) -> bool:
        if self.labels and entity.label not in self.labels:
            return False
        if self.statuses:
            if entity.assertion is None:
                lost["entities without a status, left out by --status"] += 1
                return False
            if not self.statuses.intersection(status_words(entity) or [PRESENT]):
                return False
        if self.min_score:
            if entity.score is None:
                lost["entities without a score, left out by --min-score"] += 1
                return False
            return entity.score >= self.min_score
        return True
