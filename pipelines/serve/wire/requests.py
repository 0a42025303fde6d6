"""Request models. Unknown keys are errors, and no error repeats the request's text.

Requests are parsed from JSON only (``bodies``); that parser rejects lone surrogates.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from actors.spans import Section
from pipelines.offset_units import OffsetUnit, code_points
from pipelines.text.markup.line_layout import OTHER

_GUIDELINE_PARTS, _GUIDELINE_CHARACTERS, _DEEPEST = 4_000, 100_000, 16
_MOST_LABELS = 500
_MOST_NAMES = 50
_MOST_SECTIONS = 2_000
MOST_PARTS = _GUIDELINE_PARTS + 4 * _MOST_LABELS + 5 * _MOST_SECTIONS
"""Maximum number of JSON values in a request apart from its documents, but with their sections."""


def _bounded(written: Any) -> Any:
    """Bound the size and depth of an inline guideline before it is validated."""
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
            raise ValueError("the inline guideline is too large")
        if not below:
            return written
        level = below
    raise ValueError("the inline guideline is nested too deeply")


def _few(written: Any) -> Any:
    """Bound the number of labels before any is validated."""
    if isinstance(written, dict | list) and len(written) > _MOST_LABELS:
        raise ValueError(f"more than {_MOST_LABELS} labels")
    return written


def _form(value: Any) -> str:
    return "name" if isinstance(value, str) else "inline"


_Deadline = Annotated[
    Annotated[float, Field(ge=0.1, le=86_400, allow_inf_nan=False)] | None,
    Field(description="Deadline in seconds from now; later answers are discarded."),
]
_Offsets = Annotated[
    OffsetUnit,
    Field(
        description="Unit of offsets in the response: `code_points` (Python), `utf16` code units "
        "(JavaScript, Java, C#) or UTF-8 `bytes`."
    ),
]
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
    # Strict: a string or boolean as threshold or deadline is an error.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _few_keys(cls, value: Any) -> Any:
        # Otherwise each unknown key would produce an error of its own.
        if isinstance(value, dict) and len(value) > len(cls.model_fields):
            raise ValueError("too many keys")
        return value


class SectionIn(_Request):
    """A section that the document's markup states. Offsets are in the unit of `offsets`."""

    start: int = Field(description="Start of its heading.")
    end: int
    heading_end: int = Field(description="End of its heading; `start` if it has none.")
    loinc: _Name | None = Field(None, description="LOINC code of the section.")


class DocumentIn(_Request):
    """A document: its text, an image of it, or a URL of either."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": ["text"]}, {"required": ["image"]}, {"required": ["url"]}]
        }
    )

    text: str | None = Field(
        None,
        json_schema_extra={"type": "string"},
        description="The text, which offsets refer to exactly as sent.",
    )
    image: Annotated[Base64Bytes, Field(strict=False)] | None = Field(
        None,
        json_schema_extra={"type": "string"},
        description="A PNG, JPEG, TIFF, WebP, BMP, GIF, HEIC, AVIF, JPEG 2000, PDF or DICOM file, "
        "base64-encoded.",
    )
    url: Annotated[str, StringConstraints(max_length=2_000)] | None = Field(
        None,
        json_schema_extra={"type": "string"},
        description="URL of any file that an upload may be, under a prefix of serve.urls. "
        "Redirects are not followed.",
    )
    id: _Name | None = Field(
        None,
        description="Unique in the request; default: the index in the list, from 0. Sampling seeds "
        "are derived from it.",
    )
    prompt: Annotated[str, StringConstraints(max_length=20_000)] | None = Field(
        None, description="Prompt for this document, for models that take prompts."
    )
    sections: Annotated[list[SectionIn], Field(fail_fast=True, max_length=_MOST_SECTIONS)] = Field(
        default_factory=list,
        description="Sections that the markup states from which the client has this `text`, in its "
        "order: `stated_sections` of an earlier answer, for example.",
    )

    def id_at(self, place: int) -> str:
        """The id, or the index in the list if it has none."""
        return str(place) if self.id is None else self.id

    @model_validator(mode="after")
    def _either(self) -> DocumentIn:
        if sum(source is not None for source in (self.text, self.image, self.url)) != 1:
            raise ValueError("give exactly one of text, image and url")
        if self.sections and self.text is None:
            raise ValueError("sections need a text")
        return self

    def stated_sections(self, unit: OffsetUnit) -> tuple[Section, ...]:
        """Its sections in code points. Raises ValueError where they are not in the text or not in
        order; the message holds numbers only."""
        ends = (end for one in self.sections for end in (one.start, one.end, one.heading_end))
        places = code_points(self.text or "", ends, unit)
        after = 0
        for one in self.sections:
            if not after <= one.start <= one.heading_end <= one.end or one.start == one.end:
                raise ValueError(f"sections are not in order at {one.start}")
            after = one.end
        return tuple(
            Section(OTHER, places[one.start], places[one.end], places[one.heading_end], one.loinc)
            for one in self.sections
        )


# Report only the first invalid document, not each of a thousand.
_Documents = Annotated[list[DocumentIn], Field(fail_fast=True), Field(min_length=1)]


class RequestOptions(_Request):
    """Extraction options of a request."""

    model: _Name | None = Field(
        None, description="A model or pipeline from /v1/models; default: the whole pipeline."
    )
    guideline: _Guideline | None = Field(
        None,
        description="Overrides the models' guidelines: a name from /v1/models, or an inline "
        "guideline in the format of a guideline file. A language model extracts its labels; a "
        "token classifier can only select among its own labels.",
    )
    labels: _Labels | None = Field(
        None, description="Return only entities with these labels; default: all."
    )
    threshold: _Score = Field(
        0.0,
        description="Minimum score. Entities without a score always pass. It filters in addition "
        "to the thresholds of the model file.",
    )
    thresholds: _Thresholds = Field(
        default_factory=dict, description="Minimum score per label; overrides `threshold`."
    )
    explain: bool = Field(
        False, description="Include each model's raw completion, reasoning and structured output."
    )
    page_pictures: bool = Field(
        False,
        description="Include the first 20 pages of an image or PDF as WebP, to draw boxes on.",
    )
    offsets: _Offsets = "code_points"
    deadline_s: _Deadline = None


class ExtractRequest(RequestOptions):
    """Documents and extraction options. Give `documents`, or `text` for a single document."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"text": "Metformin 500 mg twice daily for type 2 diabetes."}],
            "oneOf": [{"required": ["text"]}, {"required": ["documents"]}],
        }
    )

    text: str | None = Field(
        None, json_schema_extra={"type": "string"}, description="The text of a single document."
    )
    documents: _Documents | None = Field(None, description="Documents, answered in the same order.")

    @model_validator(mode="after")
    def _either(self) -> ExtractRequest:
        _check_documents(self.text, self.documents, self.offsets)
        return self


_Patient = Annotated[
    _Name | None,
    Field(
        description="The patient's id: all documents of a patient share surrogates and date shift. "
        "Default: the document's id, and without one its content."
    ),
]
_Names = Annotated[list[_Name], Field(max_length=_MOST_NAMES)]
_NAMES = (
    "Names of the patient, relatives or staff: every mention of them is taken, whatever its form."
)


class PatientDocumentIn(DocumentIn):
    """A document to de-identify."""

    patient: _Patient = None
    names: _Names = Field(default_factory=list, description=_NAMES)


_PatientDocuments = Annotated[list[PatientDocumentIn], Field(fail_fast=True), Field(min_length=1)]


class DeidentifyOptions(_Request):
    """Options of de-identification. What is replaced, and how, is decided by the server's
    pipeline."""

    pages: bool | None = Field(
        None,
        json_schema_extra={"type": "boolean"},
        description="Also return every image, PDF and DICOM file with its identifiers covered. "
        "Default: `deidentify.pages` of the server's pipeline.",
    )
    offsets: _Offsets = "code_points"
    deadline_s: _Deadline = None

    @property
    def options(self) -> RequestOptions:
        """The options of the extraction that comes first."""
        return RequestOptions(offsets=self.offsets, deadline_s=self.deadline_s)


class DeidentifyRequest(DeidentifyOptions):
    """Documents to de-identify. Give `documents`, or `text` for a single document.

    What is replaced, and how, is decided by the server's pipeline.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"documents": [{"text": "Mr. Smith was seen on 3 May 2024.", "patient": "4471"}]}
            ],
            "oneOf": [{"required": ["text"]}, {"required": ["documents"]}],
        }
    )

    text: str | None = Field(
        None, json_schema_extra={"type": "string"}, description="The text of a single document."
    )
    documents: _PatientDocuments | None = Field(
        None, description="Documents, answered in the same order."
    )

    @model_validator(mode="after")
    def _either(self) -> DeidentifyRequest:
        _check_documents(self.text, self.documents, self.offsets)
        return self


class DeidentifyUploadOptions(DeidentifyOptions):
    """The `options` of uploaded files to de-identify, which are all of one patient."""

    patient: _Patient = None
    names: _Names = Field(default_factory=list, description=_NAMES)


def _check_documents(
    text: str | None, documents: Sequence[DocumentIn] | None, unit: OffsetUnit
) -> None:
    if (text is None) == (documents is None):
        raise ValueError("give either text or documents")
    ids = {document.id_at(place) for place, document in enumerate(documents or ())}
    if len(ids) != len(documents or ()):
        raise ValueError("two documents have the same id (the default id is the index)")
    for document in documents or ():
        document.stated_sections(unit)
