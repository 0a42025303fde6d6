"""What goes back over the wire.

An entity has the fields of the entities table, so what batch wrote and what HTTP says compare
field by field.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from actors.spans import Assertion, Code, Entity, Extraction, Section
from pipelines.serve.offsets import OffsetUnit


class _Response(BaseModel):
    model_config = ConfigDict(frozen=True)


class BoxOut(_Response):
    """A rectangle on a page, in pixels of the upright page."""

    page: int
    x0: float
    y0: float
    x1: float
    y1: float


class CueOut(_Response):
    """The words that decided one attribute of an assertion."""

    attribute: str
    rule: str
    start: int
    end: int


class AssertionOut(_Response):
    """Whether, when and for whom the text claims an entity; all false: of the patient, now."""

    negated: bool
    uncertain: bool
    hypothetical: bool
    historical: bool
    conditional: bool
    experiencer: Literal["patient", "family", "other"]
    cues: list[CueOut]

    @classmethod
    def of(cls, assertion: Assertion) -> AssertionOut:
        """The Assertion as it is sent."""
        return cls(**asdict(assertion))


class CodeOut(_Response):
    """A concept of a vocabulary; ``how``: the method that found it."""

    system: str
    code: str
    term: str
    score: float
    how: str
    parents: list[str]

    @classmethod
    def of(cls, code: Code) -> CodeOut:
        """The Code as it is sent."""
        return cls(**asdict(code))


class SectionOut(_Response):
    """A part of the document under a heading, which it begins with."""

    name: str
    start: int
    end: int
    heading_end: int
    loinc: str | None

    @classmethod
    def of(cls, section: Section) -> SectionOut:
        """The Section as it is sent."""
        return cls(**asdict(section))


class RelationOut(_Response):
    """A link between two entities of the answer, by their places in its list, from 0."""

    head: int
    tail: int
    type: str
    score: float | None
    how: str
    attributes: dict[str, str]


class EntityOut(_Response):
    """An entity: a label and a place in the text, or a flag that it has none."""

    label: str
    text: str
    start: int | None = Field(
        description="Where it begins, in the unit of the answer's `offsets`; null when ungrounded."
    )
    end: int | None = Field(description="Where it has ended; null when ungrounded.")
    score: float | None
    grounding: Literal["exact", "normalized", "fuzzy", "ungrounded"]
    boxes: list[BoxOut]
    ocr_confidence: float | None
    attributes: dict[str, str]
    model: str
    section: str | None
    assertion: AssertionOut | None = Field(
        description="Null where the pipeline has no `context`, or the entity no place."
    )
    codes: list[CodeOut]

    @classmethod
    def of(cls, entity: Entity) -> EntityOut:
        """The Entity as it is sent."""
        return cls(
            label=entity.label,
            text=entity.text,
            start=entity.start,
            end=entity.end,
            score=entity.score,
            grounding=entity.grounding.value,
            boxes=[BoxOut(page=b.page, x0=b.x0, y0=b.y0, x1=b.x1, y1=b.y1) for b in entity.boxes],
            ocr_confidence=entity.ocr_confidence,
            attributes=dict(entity.attributes),
            model=entity.model,
            section=entity.section,
            assertion=None if entity.assertion is None else AssertionOut.of(entity.assertion),
            codes=[CodeOut.of(code) for code in entity.codes],
        )


class FailureOut(_Response):
    """Why a document failed; never holds its text."""

    type: str
    message: str


class StepOut(_Response):
    """What one model did with a document. The last four are null or empty without `explain`."""

    model: str
    fingerprint: str
    status: Literal["ok", "truncated", "failed"]
    error: FailureOut | None
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    completion: str | None
    reasoning: str | None
    structured: str | None
    problems: list[str]

    @classmethod
    def of(cls, extraction: Extraction, explain: bool) -> StepOut:
        """The Extraction as it is sent, without its entities."""
        failure = extraction.failure
        return cls(
            model=extraction.model,
            fingerprint=extraction.fingerprint,
            status=extraction.status.value,
            error=FailureOut(type=failure.type, message=failure.message) if failure else None,
            prompt_tokens=extraction.usage.prompt_tokens,
            completion_tokens=extraction.usage.completion_tokens,
            seconds=extraction.usage.seconds,
            completion=extraction.completion if explain else None,
            reasoning=extraction.reasoning if explain else None,
            structured=extraction.structured if explain else None,
            problems=list(extraction.problems) if explain else [],
        )


class PageOut(_Response):
    """A page of a picture as boxes are measured on it; ``turn``: degrees clockwise that make its
    text upright. ``picture``: the page, not turned, as a smaller WebP in base64, where the request
    asked for it."""

    width: int
    height: int
    turn: int
    picture: str | None


class DocumentOut(_Response):
    """A document's answer. Its status is the worst of its steps; a failed document fails alone.

    Of a picture or an address, ``text`` is what was read, which offsets refer to; null for a
    document that came as text. ``error``: why there is none.
    """

    id: str
    status: Literal["ok", "truncated", "failed"]
    error: FailureOut | None
    text: str | None
    pages: list[PageOut]
    entities: list[EntityOut]
    sections: list[SectionOut]
    relations: list[RelationOut]
    abbreviations: dict[str, str] = Field(
        description="Short forms that the text defines, with their long forms."
    )
    steps: list[StepOut]


class StartOut(_Response):
    """The request was let in."""

    request_id: str
    model: str
    offsets: OffsetUnit = Field(description="What `start` and `end` count.")


class TextOut(_Response):
    """Further text of what a model prints of a document, in a window of it, from 0."""

    document: str
    model: str
    window: int
    text: str


class DoneOut(_Response):
    """Every document was answered."""

    seconds: float


class ExtractResponse(_Response):
    """The answer to an ExtractRequest."""

    request_id: str
    model: str
    offsets: OffsetUnit = Field(description="What `start` and `end` count.")
    documents: list[DocumentOut]
    seconds: float


class LabelOut(_Response):
    """A label and how it is drawn: inks on white and on a dark screen, and a kind of line."""

    name: str
    light: str
    dark: str
    line: str


class ReplicaOut(_Response):
    """A process with a model, and what it holds; MB are 10^6 bytes."""

    documents: int = Field(description="So many it has read.")
    memory_mb: float = Field(description="Main memory.")
    grown_mb: float = Field(description="Main memory more than after the first documents.")
    card_mb: float | None = Field(description="Of its card, as the driver says; null without one.")
    share_mb: float | None = Field(description="What it may hold of the card.")
    breaches: int = Field(description="How often it was found to hold more than its share.")


class ModelOut(_Response):
    """A name that a request may give."""

    name: str
    kind: str = Field(description="onnx, gguf, or pipeline: several models and their merge.")
    default: bool
    models: list[str] = Field(description="The models behind it.")
    labels: list[LabelOut] = Field(description="Empty where they are not known beforehand.")
    fingerprints: dict[str, str] = Field(description="Equal fingerprint, equal entities.")
    prompts: bool = Field(description="Whether documents may bring prompts of their own.")
    guideline: Literal["any", "labels", "none"] = Field(
        description="What a request's own guideline may be: any; a choice among the labels; none."
    )
    replicas: list[ReplicaOut] = Field(
        description="The processes that hold the model. Empty of a pipeline, and where not all "
        "answer at once."
    )


class GuidelineOut(_Response):
    """A guideline that a request may name."""

    name: str
    language: str
    description: str
    labels: list[LabelOut]


class LimitsOut(_Response):
    """What a request may ask."""

    body_bytes: int
    documents: int
    characters: int
    megapixels: float
    deadline_s: float
    max_deadline_s: float


class ModelsResponse(_Response):
    """What can be asked for."""

    models: list[ModelOut]
    guidelines: list[GuidelineOut]
    limits: LimitsOut
    pictures: bool = Field(description="Whether documents may be pictures.")
    urls: list[str] = Field(description="Beginnings of addresses that documents may be read from.")


class VocabularyOut(_Response):
    """A vocabulary that entities are linked to: `name` is the `system` of a code."""

    name: str
    version: str
    concepts: int
    terms: int = Field(description="Names of all its concepts.")
    link: str | None = Field(description="A page of a concept, with {code} for its code.")


class VocabulariesResponse(_Response):
    """The vocabularies behind the names that can be asked for."""

    vocabularies: list[VocabularyOut]


class Health(_Response):
    """Whether the process, or every model, answers."""

    status: Literal["ok"]


class Detail(_Response):
    """One wrong place in a request: where, and what is wrong with it. Never what it held."""

    where: str
    message: str


class ErrorOut(_Response):
    """What went wrong."""

    code: str = Field(description="For programs; the list is in the API's description.")
    message: str = Field(description="For people.")
    request_id: str
    details: list[Detail]


class ErrorResponse(_Response):
    """The body of every answer that is not a success."""

    error: ErrorOut
