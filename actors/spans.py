"""The words everything else is said in: documents in, entities out.

All values are frozen. Offsets are Unicode code points (Python ``str`` indices) of the document's
text exactly as stored, start inclusive, end exclusive; nothing is ever normalised in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Grounding(StrEnum):
    """How the text of an entity was found in its document."""

    EXACT = "exact"
    """The document has these very code points at [start, end)."""
    NORMALIZED = "normalized"
    """Equal after folding case, Unicode form, white space and typographic punctuation."""
    FUZZY = "fuzzy"
    """Similar above the model's threshold; the span is the best match."""
    UNGROUNDED = "ungrounded"
    """Not found: the entity keeps the model's words, has no offsets, and is never dropped."""


class Status(StrEnum):
    """What became of a document under one model; ordered from best to worst by ``severity``."""

    OK = "ok"
    TRUNCATED = "truncated"
    FAILED = "failed"

    @property
    def severity(self) -> int:
        """0 for ok, 1 for truncated, 2 for failed."""
        return _SEVERITY[self]


def worst(statuses: Iterable[Status]) -> Status:
    """The worst of some statuses; OK where there are none."""
    return max(statuses, key=lambda status: status.severity, default=Status.OK)


_SEVERITY = {Status.OK: 0, Status.TRUNCATED: 1, Status.FAILED: 2}


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle on a page: pixels of the upright page, origin top left, x1 and y1 exclusive."""

    page: int
    x0: float
    y0: float
    x1: float
    y1: float


@dataclass(frozen=True, slots=True)
class Document:
    """One document. ``text`` is what offsets refer to; ``image`` is an encoded picture or PDF.

    ``prompt`` is the document's own prompt where the source brings one. ``id`` must be unique
    within a run.
    """

    id: str
    text: str | None = None
    image: bytes | None = None
    prompt: str | None = None


@dataclass(frozen=True, slots=True)
class Mention:
    """What a model says: a label and words, not yet placed in the document."""

    label: str
    text: str
    score: float | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)


class Experiencer(StrEnum):
    """Whose finding an entity is."""

    PATIENT = "patient"
    FAMILY = "family"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Cue:
    """The words that decided one attribute of an assertion: text[start:end], and the rule's id."""

    attribute: str
    rule: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Assertion:
    """The status of an entity: whether, when and for whom the text claims it.

    All False and PATIENT: the text states it of the patient, now. ``cues`` are the evidence, one
    or more for each attribute that is not at its default; a section heading can be a cue.
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
    """A part of a document under a heading: [start, end), the heading included.

    ``name`` is the normalised name (``family_history``); ``loinc`` the code of the document
    section where there is one; ``heading_end`` the code point after the heading.
    """

    name: str
    start: int
    end: int
    heading_end: int
    loinc: str | None = None


@dataclass(frozen=True, slots=True)
class Code:
    """A concept of a vocabulary that an entity was linked to. ``score`` is in [0, 1].

    ``how``: the method that found it, such as exact, folded, abbreviation or ngram.
    """

    system: str
    code: str
    term: str
    score: float
    how: str
    parents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Relation:
    """A link between two entities of one document, by their ordinals in its list.

    ``attributes`` hold a normalised reading of the tail where it is certain: ``value``, ``unit``
    (UCUM), ``per_day``.
    """

    head: int
    tail: int
    type: str
    score: float | None = None
    how: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entity:
    """What we stand behind: a label and a place in the text, or a flag that it has none.

    Invariant: where ``start`` is not None, ``text == document.text[start:end]``; ``start`` and
    ``end`` are None exactly when ``grounding`` is UNGROUNDED. ``score`` is a probability in
    [0, 1] or None where the model gives none. ``model`` is the name of the model that said it.
    ``section``, ``assertion`` and ``codes`` are set by the stages that refine entities; None and ()
    mean that no such stage ran, or that it found none.
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
        # Messages carry numbers only: an entity's text is patients' data.
        if (self.start is None) != (self.end is None):
            raise ValueError("an entity has both offsets or none")
        if (self.start is None) != (self.grounding is Grounding.UNGROUNDED):
            raise ValueError(f"grounding {self.grounding} does not fit start {self.start}")
        if self.start is not None and self.end is not None:
            if not 0 <= self.start < self.end:
                raise ValueError(f"offsets [{self.start}, {self.end}) are no span")
            if len(self.text) != self.end - self.start:
                raise ValueError(
                    f"offsets [{self.start}, {self.end}) do not fit a text of {len(self.text)}"
                )
        if self.score is not None and not 0.0 <= self.score <= 1.0:
            raise ValueError(f"score {self.score} is no probability")


def utf8_error(text: str) -> str | None:
    """Why a text has no UTF-8, without quoting it; None where it has."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"a lone surrogate at character {error.start} is no text"
    return None


def spanning(text: str, start: int, end: int, label: str, **fields: object) -> Entity:
    """The entity at ``text[start:end]``; further fields as in Entity."""
    return Entity(label=label, text=text[start:end], start=start, end=end, **fields)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Usage:
    """What a document cost: tokens in, tokens out, and model seconds attributed to it."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a document failed. ``message`` never holds document text."""

    type: str
    message: str


@dataclass(frozen=True, slots=True)
class TokenChoice:
    """A token of a completion with the likeliest ones at its place, the likeliest first.

    ``logprob`` and the second of each pair are natural logarithms of the probability among what
    the grammar allowed there. Bytes that are no whole character show as U+FFFD.
    """

    text: str
    logprob: float
    likeliest: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Extraction:
    """All that one model says of one document.

    ``completion`` is the raw output of a generative model, ``reasoning`` its thinking block kept
    apart, ``structured`` its template as JSON. ``problems`` are parse problems as data, without
    document text. ``failure`` is set exactly when ``status`` is FAILED. ``choices``: the tokens of
    the completion with what else was likely, where the model file asks for it.
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
    choices: tuple[TokenChoice, ...] = ()

    def __post_init__(self) -> None:
        if (self.failure is not None) != (self.status is Status.FAILED):
            raise ValueError("an extraction has a failure exactly when it failed")


@dataclass(frozen=True, slots=True)
class Annotations:
    """What all models together say of one document's text, after merging: what stages refine.

    ``entities`` are in the order of the entities table; a Relation refers to their places in it.
    ``abbreviations`` maps a short form, as it stands in the text, to its long form.
    """

    entities: tuple[Entity, ...] = ()
    sections: tuple[Section, ...] = ()
    relations: tuple[Relation, ...] = ()
    abbreviations: Mapping[str, str] = field(default_factory=dict)


Refine = Callable[[str, Annotations], Annotations]
"""A stage without a model: a pure function of a document's text and its annotations. It never
drops or reorders entities."""


def unrefined(text: str, annotations: Annotations) -> Annotations:
    """A ``Refine`` that changes nothing."""
    return annotations


Tell = Callable[[int, str], None]
"""Hears what a generative model prints of a document as it comes: the window, from 0, and further
text of its completion. It runs in a thread of the model's, so it must not wait."""

Moved = Callable[[], None]
"""Hears that a model got on with what it was given, however long until a document is done. It runs
in a thread of the model's, so it must not wait."""


def unheard() -> None:
    """A ``Moved`` for where nobody listens."""
