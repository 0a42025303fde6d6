"""All detectors together: rules, lists, models, and other mentions of what they found."""

from __future__ import annotations

from collections.abc import Iterable

from actors.config.deidentify import Category, Deidentify
from actors.deidentify.address_gaps import between_parts
from actors.deidentify.ages import find_ages
from actors.deidentify.dates import Dates
from actors.deidentify.demographics import find_demographics
from actors.deidentify.findings import Finding, FindingIndex, Strength, disjoint, without_weaker
from actors.deidentify.identifiers import Identifiers
from actors.deidentify.labelled_fields import find_fields
from actors.deidentify.name_mentions import Mentions, Terms
from actors.deidentify.names import Names
from actors.deidentify.places import PlaceFinder
from actors.spans import Entity


class Detector:
    """Finds the identifiers of a text that a configuration does not keep."""

    def __init__(self, config: Deidentify) -> None:
        self._config = config
        self._identifiers = Identifiers(config.countries)
        self._dates = Dates(config.languages)
        self._names = Names(config.languages)
        self._places = PlaceFinder(config.languages)
        self._terms = Terms(config.read_lists())

    def find(
        self,
        text: str,
        entities: Iterable[Entity] = (),
        known_names: Iterable[str] = (),
        others: Iterable[Finding] = (),
        *,
        gaps: bool = True,
    ) -> list[Finding]:
        """The identifiers to take, disjoint and in order.

        ``entities``: entities that models found in this text; labels of no category are ignored.
        ``known_names``: names from elsewhere to find here too, such as those of the same patient's
        other documents. ``others``: what else is to be taken. ``gaps``: take what stands between
        the parts of an address, too.
        """
        findings = without_weaker([*self._by_rules(text), *self.of_models(entities)])
        names = [text[f.start : f.end] for f in findings if f.category is Category.NAME]
        if self._config.takes(Category.NAME):
            findings += Mentions([*names, *known_names]).find(text)
        if gaps:
            findings += between_parts(text, disjoint(text, findings))
        return disjoint(text, [*self._to_take(findings), *others])

    def _by_rules(self, text: str) -> Iterable[Finding]:
        yield from self._identifiers.find(text)
        dates = list(self._dates.find(text))
        yield from dates
        # "visit 3/4/2020" names no visit.
        sure = FindingIndex(date for date in dates if date.strength > Strength.SHAPE)
        for field in find_fields(text):
            if not any(sure.overlapping(field.start, field.end)):
                yield field
        yield from find_ages(text)
        yield from find_demographics(text)
        yield from self._names.find(text)
        yield from self._places.find(text)
        yield from self._terms.find(text)

    def of_models(self, entities: Iterable[Entity]) -> Iterable[Finding]:
        """Yield the findings of models, except for labels that are not identifiers or are kept."""
        for entity in entities:
            category = self._config.category(entity.label)
            if category is None or entity.start is None or entity.end is None:
                continue
            if entity.score is None or entity.score >= self._config.threshold:
                by = entity.model or "model"
                yield Finding(entity.start, entity.end, category, by, Strength.MODEL)

    def _to_take(self, findings: Iterable[Finding]) -> list[Finding]:
        return [f for f in findings if self._config.takes(f.category)]
