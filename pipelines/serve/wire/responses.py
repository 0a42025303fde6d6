"""Response models.

An entity has the fields of the entities table, so batch rows and HTTP responses can be compared
field by field.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from actors.spans import (
    Assertion,
    Code,
    Entity,
    Extraction,
    FormField,
    PageMark,
    PageTable,
    Section,
)
from pipelines.offset_units import OffsetUnit


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
    """The assertion status of an entity; all false and `patient`: present in the patient now."""

    negated: bool
    uncertain: bool
    hypothetical: bool
    historical: bool
    conditional: bool
    experiencer: Literal["patient", "family", "other"]
    cues: list[CueOut]

    @classmethod
    def of(cls, assertion: Assertion) -> AssertionOut:
        """From an Assertion."""
        return cls(**asdict(assertion))


class CodeOut(_Response):
    """A concept of a vocabulary; ``how``: the method that linked it."""

    system: str
    code: str
    term: str
    score: float
    how: str
    parents: list[str]

    @classmethod
    def of(cls, code: Code) -> CodeOut:
        """From a Code."""
        return cls(**asdict(code))


class SectionOut(_Response):
    """A section of the document; it starts with its heading."""

    name: str
    start: int
    end: int
    heading_end: int
    loinc: str | None

    @classmethod
    def of(cls, section: Section) -> SectionOut:
        """From a Section."""
        return cls(**asdict(section))


class StatedSectionOut(_Response):
    """A section that the document's markup states."""

    start: int
    end: int
    heading_end: int
    loinc: str | None

    @classmethod
    def of(cls, section: Section) -> StatedSectionOut:
        """From a Section."""
        return cls(
            start=section.start,
            end=section.end,
            heading_end=section.heading_end,
            loinc=section.loinc,
        )


class CellOut(_Response):
    """A cell of a table that has text; rows and columns count from 0."""

    row: int
    column: int
    start: int
    end: int


class TableOut(_Response):
    """A table of a page; ``header``: its first row names the columns."""

    page: int
    rows: int
    columns: int
    header: bool
    cells: list[CellOut]

    @classmethod
    def of(cls, table: PageTable) -> TableOut:
        """From a PageTable."""
        return cls(**asdict(table))


class FormFieldOut(_Response):
    """A filled field of a form; its value is [start, end) of the text."""

    page: int
    name: str = Field(description="The file's name of the field, else its label on the page.")
    label_start: int | None = Field(description="Null if the page shows no label.")
    label_end: int | None
    start: int
    end: int

    @classmethod
    def of(cls, field: FormField) -> FormFieldOut:
        """From a FormField."""
        return cls(**asdict(field))


class MarkOut(_Response):
    """A region of a page that holds a stamp, a signature, handwriting or a bar code."""

    kind: Literal["stamp", "signature", "handwriting", "barcode"]
    box: BoxOut

    @classmethod
    def of(cls, mark: PageMark) -> MarkOut:
        """From a PageMark."""
        return cls(kind=mark.kind.value, box=BoxOut(**asdict(mark.box)))


class RelationOut(_Response):
    """A relation between two entities, given by their indices in the response's list."""

    head: int
    tail: int
    type: str
    score: float | None
    how: str
    attributes: dict[str, str]


class EntityOut(_Response):
    """An entity: a label with a position in the text, or flagged as ungrounded."""

    label: str
    text: str
    start: int | None = Field(
        description="Start, inclusive, in the unit of `offsets`; null if ungrounded."
    )
    end: int | None = Field(description="End, exclusive; null if ungrounded.")
    score: float | None
    grounding: Literal["exact", "normalized", "fuzzy", "ungrounded"]
    boxes: list[BoxOut]
    ocr_confidence: float | None
    attributes: dict[str, str]
    model: str
    section: str | None
    assertion: AssertionOut | None = Field(
        description="Null if the pipeline has no `context` stage or the entity is ungrounded."
    )
    codes: list[CodeOut]

    @classmethod
    def of(cls, entity: Entity) -> EntityOut:
        """From an Entity."""
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
    """Why a document failed; never contains its text."""

    type: str
    message: str


class StepOut(_Response):
    """One model's work on a document. The last four fields are empty without `explain`."""

    model: str
    fingerprint: str
    status: Literal["ok", "truncated", "failed"]
    error: FailureOut | None
    prompt_tokens: int
    unknown_tokens: int
    completion_tokens: int
    seconds: float
    completion: str | None
    reasoning: str | None
    structured: str | None
    problems: list[str]

    @classmethod
    def of(cls, extraction: Extraction, explain: bool) -> StepOut:
        """From an Extraction, without its entities."""
        failure = extraction.failure
        return cls(
            model=extraction.model,
            fingerprint=extraction.fingerprint,
            status=extraction.status.value,
            error=FailureOut(type=failure.type, message=failure.message) if failure else None,
            prompt_tokens=extraction.usage.prompt_tokens,
            unknown_tokens=extraction.usage.unknown_tokens,
            completion_tokens=extraction.usage.completion_tokens,
            seconds=extraction.usage.seconds,
            completion=extraction.completion if explain else None,
            reasoning=extraction.reasoning if explain else None,
            structured=extraction.structured if explain else None,
            problems=list(extraction.problems) if explain else [],
        )


class PageOut(_Response):
    """A page of an image or PDF.

    ``width`` and ``height``: the page's pixels, in which boxes are measured. ``turn``: clockwise
    rotation in degrees that makes the text upright. ``picture``: the unrotated page as a
    downscaled, base64-encoded WebP, if the request asked for it.
    """

    width: int
    height: int
    turn: int
    picture: str | None


class DocumentOut(_Response):
    """The result of a document. Its status is the worst of its steps; documents fail independently.

    ``text``: for images and URLs, the text that was read, which offsets refer to; null if the
    request contained the text. ``error``: why the document could not be read. ``problems``: what
    of an image, a PDF, markup or a Word document was left out or is doubtful. ``tables``,
    ``fields`` of forms and ``marks`` are those of its pages.
    """

    id: str
    status: Literal["ok", "truncated", "failed"]
    error: FailureOut | None
    text: str | None
    pages: list[PageOut]
    problems: list[str]
    tables: list[TableOut]
    fields: list[FormFieldOut]
    marks: list[MarkOut]
    entities: list[EntityOut]
    sections: list[SectionOut]
    stated_sections: list[StatedSectionOut] = Field(
        description="Those of the sections that the document's markup states; send them with the "
        "text, if you ask for it again."
    )
    relations: list[RelationOut]
    abbreviations: dict[str, str] = Field(
        description="Short forms that the text defines, mapped to their long forms."
    )
    steps: list[StepOut]


class StartOut(_Response):
    """The request was admitted."""

    request_id: str
    model: str
    offsets: OffsetUnit = Field(description="What `start` and `end` count.")


class PagesOut(_Response):
    """OCR has read ``pages`` pages of a document so far."""

    document: str
    pages: int


class TextOut(_Response):
    """A piece of a model's output for a document; ``window`` counts from 0."""

    document: str
    model: str
    window: int
    text: str


class DoneOut(_Response):
    """All documents are finished."""

    seconds: float


class ExtractResponse(_Response):
    """The response to an ExtractRequest."""

    request_id: str
    model: str
    offsets: OffsetUnit = Field(description="What `start` and `end` count.")
    documents: list[DocumentOut]
    seconds: float


class EditOut(_Response):
    """An identifier at [start, end) of the original text, and what stands in its place at
    [new_start, new_end) of the new one."""

    start: int
    end: int
    new_start: int
    new_end: int
    category: str
    policy: str


class CountOut(_Response):
    """Number of identifiers of a category replaced by a policy."""

    category: str
    policy: str
    count: int


class ResidueOut(_Response):
    """An identifier that the second look found, at [start, end) of the original text; ``by``: the
    rule, list or model."""

    start: int | None = Field(description="Null if it was read on a covered page.")
    end: int | None
    category: str
    by: str


class CoveredFileOut(_Response):
    """Pages with their identifiers covered, as a new file: pixels without text and metadata, or
    DICOM by the basic profile. A picture of several pages or frames is a TIFF."""

    kind: Literal["png", "tiff", "pdf", "dcm"]
    media_type: str
    content: str = Field(description="The file, base64-encoded.")


class DeidentifiedOut(_Response):
    """A document without its identifiers. Entities and sections have places in the new text.

    ``residue``: the second look found an identifier in the text or on the covered pages, and there
    is neither text nor file unless the configuration allows it. ``failed``: it could not be read,
    its pages could not be covered, or a model failed on it or was cut off, so that it may hold
    names that nobody found; there is neither text nor file.
    """

    id: str
    status: Literal["ok", "residue", "failed"]
    error: FailureOut | None
    text: str | None
    edits: list[EditOut]
    counts: list[CountOut]
    residue: list[ResidueOut]
    file: CoveredFileOut | None = Field(
        description="Its covered pages, if the request asked for `pages` and it has any."
    )
    entities: list[EntityOut]
    sections: list[SectionOut]
    relations: list[RelationOut]


class DeidentifyResponse(_Response):
    """The response to a DeidentifyRequest."""

    request_id: str
    model: str
    offsets: OffsetUnit = Field(description="What `start` and `end` count.")
    documents: list[DeidentifiedOut]
    seconds: float


class LabelOut(_Response):
    """A label and its rendering: colours for light and dark backgrounds, and a line style."""

    name: str
    light: str
    dark: str
    line: str


class ReplicaOut(_Response):
    """Memory use of one replica; MB are 10^6 bytes."""

    documents: int = Field(description="Documents processed.")
    memory_mb: float = Field(description="Main memory.")
    grown_mb: float = Field(description="Growth of main memory since the first documents.")
    gpu_mb: float | None = Field(
        description="GPU memory, as the driver reports it; null without a GPU."
    )
    share_mb: float | None = Field(description="Its share of the GPU's memory.")
    breaches: int = Field(description="How often it was found above its share.")


class ModelOut(_Response):
    """A model or pipeline that a request may name."""

    name: str
    kind: str = Field(description="onnx, gguf, or pipeline.")
    default: bool
    models: list[str] = Field(description="The models behind it.")
    labels: list[LabelOut] = Field(description="Empty if they are not known in advance.")
    fingerprints: dict[str, str] = Field(
        description="Per model; equal fingerprints give equal entities."
    )
    prompts: bool = Field(description="Whether documents may carry their own prompts.")
    guideline: Literal["any", "labels", "none"] = Field(
        description="Supported request guidelines: any; labels (a selection of its own); none."
    )
    replicas: list[ReplicaOut] = Field(
        description="The model's replicas. Empty for a pipeline, and if not all replicas respond "
        "in time."
    )


class GuidelineOut(_Response):
    """A guideline that a request may name."""

    name: str
    language: str
    description: str
    labels: list[LabelOut]


class LimitsOut(_Response):
    """Limits of a request."""

    body_bytes: int
    documents: int
    characters: int
    megapixels: float
    deadline_s: float
    max_deadline_s: float


class DeidentifyOfferOut(_Response):
    """What this server's /v1/deidentify can do."""

    pages: bool = Field(description="Whether images, PDFs and DICOM files can come back covered.")
    categories: list[LabelOut] = Field(description="The categories of what is taken.")


class ModelsResponse(_Response):
    """The models, pipelines and guidelines that requests may name, and the limits."""

    models: list[ModelOut]
    guidelines: list[GuidelineOut]
    limits: LimitsOut
    pictures: bool = Field(description="Whether documents may be images or PDFs.")
    deidentify: DeidentifyOfferOut | None = Field(
        description="Null if the pipeline has no `deidentify` section, or the token may not use it."
    )
    urls: list[str] = Field(description="URL prefixes that documents may be fetched from.")


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


class HealthOut(_Response):
    """Liveness or readiness."""

    status: Literal["ok"]


class Detail(_Response):
    """One invalid field of a request: its path and the rule it breaks, never its value."""

    where: str
    message: str


class ErrorOut(_Response):
    """An error."""

    code: str = Field(description="Machine-readable; the API description lists all codes.")
    message: str = Field(description="Human-readable.")
    request_id: str
    details: list[Detail]


class ErrorResponse(_Response):
    """The body of every error response."""

    error: ErrorOut
