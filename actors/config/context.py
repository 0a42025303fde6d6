"""Sections and status: which languages, the user's own cues and headings, and label filters.

``CueRule`` is also what the shipped lexicons are made of, so a user's rule can do whatever theirs
can.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from actors.config.base import ConfigSection
from actors.config.onnx import FolderWeights

LexiconLanguage = Literal["en", "vi", "es", "fr", "de"]
Attribute = Literal["negated", "uncertain", "hypothetical", "historical", "conditional"]
Effect = Literal[
    "negated", "uncertain", "hypothetical", "historical", "conditional", "family", "other",
    "pseudo", "stop",
]  # fmt: skip

StatusName = Literal[
    "negated", "uncertain", "hypothetical", "historical", "conditional", "family", "other"
]  # fmt: skip
"""The statuses of an entity other than present."""

_PUBLISHED_LABELS: dict[str, tuple[StatusName, ...]] = {
    "PRESENT": (),
    "ABSENT": ("negated",),
    "POSSIBLE": ("uncertain",),
}
_STATED_VALUES: dict[str, tuple[StatusName, ...]] = {
    "present": (),
    "absent": ("negated",),
    "negated": ("negated",),
    "possible": ("uncertain",),
    "uncertain": ("uncertain",),
    "hypothetical": ("hypothetical",),
    "historical": ("historical",),
    "conditional": ("conditional",),
    "family": ("family",),
    "associated_with_someone_else": ("other",),
}

Phrase = Annotated[str, Field(min_length=1, max_length=1000)]


class CueRule(ConfigSection):
    """Words that decide an attribute of the entities in their scope."""

    id: str = Field(
        min_length=1, description="Recorded with every cue of this rule in the results."
    )
    effect: Effect = Field(
        description="The attribute that is set; family and other set the experiencer. pseudo: the "
        "words are no cue, whatever cues they contain. stop: the words end scopes."
    )
    direction: Literal["forward", "backward", "both"] = Field(
        "forward", description="The side of the words on which their scope lies."
    )
    cues: tuple[Phrase, ...] = Field(
        (),
        description="Phrases in any case. (a|b) is a choice, [a] may be absent: "
        "'no [clear] (sign|signs) of'.",
    )
    patterns: tuple[Phrase, ...] = Field(
        (),
        description="Regular expressions over the lower-cased text, for cues that are not "
        "fixed words.",
    )
    reach: int | None = Field(
        None, ge=0, description="Maximum words between cue and entity; default: the whole clause."
    )
    whole: bool = Field(
        False,
        description="Only the end of the clause ends the scope, as after `suggests that`, and the "
        "stops that say so.",
    )
    phrase: bool = Field(
        False,
        description="A comma, colon or bracket ends the scope, too, as after `rather than`.",
    )
    ends: tuple[Effect | Literal["phrase", "whole"], ...] = Field(
        (),
        description="Of a stop: the effects whose scopes end here, and phrase or whole for the "
        "scopes of such rules; default: all effects.",
    )

    @model_validator(mode="after")
    def _checked(self) -> Self:
        if not self.cues and not self.patterns:
            raise ValueError(f"rule {self.id!r} has neither cues nor patterns")
        if self.ends and self.effect != "stop":
            raise ValueError(f"rule {self.id!r}: `ends` belongs to a rule whose effect is stop")
        if self.whole and self.phrase:
            raise ValueError(f"rule {self.id!r}: a scope is `whole` or a `phrase`, not both")
        for pattern in self.patterns:
            try:
                compiled = re.compile(pattern)
            except re.error as error:
                raise ValueError(f"rule {self.id!r}: {pattern!r} is not a valid regex") from error
            if compiled.groups:
                raise ValueError(f"rule {self.id!r}: {pattern!r} must not capture; use (?:...)")
            if compiled.match("") is not None:
                raise ValueError(f"rule {self.id!r}: {pattern!r} matches the empty text")
        return self


class EntityFilter(ConfigSection):
    """Restrict entities of some labels to certain sections or statuses."""

    labels: tuple[str, ...] = Field(
        min_length=1,
        description="The labels that this applies to; DRUG also covers DRUG.name and the like.",
    )
    only: tuple[str, ...] = Field((), description="Keep them only in these sections.")
    never: tuple[str, ...] = Field((), description="Drop them in these sections.")
    only_status: tuple[StatusName | Literal["present"], ...] = Field(
        (),
        description="Keep them only if all their attributes are among these; present: no "
        "attributes.",
    )
    never_status: tuple[StatusName | Literal["present"], ...] = Field(
        (), description="Drop them if they have any of these."
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = (self.only, self.never, self.only_status, self.never_status)
        if sum(map(bool, given)) != 1:
            raise ValueError("a filter has one of `only`, `never`, `only_status`, `never_status`")
        return self


class AssertionClassifier(ConfigSection):
    """A sequence classifier of the status of a marked entity, in place of rules."""

    weights: FolderWeights = Field(
        description="A folder with the ONNX model, config.json and tokenizer.json, as optimum "
        "exports a model for text classification."
    )
    marks: tuple[str, str] = Field(
        ("[entity]", "[entity]"),
        description="The markers before and after the entity in the classified sentence.",
    )
    labels: dict[str, tuple[StatusName, ...]] = Field(
        default=_PUBLISHED_LABELS,
        description="The attributes that each label of the model means; [] is present. The model "
        "alone decides the attributes that occur here; rules decide the others.",
    )
    batch_tokens: int = Field(
        1024, ge=64, description="Tokens per batch, padding included. It runs on one CPU thread."
    )

    RUNNING = frozenset({"weights", "batch_tokens"})


class StatedStatus(ConfigSection):
    """An attribute in which a language model states the status of an entity."""

    attribute: str = Field(
        "status", description="The attribute: an enum beside the entity in a guideline's object."
    )
    values: dict[str, tuple[StatusName, ...]] = Field(
        default=_STATED_VALUES,
        description="The attributes that each value means; [] is present. An entity with another "
        "value, or none, gets its status by rules.",
    )


class Context(ConfigSection):
    """Sections of a document, and the status of each entity."""

    languages: tuple[LexiconLanguage, ...] = Field(
        ("en", "vi", "es", "fr", "de"),
        min_length=1,
        description="The languages of the documents. Of several, the one with the most function "
        "words in the document is used; if that is undecided, as in a few words, the one whose "
        "spelling fits best, with some preference for the first.",
    )
    labels: tuple[str, ...] = Field(
        (), description="Give only these labels a status; empty means all."
    )
    rules: tuple[CueRule, ...] = Field(
        (),
        description="Your own rules, in addition to those of the language; a rule with the "
        "same phrase replaces it.",
    )
    without: tuple[str, ...] = Field((), description="Ids of included rules to disable.")
    headings: dict[str, tuple[Phrase, ...]] = Field(
        default_factory=dict,
        description="Your own headings by section name; the name may be new.",
    )
    implied: dict[str, tuple[Effect, ...]] | None = Field(
        None,
        description="The attributes that a section implies for its entities, such as "
        "{family_history: [family]}; replaces the default.",
    )
    classifier: AssertionClassifier | None = Field(
        None, description="A model that decides the status of each entity, in place of rules."
    )
    stated: StatedStatus | None = Field(
        None, description="Use the status that a language model returns, instead of rules."
    )
    filters: tuple[EntityFilter, ...] = Field(
        (), description="Drop entities by label and section or status; none by default."
    )
