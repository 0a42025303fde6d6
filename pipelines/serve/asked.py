"""What a request may say. Unknown keys are errors; its text is never repeated in one.

Requests are read from JSON alone (``bodies``), whose parser refuses lone surrogates.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    Base64Bytes,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    model_validator,
)

from actors.guideline import Guideline
from pipelines.serve.offsets import OffsetUnit

_GUIDELINE_PARTS, _GUIDELINE_CHARACTERS, _DEEPEST = 4_000, 100_000, 16
_MOST_LABELS = 500
MOST_PARTS = _GUIDELINE_PARTS + 4 * _MOST_LABELS
"""Values that a request may have beside its documents."""


def _bounded(written: Any) -> Any:
    """A guideline of a size that a prompt could have, before anything walks through it."""
    parts = characters = 0
    level = [written]
    for _ in range(_DEEPEST):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below += [*value.keys(), *value.values()]
            elif isinstance(value, list):
                below += value
            elif isinstance(value, str):
                characters += len(value)
        parts += len(below)
        if parts > _GUIDELINE_PARTS or characters > _GUIDELINE_CHARACTERS:
            raise ValueError("a guideline of a request may not be so large")
        if not below:
            return written
        level = below
    raise ValueError("a guideline of a request may not be so deep")


def _few(written: Any) -> Any:
    """No more labels than a request may name, before any is looked at."""
    if isinstance(written, dict | list) and len(written) > _MOST_LABELS:
        raise ValueError(f"more than {_MOST_LABELS} labels")
    return written


def _form(given: Any) -> str:
    return "name" if isinstance(given, str) else "inline"


_Score = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
_Labels = Annotated[
    list[_Name], Field(fail_fast=True), Field(max_length=_MOST_LABELS), BeforeValidator(_few)
]
_Thresholds = Annotated[dict[str, _Score], Field(max_length=_MOST_LABELS), BeforeValidator(_few)]
_Guideline = Annotated[
    Annotated[_Name, Tag("name")] | Annotated[Guideline, BeforeValidator(_bounded), Tag("inline")],
    Discriminator(_form),
]


class _Request(BaseModel):
    # Strict: a threshold or deadline that is a string or true is a mistake, not a number.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _few_keys(cls, given: Any) -> Any:
        # Each unknown key would be an error of its own.
        if isinstance(given, dict) and len(given) > len(cls.model_fields):
            raise ValueError("more keys than this object may have")
        return given


class DocumentIn(_Request):
    """A document to read: its text, a picture of it, or where either is."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": ["text"]}, {"required": ["image"]}, {"required": ["url"]}]
        }
    )

    text: str | None = Field(
        None,
        json_schema_extra={"type": "string"},
        description="What offsets refer to, exactly as it is.",
    )
    image: Annotated[Base64Bytes, Field(strict=False)] | None = Field(
        None,
        json_schema_extra={"type": "string"},
        description="A PNG, JPEG, TIFF, WebP, BMP, GIF, PDF or DICOM file in base64.",
    )
    url: Annotated[str, StringConstraints(max_length=2_000)] | None = Field(
        None,
        json_schema_extra={"type": "string"},
        description="Where a text in UTF-8, a picture or a PDF is: only below the addresses of "
        "serve.urls. Redirects are not followed.",
    )
    id: _Name | None = Field(
        None,
        description="Unique in the request; default: its place in the list, from 0. Seeds of "
        "sampling follow from it.",
    )
    prompt: Annotated[str, StringConstraints(max_length=20_000)] | None = Field(
        None, description="A prompt of its own, for models that take one."
    )

    def id_at(self, place: int) -> str:
        """Its id, where it stands at this place of the list."""
        return str(place) if self.id is None else self.id

    @model_validator(mode="after")
    def _either(self) -> DocumentIn:
        if sum(given is not None for given in (self.text, self.image, self.url)) != 1:
            raise ValueError("give one of text, image and url")
        return self


# The first bad document is told, not each of a thousand.
_Documents = Annotated[list[DocumentIn], Field(fail_fast=True), Field(min_length=1)]


class Options(_Request):
    """What to look for in the documents of a request, and how."""

    model: _Name | None = Field(
        None, description="A name that /v1/models lists; default: the whole pipeline."
    )
    guideline: _Guideline | None = Field(
        None,
        description="What to extract, instead of the models' own guidelines: the name of one that "
        "/v1/models lists, or one inline, as in a guideline file. A language model is asked for "
        "its labels; a token classifier chooses those of its own labels that it names.",
    )
    labels: _Labels | None = Field(None, description="Only entities of these labels; default: all.")
    threshold: _Score = Field(
        0.0,
        description="Least score. An entity without a score always passes. It hides what the model "
        "file's own thresholds let through, never more.",
    )
    thresholds: _Thresholds = Field(
        default_factory=dict, description="Least score per label, instead of `threshold`."
    )
    explain: bool = Field(
        False, description="Also raw completions, reasoning and structured output of each model."
    )
    page_pictures: bool = Field(
        False,
        description="Also the first 20 pages of a picture or PDF as WebP, to draw boxes on.",
    )
    offsets: OffsetUnit = Field(
        "code_points",
        description="What `start` and `end` count in the answer: `code_points` as Python does, "
        "`utf16` units as JavaScript, Java and C# do, or `bytes` of the text in UTF-8.",
    )
    deadline_s: Annotated[float, Field(ge=0.1, le=86_400, allow_inf_nan=False)] | None = Field(
        None, description="Seconds from now after which the answer is of no use."
    )


class ExtractRequest(Options):
    """Documents, and what to look for in them. Give `documents`, or `text` for a single one."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"text": "Metformin 500 mg twice daily for type 2 diabetes."}],
            "oneOf": [{"required": ["text"]}, {"required": ["documents"]}],
        }
    )

    text: str | None = Field(
        None, json_schema_extra={"type": "string"}, description="The text of a single document."
    )
    documents: _Documents | None = Field(None, description="Documents, answered in this order.")

    @model_validator(mode="after")
    def _either(self) -> ExtractRequest:
        if (self.text is None) == (self.documents is None):
            raise ValueError("give either text or documents")
        ids = {document.id_at(place) for place, document in enumerate(self.documents or ())}
        if len(ids) != len(self.documents or ()):
            raise ValueError("two documents have the same id (without one it is the place)")
        return self
