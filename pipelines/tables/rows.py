"""Rows of the tables from the values of ``actors.spans``, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from actors.spans import (
    Assertion,
    Box,
    Code,
    Cue,
    Entity,
    Experiencer,
    Extraction,
    Failure,
    Grounding,
    Relation,
    Section,
    Status,
    Usage,
)

if TYPE_CHECKING:
    from actors.deidentify import Deidentified, Residue


def entity_row(entity: Entity) -> dict[str, Any]:
    """An Entity as a value of the entities table."""
    return {
        "label": entity.label,
        "text": entity.text,
        "start": entity.start,
        "end": entity.end,
        "score": entity.score,
        "grounding": entity.grounding.value,
        "boxes": [
            {"page": b.page, "x0": b.x0, "y0": b.y0, "x1": b.x1, "y1": b.y1} for b in entity.boxes
        ],
        "ocr_confidence": entity.ocr_confidence,
        "attributes": list(entity.attributes.items()),
        "model": entity.model,
        "section": entity.section,
        "assertion": None if entity.assertion is None else _assertion_row(entity.assertion),
        "codes": [_code_row(code) for code in entity.codes],
    }


def row_entity(row: dict[str, Any]) -> Entity:
    """The reverse of ``entity_row``; de-identified entities have no ``boxes``."""
    return Entity(
        label=row["label"],
        text=row["text"],
        start=row["start"],
        end=row["end"],
        score=row["score"],
        grounding=Grounding(row["grounding"]),
        attributes=dict(row["attributes"] or ()),
        model=row["model"],
        boxes=tuple(Box(**box) for box in row.get("boxes") or ()),
        ocr_confidence=row["ocr_confidence"],
        section=row["section"],
        assertion=None if row["assertion"] is None else _row_assertion(row["assertion"]),
        codes=tuple(_row_code(code) for code in row["codes"] or ()),
    )


def _assertion_row(assertion: Assertion) -> dict[str, Any]:
    return {
        "negated": assertion.negated,
        "uncertain": assertion.uncertain,
        "hypothetical": assertion.hypothetical,
        "historical": assertion.historical,
        "conditional": assertion.conditional,
        "experiencer": assertion.experiencer.value,
        "cues": [
            {"attribute": c.attribute, "rule": c.rule, "start": c.start, "end": c.end}
            for c in assertion.cues
        ],
    }


def _row_assertion(row: dict[str, Any]) -> Assertion:
    cues = tuple(Cue(**cue) for cue in row["cues"] or ())
    return Assertion(**row | {"experiencer": Experiencer(row["experiencer"]), "cues": cues})


def _code_row(code: Code) -> dict[str, Any]:
    return {
        "system": code.system,
        "code": code.code,
        "term": code.term,
        "score": code.score,
        "how": code.how,
        "parents": list(code.parents),
    }


def _row_code(row: dict[str, Any]) -> Code:
    return Code(**row | {"parents": tuple(row["parents"] or ())})


def section_row(section: Section) -> dict[str, Any]:
    """A Section as a value of the documents table's ``sections``."""
    return {
        "name": section.name,
        "start": section.start,
        "end": section.end,
        "heading_end": section.heading_end,
        "loinc": section.loinc,
    }


def row_section(row: dict[str, Any]) -> Section:
    """The reverse of ``section_row``."""
    return Section(**row)


def relation_row(relation: Relation) -> dict[str, Any]:
    """A Relation as a value of the relations table."""
    return {
        "head": relation.head,
        "tail": relation.tail,
        "type": relation.type,
        "score": relation.score,
        "how": relation.how,
        "attributes": list(relation.attributes.items()),
    }


def row_relation(row: dict[str, Any]) -> Relation:
    """The reverse of ``relation_row``."""
    return Relation(
        head=row["head"],
        tail=row["tail"],
        type=row["type"],
        score=row["score"],
        how=row["how"],
        attributes=dict(row["attributes"] or ()),
    )


def released_rows(
    done: Deidentified, on_page: Sequence[Residue] = ()
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A Deidentified as values of ``deidentified/documents`` and of ``reidentification``, but for
    ids and status. Only the latter holds places in the original: their lengths could help to guess
    a name. ``on_page``: residue that was read on covered pages, which has no place in the text."""
    edits = [
        {
            "start": edit.start,
            "end": edit.end,
            "new_start": edit.new_start,
            "new_end": edit.new_end,
            "category": edit.category.value,
            "policy": edit.policy.value,
        }
        for edit in done.map.edits
    ]
    replaced = [
        {"start": e["new_start"], "end": e["new_end"]}
        | {"category": e["category"], "policy": e["policy"]}
        for e in edits
    ]
    document = {
        "text": done.text,
        "entity_count": len(done.annotations.entities),
        "replaced": [] if done.text is None else replaced,
        "counts": [
            {"category": category.value, "policy": policy.value, "count": count}
            for (category, policy), count in sorted(done.counts.items())
        ],
        "residue": [
            {"category": one.category.value, "by": one.by} for one in (*done.residue, *on_page)
        ],
        "sections": [section_row(section) for section in done.annotations.sections],
    }
    residue = [
        {"start": one.start, "end": one.end, "category": one.category.value, "by": one.by}
        for one in done.residue_in_original
    ]
    residue += [{"category": one.category.value, "by": one.by} for one in on_page]
    return document, {"edits": edits, "residue": residue}


def extraction_row(extraction: Extraction) -> dict[str, Any]:
    """An Extraction as a value of EXTRACTION."""
    failure = extraction.failure
    return {
        "step": {
            "model": extraction.model,
            "status": extraction.status.value,
            "error_type": failure.type if failure else "",
            "error_message": failure.message if failure else "",
            "completion": extraction.completion,
            "reasoning": extraction.reasoning,
            "structured": extraction.structured,
            "problems": list(extraction.problems),
            "prompt_tokens": extraction.usage.prompt_tokens,
            "unknown_tokens": extraction.usage.unknown_tokens,
            "completion_tokens": extraction.usage.completion_tokens,
            "seconds": extraction.usage.seconds,
            "fingerprint": extraction.fingerprint,
            "copied": extraction.copied,
        },
        "entities": [entity_row(entity) for entity in extraction.entities],
    }


def row_extraction(row: dict[str, Any], document_id: str) -> Extraction:
    """The reverse of ``extraction_row``."""
    step = row["step"]
    status = Status(step["status"])
    failed = status is Status.FAILED
    return Extraction(
        document_id=document_id,
        model=step["model"],
        fingerprint=step["fingerprint"],
        status=status,
        entities=tuple(row_entity(entity) for entity in row["entities"]),
        failure=Failure(step["error_type"], step["error_message"]) if failed else None,
        completion=step["completion"],
        reasoning=step["reasoning"],
        structured=step["structured"],
        problems=tuple(step["problems"]),
        usage=Usage(
            step["prompt_tokens"],
            step["completion_tokens"],
            step["seconds"],
            step["unknown_tokens"],
        ),
        copied=step["copied"],
    )
