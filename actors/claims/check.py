"""Ground the claims of an answer in its document, each amount near its drug."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from actors.claims.drugs import DrugNames, drug_names
from actors.claims.find import DRUG, NAME, Claim, find_claims, find_statements
from actors.claims.forms import DOSE, DURATION, FREQUENCY, QUANTITY, read_amount
from actors.config.prompt import GroundingOptions
from actors.config.relations import RelationRule
from actors.grounding import ground
from actors.relations.rules import RelationFinder
from actors.spans import Entity, Grounding, Mention, Relation, spanning

OF, ELSEWHERE, SIMILAR = "of", "elsewhere", "similar"

_EXACT = GroundingOptions(fuzzy_threshold=1.0)
_FUZZY = GroundingOptions()
_AMOUNTS = frozenset({DOSE, FREQUENCY, DURATION, QUANTITY})
_LINKS = ("for", "x", "during", "durante", "por", "pour", "pendant", "für", "trong")
_find_relations = RelationFinder(
    (
        # An amount follows its drug, or stands before it on the same line: "5 mg of amlodipine".
        RelationRule(type="dose", head=(DRUG,), tail=(DOSE,), side="after", reach=12),
        RelationRule(
            type="dose", head=(DRUG,), tail=(DOSE,), side="before", within="line", reach=4
        ),
        RelationRule(type="frequency", head=(DRUG,), tail=(FREQUENCY,), side="after", reach=16),
        RelationRule(
            type="frequency", head=(DRUG,), tail=(FREQUENCY,), side="before", within="line", reach=4
        ),
        RelationRule(
            type="duration",
            head=(DRUG,),
            tail=(DURATION,),
            side="after",
            reach=12,
            within="sentence",
            link=_LINKS,
        ),
        # As in a table or a prescription: no word links them.
        RelationRule(
            type="duration", head=(DRUG,), tail=(DURATION,), side="after", within="line", reach=2
        ),
    ),
    readings=False,
)


def check(answer: str, text: str, *, model: str = "") -> list[Entity]:
    """Return the claims of ``answer`` in order, without repeats, as entities of ``text`` or
    ungrounded.

    Attributes: ``of`` is the drug that the answer states an amount of; ``elsewhere`` marks an
    ungrounded amount that is in the text but not of that drug; ``similar`` has words of the text
    that resemble an ungrounded drug or name, or another name of the drug.
    """
    drugs = drug_names()
    claims = find_claims(answer, text, drugs)
    document = _Document(text, claims, drugs, model)
    of = _drugs_of(answer, claims)
    found: dict[tuple[object, ...], Entity] = {}
    for claim in claims:
        entity = document.grounded(claim, of.get(claim))
        same = (entity.label, entity.text, entity.start, *entity.attributes.items())
        found.setdefault(same, entity)
    return list(found.values())


def _drugs_of(text: str, claims: Sequence[Claim]) -> dict[Claim, Claim]:
    """Return the drug that each amount of a text is stated of, where it is of one."""
    entities = [spanning(text, claim.start, claim.end, claim.label) for claim in claims]
    relations = _find_relations(text, entities)
    best: dict[int, Relation] = {}
    for one in relations:
        best[one.tail] = max(best.get(one.tail, one), one, key=lambda pair: pair.score or 0.0)
    return {claims[one.tail]: claims[one.head] for one in best.values()}


class _Document:
    """The drug statements of a document, for known drugs and for those that an answer names."""

    def __init__(self, text: str, claims: Sequence[Claim], drugs: DrugNames, model: str) -> None:
        self._text = text
        self._same_drug = drugs.same
        self._model = model
        self._statements = find_statements(
            text, drugs, (claim.text for claim in claims if claim.label == DRUG)
        )
        self._of = _drugs_of(text, self._statements)
        self._amounts = {
            one: read_amount(one.label, one.text)
            for one in self._statements
            if one.label in _AMOUNTS
        }

    def grounded(self, claim: Claim, drug: Claim | None) -> Entity:
        """Return a claim as an entity of the document; ``drug`` is what it is stated of."""
        if claim.label in _AMOUNTS:
            return self._amount(claim, drug)
        [entity] = ground([Mention(claim.label, claim.text)], self._text, _EXACT, model=self._model)
        if entity.start is None and claim.label in (DRUG, NAME):
            similar = self._similar(claim)
            return replace(entity, attributes={SIMILAR: similar}) if similar else entity
        return entity

    def _amount(self, claim: Claim, drug: Claim | None) -> Entity:
        claimed = read_amount(claim.label, claim.text)
        places = [
            one
            for one, amount in self._amounts.items()
            if one.label == claim.label and amount.supports(claimed)
        ]
        attributes = {}
        if drug is not None:
            attributes[OF] = drug.text
            there = [one for one in places if self._is_of(one, drug)]
            if places and not there:
                attributes[ELSEWHERE] = "yes"
            places = there
        if not places:
            return Entity(
                claim.label,
                claim.text,
                None,
                None,
                grounding=Grounding.UNGROUNDED,
                attributes=attributes,
                model=self._model,
            )
        place = next((one for one in places if one.text == claim.text), places[0])
        exact = place.text == claim.text
        return spanning(
            self._text,
            place.start,
            place.end,
            claim.label,
            grounding=Grounding.EXACT if exact else Grounding.NORMALIZED,
            attributes=attributes,
            model=self._model,
        )

    def _is_of(self, amount: Claim, drug: Claim) -> bool:
        head = self._of.get(amount)
        return head is not None and self._same_drug(head.text, drug.text)

    def _similar(self, claim: Claim) -> str | None:
        """Return other words of the document for a drug, or words like these."""
        if claim.label == DRUG:
            for one in self._statements:
                if one.label == DRUG and self._same_drug(one.text, claim.text):
                    return one.text
        [closest] = ground([Mention(claim.label, claim.text)], self._text, _FUZZY)
        return closest.text if closest.start is not None else None
