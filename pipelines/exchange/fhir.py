"""FHIR R4: a Bundle per document, as NDJSON.

https://hl7.org/fhir/R4. A bundle holds the document (DocumentReference), a Condition,
MedicationStatement or Observation per entity with a label that maps to one, and a Provenance that
names the models. Where in the text a resource comes from stands in HL7's extension
``derivation-reference``. What the text does not assert of the patient is left out and counted: a
hypothetical or conditional entity, one of a relative, a test that was not done.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from fractions import Fraction
from typing import IO, Any
from uuid import NAMESPACE_URL, uuid5

from actors.config.relations import DRUG_LABELS, PROBLEM_LABELS, TEST_LABELS, folded
from actors.spans import Assertion, Code, Entity, Experiencer, Relation
from pipelines.exchange.exporter import ExportOptions, Lost, Offsets, count_facts
from pipelines.exchange.formats import FHIR_RESOURCES
from pipelines.exchange.omop import as_date
from pipelines.runs.results import Result

DEFAULT_RESOURCES = {
    folded(label): resource
    for labels, resource in zip(
        (PROBLEM_LABELS, DRUG_LABELS, TEST_LABELS), FHIR_RESOURCES, strict=True
    )
    for label in labels
}
"""The resource of common labels, as relations know them: without case, ``_``, ``-``, blanks."""
SYSTEMS = {
    "doid": "http://purl.obolibrary.org/obo/doid.owl",
    "hpo": "http://purl.obolibrary.org/obo/hp.owl",
    "icd10cm": "http://hl7.org/fhir/sid/icd-10-cm",
    "loinc": "http://loinc.org",
    "mondo": "http://purl.obolibrary.org/obo/mondo.owl",
    "rxnorm": "http://www.nlm.nih.gov/research/umls/rxnorm",
    "snomed": "http://snomed.info/sct",
    "umls": "http://terminology.hl7.org/CodeSystem/umls",
}
"""The URI of a code system by the name of its vocabulary."""
_UCUM = "http://unitsofmeasure.org"
_DERIVATION = "http://hl7.org/fhir/StructureDefinition/derivation-reference"
_HL7 = "http://terminology.hl7.org/CodeSystem"

_LONGEST_PERIOD = 100  # days

FhirElement = dict[str, Any]


class FhirExporter:
    """Writes a Bundle a line."""

    def __init__(self, file: IO[bytes], options: ExportOptions, lost: Lost) -> None:
        self._file, self._options, self._lost = file, options, lost
        self._resources = DEFAULT_RESOURCES | {
            folded(label): resource for label, resource in options.resources.items()
        }

    def write(self, result: Result, text: str) -> None:
        """Write the bundle of a document."""
        count_facts(result, self._lost, "sections", "scores", "boxes")
        document = _url(result.doc_id, "document")
        subject = self._subject(result)
        at = Offsets(
            text, (p for e in result.entities for p in (e.start, e.end)), self._options.unit
        )
        kinds = [self._kind(entity) for entity in result.entities]
        urls = {i: _url(result.doc_id, str(i)) for i, kind in enumerate(kinds) if kind}
        tails: dict[int, list[Relation]] = {}
        for relation in result.relations:
            tails.setdefault(relation.head, []).append(relation)
            if not kinds[relation.head] and relation.type != "unit":
                self._lost["relations of entities that are no resource"] += 1
        entries = [_entry(document, self._document(result, text, subject))]
        for index, url in urls.items():
            entity = result.entities[index]
            linked = _Linked(index, result.entities, tails, urls)
            made = _MAKE[kinds[index]](entity, self._concept(entity), subject, linked)
            resource = {
                "resourceType": kinds[index],
                "id": url.removeprefix("urn:uuid:"),
                "extension": [_derivation(entity, document, at)],
            } | made
            source = [{"reference": document}]
            if kinds[index] == "Condition":
                resource["evidence"] = [{"detail": source}]
            else:
                resource["derivedFrom"] = source
            entries.append(_entry(url, resource))
        if urls:
            entries.append(_entry(*self._provenance(result, document, urls.values())))
        bundle = {
            "resourceType": "Bundle",
            "identifier": {"system": "urn:ietf:rfc:3986", "value": document},
            "type": "collection",
            "entry": entries,
        }
        self._file.write(json.dumps(bundle, ensure_ascii=False).encode() + b"\n")

    def close(self) -> None:
        """Nothing follows the last bundle."""

    def _kind(self, entity: Entity) -> str:
        """The type of an entity's resource, or nothing; counts why."""
        kind = self._resources.get(folded(entity.label), "")
        if not kind:
            self._lost[f"entities of the label {entity.label!r} (--resource names its type)"] += 1
            return ""
        assertion = entity.assertion or Assertion()
        if assertion.experiencer is not Experiencer.PATIENT:
            self._lost["entities of a relative or another person"] += 1
        elif assertion.hypothetical or assertion.conditional:
            self._lost["hypothetical or conditional entities"] += 1
        elif assertion.negated and kind == "Observation":
            self._lost["negated tests"] += 1
        else:
            return kind
        return ""

    def _subject(self, result: Result) -> FhirElement:
        column = self._options.patient
        value = result.more[column] if column else None
        if value is None:
            self._lost["subject is not known (--patient names its column)"] += 1
            return {"display": "not known"}
        return {"type": "Patient", "identifier": {"value": str(value)}}

    def _document(self, result: Result, text: str, subject: FhirElement) -> FhirElement:
        column = self._options.date
        when = as_date(result.more[column] if column else None, result.doc_id, column)
        day = when.date() if isinstance(when, datetime) else when
        context = {"context": {"period": {"start": day.isoformat()}}} if day else {}
        return {
            "resourceType": "DocumentReference",
            "id": _url(result.doc_id, "document").removeprefix("urn:uuid:"),
            "identifier": [{"value": result.doc_id}],
            "status": "current",
            "subject": subject,
            "content": [
                {
                    "attachment": {
                        "contentType": "text/plain; charset=utf-8",
                        "data": b64encode(text.encode()).decode(),
                    }
                }
            ],
        } | context

    def _concept(self, entity: Entity) -> FhirElement:
        codings = [self._coding(code) for code in entity.codes]
        return ({"coding": codings} if codings else {}) | {"text": " ".join(entity.text.split())}

    def _coding(self, code: Code) -> FhirElement:
        system = SYSTEMS.get(code.system)
        if system is None:
            self._lost[f"codes of {code.system!r}, written without the URI of their system"] += 1
        return ({"system": system} if system else {}) | {"code": code.code, "display": code.term}

    def _provenance(self, result: Result, document: str, targets: Any) -> tuple[str, FhirElement]:
        url = _url(result.doc_id, "provenance")
        written: datetime = result.more["finished_at"]
        agents = [
            f"{self._options.system}; {step['model']} {step['fingerprint'] or ''}".rstrip()
            for step in result.more["steps"] or ()
        ]
        return url, {
            "resourceType": "Provenance",
            "id": url.removeprefix("urn:uuid:"),
            "target": [{"reference": target} for target in targets],
            "recorded": written.astimezone(UTC).isoformat(),
            "agent": [
                {
                    "type": {
                        "coding": [
                            {"system": f"{_HL7}/provenance-participant-type", "code": "assembler"}
                        ]
                    },
                    "who": {"display": agent},
                }
                for agent in agents or [self._options.system]
            ],
            "entity": [{"role": "source", "what": {"reference": document}}],
        }


class _Linked:
    """The relations of an entity."""

    def __init__(
        self,
        index: int,
        entities: tuple[Entity, ...],
        tails: Mapping[int, list[Relation]],
        urls: Mapping[int, str],
    ) -> None:
        self._index, self._entities, self._tails, self._urls = index, entities, tails, urls

    def of(self, *types: str) -> Iterator[tuple[Relation, str]]:
        """The relations of these types, with the text of their tails."""
        for one in self._tails.get(self._index, ()):
            if one.type in types:
                yield one, " ".join(self._entities[one.tail].text.split())

    def url(self, relation: Relation) -> str | None:
        """The resource of a tail, if it has one."""
        return self._urls.get(relation.tail)


def _condition(
    entity: Entity, concept: FhirElement, subject: FhirElement, linked: _Linked
) -> FhirElement:
    made: FhirElement = {"code": concept, "subject": subject}
    if sites := [{"text": words} for _, words in linked.of("body_part")]:
        made["bodySite"] = sites
    assertion = entity.assertion
    if assertion is None:
        return made
    verification = (
        "refuted" if assertion.negated else "unconfirmed" if assertion.uncertain else "confirmed"
    )
    made["verificationStatus"] = _code("condition-ver-status", verification)
    if not assertion.negated:
        clinical = "inactive" if assertion.historical else "active"
        made["clinicalStatus"] = _code("condition-clinical", clinical)
    return made


def _medication(
    entity: Entity, concept: FhirElement, subject: FhirElement, linked: _Linked
) -> FhirElement:
    assertion = entity.assertion
    status = "unknown"
    if assertion is not None and assertion.negated:
        status = "not-taken"
    elif assertion is not None and not assertion.uncertain:
        status = "completed" if assertion.historical else "active"
    made: FhirElement = {"status": status, "medicationCodeableConcept": concept, "subject": subject}
    if dosage := _dosage(linked):
        made["dosage"] = [dosage]
    reasons = list(linked.of("reason"))
    if references := [{"reference": url} for one, _ in reasons if (url := linked.url(one))]:
        made["reasonReference"] = references
    if codes := [{"text": words} for one, words in reasons if linked.url(one) is None]:
        made["reasonCode"] = codes
    return made


def _dosage(linked: _Linked) -> FhirElement:
    parts = list(linked.of("strength", "dose", "form", "route", "frequency", "duration"))
    if not parts:
        return {}
    made: FhirElement = {"text": " ".join(dict.fromkeys(words for _, words in parts))}
    for one, words in parts:
        if one.type == "route":
            made["route"] = {"text": words}
        elif one.type == "dose" and (quantity := _quantity(one)):
            made["doseAndRate"] = [{"doseQuantity": quantity}]
        elif one.type == "frequency" and "per_day" in one.attributes:
            # "0.1429" stands for 1/7
            times = Fraction(one.attributes["per_day"]).limit_denominator(_LONGEST_PERIOD)
            repeat = {"frequency": times.numerator, "period": times.denominator, "periodUnit": "d"}
            made["timing"] = {"repeat": repeat}
    return made


def _observation(
    entity: Entity, concept: FhirElement, subject: FhirElement, linked: _Linked
) -> FhirElement:
    made: FhirElement = {"status": "preliminary", "code": concept, "subject": subject}
    for one, words in linked.of("value"):
        quantity = _quantity(one)
        made |= {"valueQuantity": quantity} if quantity else {"valueString": words}
        break
    return made


def _quantity(relation: Relation) -> FhirElement:
    """A value with its UCUM unit; nothing where no number was read with certainty."""
    try:
        number = float(relation.attributes["value"])
    except (KeyError, ValueError):
        return {}
    code = relation.attributes.get("unit")
    value = int(number) if number.is_integer() else number
    return {"value": value} | ({"unit": code, "system": _UCUM, "code": code} if code else {})


_MAKE = {"Condition": _condition, "MedicationStatement": _medication, "Observation": _observation}


def _derivation(entity: Entity, document: str, at: Offsets) -> FhirElement:
    """HL7's extension for the place in a text that a resource was derived from."""
    parts: list[FhirElement] = [{"url": "reference", "valueReference": {"reference": document}}]
    parts.append({"url": "path", "valueString": "DocumentReference.content[0].attachment.data"})
    if entity.start is not None and entity.end is not None:
        start, end = at[entity.start], at[entity.end]
        parts.append({"url": "offset", "valueInteger": start})
        parts.append({"url": "length", "valueInteger": end - start})
    return {"url": _DERIVATION, "extension": parts}


def _code(system: str, code: str) -> FhirElement:
    return {"coding": [{"system": f"{_HL7}/{system}", "code": code}]}


def _url(doc_id: str, part: str) -> str:
    return f"urn:uuid:{uuid5(NAMESPACE_URL, json.dumps(['medspan', doc_id, part]))}"


def _entry(url: str, resource: FhirElement) -> FhirElement:
    return {"fullUrl": url, "resource": resource}
