"""Core value types: documents in, entities out.

All values are frozen. Offsets are Unicode code points (Python ``str`` indices) of the document's
text exactly as stored, start inclusive, end exclusive. Nothing is ever normalised in place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Grounding(StrEnum):
    """Method that found the text of an entity in its document."""

    EXACT = "exact"
    """The document has exactly these code points at [start, end)."""
    NORMALIZED = "normalized"
    """Equal after folding case, Unicode form, whitespace and typographic punctuation."""
    FUZZY = "fuzzy"
    """Similarity above the model's threshold; the span is the best match."""
    UNGROUNDED = "ungrounded"
    """Not found: the entity keeps the model's text, has no offsets, and is never dropped."""


class Status(StrEnum):
    """Outcome of a document under one model; ``severity`` orders them from best to worst."""

    OK = "ok"
    TRUNCATED = "truncated"
    FAILED = "failed"

    @property
    def severity(self) -> int:
        """0 for ok, 1 for truncated, 2 for failed."""
        return _SEVERITY[self]


def worst(statuses: Iterable[Status]) -> Status:
    """Return the worst status; OK if there are none."""
    return max(statuses, key=lambda status: status.severity, default=Status.OK)


_SEVERITY = {Status.OK: 0, Status.TRUNCATED: 1, Status.FAILED: 2}


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle on a page, in pixels of the upright page; origin top left, x1, y1 exclusive."""

    page: int
    x0: float
    y0: float
    x1: float
    y1: float

    def holds(self, box: Box) -> bool:
        """Return True if the middle of a box is in this one, edges included."""
        x, y = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
        return self.page == box.page and self.x0 <= x <= self.x1 and self.y0 <= y <= self.y1


@dataclass(frozen=True, slots=True)
class Document:
    """One document. ``text`` is what offsets refer to; ``image`` is an encoded image or PDF.

    ``prompt`` is the document's own prompt, if the source provides one. ``sections`` are those that
    its markup states, ``problems`` what of it the text does not have. ``id`` must be unique within
    a run.
    """

    id: str
    text: str | None = None
    image: bytes | None = None
    prompt: str | None = None
    sections: tuple[Section, ...] = ()
    problems: tuple[str, ...] = ()

    def content_digest(self) -> bytes:
        """BLAKE2b-128 of all that a model sees of it: documents of equal digests get equal answers.

        The id, the sections and the problems do not count.
        """
        digest = hashlib.blake2b(digest_size=16)
        for part in (self.text, self.image, self.prompt):
            if part is not None:
                part = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
                digest.update(b"%d" % len(part))
                digest.update(part)
            digest.update(b"\0")
        return digest.digest()


@dataclass(frozen=True, slots=True)
class Mention:
    """Raw model output: a label and text, not yet located in the document."""

    label: str
    text: str
    score: float | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)


class Experiencer(StrEnum):
    """The person a finding refers to."""

    PATIENT = "patient"
    FAMILY = "family"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Cue:
    """Evidence for one attribute of an assertion: text[start:end], and the id of the rule."""

    attribute: str
    rule: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Assertion:
    """Assertion status of an entity: negation, certainty, time and experiencer.

    The default (all False, PATIENT) means that the text states the entity as present for the
    patient now. ``cues`` are the evidence, at least one for each attribute that is not at its
    default; a section heading can be a cue.
    """

    negated: bool = False
    uncertain: bool = False
    hypothetical: bool = False
    historical: bool = False
    conditional: bool = False
    experiencer: Experiencer = Experiencer.PATIENT
    cues: tuple[Cue, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """A section of a document, [start, end), including its heading.

    ``name`` is the normalised name (``family_history``), ``loinc`` the LOINC code of the document
    section if it has one, ``heading_end`` the code point after the heading.
    """

    name: str
    start: int
    end: int
    heading_end: int
    loinc: str | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """``text[start:end]`` of the document, in a row and column of a table, both from 0."""

    row: int
    column: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class PageTable:
    """A table of a page, counted from 0. ``header``: its first row names the columns.

    Cells are in reading order; a place without words has none.
    """

    page: int
    rows: int
    columns: int
    header: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class FormField:
    """A field of a form on a page, counted from 0: ``text[start:end]`` is its value.

    ``name`` is the file's name of the field, else its label on the page, which is
    ``text[label_start:label_end]``; both are None if the page shows no label.
    """

    page: int
    name: str
    label_start: int | None
    label_end: int | None
    start: int
    end: int


class MarkKind(StrEnum):
    """Something on a page that is not print: a stamp, a signature, handwriting, a bar code."""

    STAMP = "stamp"
    SIGNATURE = "signature"
    HANDWRITING = "handwriting"
    BARCODE = "barcode"
    """Bar codes and two-dimensional codes such as QR; looked for where pages are covered."""


@dataclass(frozen=True, slots=True)
class PageMark:
    """A region of a page that holds one of these. ``content``: what a bar code says."""

    kind: MarkKind
    box: Box
    content: str = ""


@dataclass(frozen=True, slots=True)
class Code:
    """A vocabulary concept that an entity is linked to. ``score`` is in [0, 1].

    ``how`` names the method that found it: exact, folded, composite (one of several names that the
    mention combines), similar, embedding, abbreviation or relations.
    """

    system: str
    code: str
    term: str
    score: float
    how: str
    parents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Relation:
    """A directed link between two entities of one document, given by their indices in its list.

    ``attributes`` hold a normalised value of the tail if it can be parsed with certainty:
    ``value``, ``unit`` (UCUM), ``per_day``.
    """

    head: int
    tail: int
    type: str
    score: float | None = None
    how: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entity:
    """A grounded mention: a label with a span in the text, or flagged as ungrounded.

    Invariant: if ``start`` is not None, ``text == document.text[start:end]``; ``start`` and ``end``
    are None exactly when ``grounding`` is UNGROUNDED. ``score`` is a probability in [0, 1], or None
    if the model gives none. ``model`` is the name of the model that produced it. ``section``,
    ``assertion`` and ``codes`` are set by the refining stages; None and () mean that no such stage
    ran, or that it found none.
    """

    label: str
    text: str
    start: int | None
    end: int | None
    score: float | None = None
    grounding: Grounding = Grounding.EXACT
    attributes: Mapping[str, str] = field(default_factory=dict)
    model: str = ""
    boxes: tuple[Box, ...] = ()
    ocr_confidence: float | None = None
    section: str | None = None
    assertion: Assertion | None = None
    codes: tuple[Code, ...] = ()

    def __post_init__(self) -> None:
        # Messages carry numbers only: an entity's text is patient data.
        if (self.start is None) != (self.end is None):
            raise ValueError("an entity needs both offsets or neither")
        if (self.start is None) != (self.grounding is Grounding.UNGROUNDED):
            raise ValueError(f"grounding {self.grounding} contradicts start {self.start}")
        if self.start is not None and self.end is not None:
            if not 0 <= self.start < self.end:
                raise ValueError(f"offsets [{self.start}, {self.end}) are not a span")
            if len(self.text) != self.end - self.start:
                raise ValueError(
                    f"offsets [{self.start}, {self.end}) contradict length {len(self.text)}"
                )
        if self.score is not None and not 0.0 <= self.score <= 1.0:
            raise ValueError(f"score {self.score} is not a probability")


def utf8_error(text: str) -> str | None:
    """Return why a text cannot be encoded as UTF-8, without quoting it; None if it can."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"a lone surrogate at character {error.start} cannot be encoded"
    return None


def text_failure(text: str | None) -> Failure | None:
    """Return why a text cannot be read, without quoting it; None if it can."""
    if text is None:
        return Failure("MissingText", "there is no text")
    problem = utf8_error(text)
    return None if problem is None else Failure("InvalidText", problem)


def spanning(text: str, start: int, end: int, label: str, **fields: object) -> Entity:
    """Build the entity at ``text[start:end]``; further fields as in Entity."""
    return Entity(label=label, text=text[start:end], start=start, end=end, **fields)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Usage:
    """Cost of a document: prompt tokens, completion tokens, and model seconds attributed to it.

    ``unknown_tokens``: those of the prompt that the model's vocabulary does not have.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    unknown_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a document failed. ``message`` never holds document text."""

    type: str
    message: str


@dataclass(frozen=True, slots=True)
class TokenChoice:
    """A completion token with the most likely alternatives at its position, most likely first.

    ``logprob`` and the second value of each pair are natural logarithms of the probability among
    the tokens that the grammar allowed there. Bytes that do not form a complete character show as
    U+FFFD.
    """

    text: str
    logprob: float
    likeliest: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Extraction:
    """Everything one model extracts from one document.

    ``completion`` is the raw output of a generative model, ``reasoning`` its thinking block,
    ``structured`` its filled template as JSON. ``problems`` are parse problems reported as data,
    without document text. ``failure`` is set exactly when ``status`` is FAILED. ``copied``: it is
    the answer to another document of the same content, at no cost. ``choices`` are the completion's
    tokens with their alternatives, if the model file requests them.
    """

    document_id: str
    model: str
    fingerprint: str
    status: Status = Status.OK
    entities: tuple[Entity, ...] = ()
    failure: Failure | None = None
    completion: str | None = None
    reasoning: str | None = None
    structured: str | None = None
    problems: tuple[str, ...] = ()
    usage: Usage = field(default_factory=Usage)
    copied: bool = False
    choices: tuple[TokenChoice, ...] = ()

    def __post_init__(self) -> None:
        if (self.failure is not None) != (self.status is Status.FAILED):
            raise ValueError("`failure` must be set if and only if the status is failed")


@dataclass(frozen=True, slots=True)
class Annotations:
    """Merged results of all models for one document's text; the input and output of refining
    stages.

    ``entities`` are in the order of the entities table; a Relation refers to them by index.
    ``abbreviations`` maps a short form, as written in the text, to its long form. ``tables`` and
    ``fields`` are those of the document's pages, if it has any.
    """

    entities: tuple[Entity, ...] = ()
    sections: tuple[Section, ...] = ()
    relations: tuple[Relation, ...] = ()
    abbreviations: Mapping[str, str] = field(default_factory=dict)
    tables: tuple[PageTable, ...] = ()
    fields: tuple[FormField, ...] = ()


Refine = Callable[[str, Annotations], Annotations]
"""A stage without a model: a pure function of a document's text and its annotations. It never drops
or reorders entities."""


def unrefined(text: str, annotations: Annotations) -> Annotations:
    """Return the annotations unchanged: the no-op ``Refine``."""
    return annotations


OnText = Callable[[int, str], None]
"""Callback for text as a generative model streams it: the window index, from 0, and the next piece
of its completion. It runs on a model thread, so it must not block."""

OnProgress = Callable[[], None]
"""Called whenever the model makes progress, even if no document has finished. It runs on a model
thread, so it must not block."""


def ignore_progress() -> None:
    """The no-op ``OnProgress``."""
