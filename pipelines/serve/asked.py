"""What a request may say. Unknown keys are errors; its text is never repeated in one."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
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

_MOST_PARTS, _MOST_CHARACTERS, _DEEPEST = 4_000, 100_000, 16


def _writable(text: str) -> str:
    """A lone surrogate is no text: it has no UTF-8, so no answer could repeat it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("a lone surrogate is no text") from None
    return text


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
                characters += len(_writable(value))
        parts += len(below)
        if parts > _MOST_PARTS or characters > _MOST_CHARACTERS:
            raise ValueError("a guideline of a request may not be so large")
        if not below:
            return written
        level = below
    raise ValueError("a guideline of a request may not be so deep")


def _form(given: Any) -> str:
    return "name" if isinstance(given, str) else "inline"


_Text = Annotated[str, AfterValidator(_writable)]
_Score = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_Name = Annotated[_Text, StringConstraints(min_length=1, max_length=200)]
_Guideline = Annotated[
    Annotated[_Name, Tag("name")] | Annotated[Guideline, BeforeValidator(_bounded), Tag("inline")],
    Discriminator(_form),
]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DocumentIn(_Request):
    """A document to read: its text, a picture of it, or where either is."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": ["text"]}, {"required": ["image"]}, {"required": ["url"]}]
        }
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
    url: Annotated[_Text, StringConstraints(max_length=2_000)] | None = Field(
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
    prompt: Annotated[_Text, StringConstraints(max_length=20_000)] | None = Field(
        None, description="A prompt of its own, for models that take one."
    )

    @model_validator(mode="after")
    def _either(self) -> DocumentIn:
        if sum(given is not None for given in (self.text, self.image, self.url)) != 1:
            raise ValueError("give one of text, image and url")
        return self


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
    page_pictures: bool = Field(
        False,
        description="Also the first 20 pages of a picture or PDF as WebP, to draw boxes on.",
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

    text: _Text | None = Field(
        None, json_schema_extra={"type": "string"}, description="The text of a single document."
    )
    documents: Annotated[list[DocumentIn], Field(min_length=1)] | None = Field(
        None, description="Documents, answered in this order."
    )

    @model_validator(mode="after")
    def _either(self) -> ExtractRequest:
        if (self.text is None) == (self.documents is None):
            raise ValueError("give either text or documents")
        ids = [document.id for document in self.documents or () if document.id is not None]
        if len(set(ids)) != len(ids):
            raise ValueError("two documents have the same id")
        return self
