"""What goes over the wire. Unknown keys of a request are errors; its text is never repeated in one.

An entity has the fields of the entities table, so what batch wrote and what HTTP says compare
field by field.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    Base64Bytes,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from actors.spans import Entity, Extraction


def _writable(text: str) -> str:
    """A lone surrogate is no text: it has no UTF-8, so no answer could repeat it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("a lone surrogate is no text") from None
    return text


_Text = Annotated[str, AfterValidator(_writable)]
_Score = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_Name = Annotated[_Text, StringConstraints(min_length=1, max_length=200)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Response(BaseModel):
    model_config = ConfigDict(frozen=True)


class DocumentIn(_Request):
    """A document to read: its text, or a picture of it."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["text"]}, {"required": ["image"]}]}
    )

    text: _Text | None = Field(
        None,
        json_schema_extra={"type": "string"},
        description="What offsets refer to, exactly as it is.",
    )
    image: Base64Bytes | None = Field(
        None,
        json_schema_extra={"type": "string"},
        description="A PNG, JPEG, TIFF, WebP, BMP, GIF, PDF or DICOM file in base64.",
    )
    id: _Name | None = Field(
        None,
        description="Unique in the request; default: its place in the list, from 0. Seeds of "
        "sampling follow from it.",
    )
    prompt: Annotated[_Text, StringConstraints(max_length=20_000)] | None = Field(
        None, description="A prompt of its own, for models that take one."
    )

    @model_validator(mode="after")
    def _either(self) -> DocumentIn:
        if (self.text is None) == (self.image is None):
            raise ValueError("give either text or image")
        return self


class ExtractRequest(_Request):
    """Documents, and what to look for in them. Give `documents`, or `text` for a single one."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"text": "Metformin 500 mg twice daily for type 2 diabetes."}],
            "oneOf": [{"required": ["text"]}, {"required": ["documents"]}],
        }
    )

    text: _Text | None = Field(
        None, json_schema_extra={"type": "string"}, description="The text of a single document."
    )
    documents: Annotated[list[DocumentIn], Field(min_length=1)] | None = Field(
        None, description="Documents, answered in this order."
    )
    model: _Name | None = Field(
        None, description="A name that /v1/models lists; default: the whole pipeline."
    )
    labels: Annotated[list[_Name], Field(max_length=500)] | None = Field(
        None, description="Only entities of these labels; default: all."
    )
    threshold: _Score = Field(
        0.0,
        description="Least score. An entity without a score always passes. It hides what the model "
        "file's own thresholds let through, never more.",
    )
    thresholds: dict[str, _Score] = Field(
        default_factory=dict, description="Least score per label, instead of `threshold`."
    )
    explain: bool = Field(
        False, description="Also raw completions, reasoning and structured output of each model."
    )
    deadline_s: Annotated[float, Field(ge=0.1, le=86_400, allow_inf_nan=False)] | None = Field(
        None, description="Seconds from now after which the answer is of no use."
    )

    @model_validator(mode="after")
    def _either(self) -> ExtractRequest:
        if (self.text is None) == (self.documents is None):
            raise ValueError("give either text or documents")
        ids = [document.id for document in self.documents or () if document.id is not None]
        if len(set(ids)) != len(ids):
            raise ValueError("two documents have the same id")
        return self


class BoxOut(_Response):
    """A rectangle on a page, in pixels of the upright page."""

    page: int
    x0: float
    y0: float
    x1: float
    y1: float


class EntityOut(_Response):
    """An entity: a label and a place in the text, or a flag that it has none."""

    label: str
    text: str
    start: int | None = Field(description="First code point; null when ungrounded.")
    end: int | None = Field(description="Code point after the last; null when ungrounded.")
    score: float | None
    grounding: Literal["exact", "normalized", "fuzzy", "ungrounded"]
    boxes: list[BoxOut]
    ocr_confidence: float | None
    attributes: dict[str, str]
    model: str

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
    text upright."""

    width: int
    height: int
    turn: int


class DocumentOut(_Response):
    """A document's answer. Its status is the worst of its steps; a failed document fails alone.

    Of a picture, ``text`` is what was read, which offsets refer to; null for a document that came
    as text. ``error``: why a picture could not be read.
    """

    id: str
    status: Literal["ok", "truncated", "failed"]
    error: FailureOut | None
    text: str | None
    pages: list[PageOut]
    entities: list[EntityOut]
    steps: list[StepOut]


class ExtractResponse(_Response):
    """The answer to an ExtractRequest."""

    request_id: str
    model: str
    documents: list[DocumentOut]
    seconds: float


class LabelOut(_Response):
    """A label and how it is drawn: inks on white and on a dark screen, and a kind of line."""

    name: str
    light: str
    dark: str
    line: str


class ModelOut(_Response):
    """A name that a request may give."""

    name: str
    kind: str = Field(description="onnx, gguf, or pipeline: several models and their merge.")
    default: bool
    models: list[str] = Field(description="The models behind it.")
    labels: list[LabelOut] = Field(description="Empty where they are not known beforehand.")
    fingerprints: dict[str, str] = Field(description="Equal fingerprint, equal entities.")
    prompts: bool = Field(description="Whether documents may bring prompts of their own.")


class LimitsOut(_Response):
    """What a request may ask."""

    body_bytes: int
    documents: int
    characters: int
    deadline_s: float
    max_deadline_s: float


class ModelsResponse(_Response):
    """What can be asked for."""

    models: list[ModelOut]
    limits: LimitsOut
    pictures: bool = Field(description="Whether documents may be pictures.")


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
