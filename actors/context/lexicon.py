"""A language's cues, read from YAML, checked, and compiled to one automaton.

The shipped lexicons lie in ``lexicons/``: ``<language>.yaml`` holds the cues, ``sections.yaml`` the
headings of all languages.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints, TypeAdapter, model_validator

from actors.config import ConfigError, ConfigSection, read_yaml
from actors.config.context import Context, CueRule, Effect, LexiconLanguage, Phrase
from actors.config.load import validate
from actors.context.phrases import spellings, written_out
from actors.context.scan import CueScanner, Rule

LONGEST_ITEM = 6
"""Words of an item of an enumeration; more are a clause."""

LONGEST_LAST = 9
"""Words of an item with what belongs to it, such as where and since when."""

FOLDER = Path(__file__).parent / "lexicons"


class LexiconFile(ConfigSection):
    """Schema of the lexicon file of one language."""

    language: LexiconLanguage
    function_words: tuple[Phrase, ...] = Field(
        min_length=10, description="Frequent words by which the language is recognised."
    )
    words: tuple[Phrase, ...] = Field(
        (),
        description="Usual words of short texts. By their spelling and that of cues and headings "
        "the language of a text without function words is recognised.",
    )
    unaccented: bool = Field(
        False, description="Texts of this language may leave accents out; match both."
    )
    titles: tuple[str, ...] = Field(
        (), description="Words whose full stop never ends a sentence, such as titles."
    )
    abbreviations: tuple[str, ...] = Field(
        (), description="Words whose full stop ends a sentence only where a new one begins."
    )
    openers: tuple[str, ...] = Field(
        (),
        description="First words of a clause that the main clause follows after a comma, as in "
        "`although there was no fever, he coughed`.",
    )
    joiners: tuple[str, ...] = Field(
        (), description="Words between the last two items of a negated enumeration."
    )
    acronyms: tuple[str, ...] = Field(
        (),
        description="Cues in capitals that are no cues where a document has them in brackets, as "
        "`nitric oxide (NO)` does.",
    )
    rules: tuple[CueRule, ...]

    @model_validator(mode="after")
    def _ids_differ(self) -> LexiconFile:
        ids = [rule.id for rule in self.rules]
        twice = sorted({one for one in ids if ids.count(one) > 1})
        if twice:
            raise ValueError(f"duplicate rule ids: {', '.join(twice)}")
        return self


class SectionEntry(ConfigSection):
    """One kind of section: its code, what it implies, and its headings by language."""

    loinc: Annotated[str, StringConstraints(pattern=r"^\d{1,7}-\d$")] | None = None
    implies: tuple[Effect, ...] = ()
    headings: dict[LexiconLanguage, tuple[Phrase, ...]]


class SectionsFile(ConfigSection):
    """Schema of ``sections.yaml``: entries by normalised section name."""

    sections: dict[Annotated[str, StringConstraints(pattern=r"^[a-z][a-z_]*$")], SectionEntry]


_LEXICON = TypeAdapter(LexiconFile)
_SECTIONS = TypeAdapter(SectionsFile)


@dataclass(frozen=True, slots=True)
class Lexicon:
    """The compiled cues of one language."""

    language: LexiconLanguage
    scanner: CueScanner
    titles: frozenset[str]
    abbreviations: frozenset[str]
    openers: frozenset[str]
    joiners: frozenset[str]
    acronyms: tuple[str, ...]

    def is_item(self, text: str) -> bool:
        """True if the text between two commas may be an item, or two, of an enumeration."""
        words = text.split()
        if len(words) <= LONGEST_LAST:
            return True
        joined = (at for at, word in enumerate(words) if word.lower() in self.joiners)
        return next(joined, len(words)) <= LONGEST_LAST


@cache
def lexicon_file(language: LexiconLanguage) -> LexiconFile:
    """The shipped lexicon of a language; raises ConfigError that names the file and the key."""
    return read_lexicon(FOLDER / f"{language}.yaml")


def read_lexicon(path: Path) -> LexiconFile:
    """A lexicon in a file; raises ConfigError that names the file and the wrong key."""
    return validate(_LEXICON, read_yaml(path), path)


@cache
def sections_file() -> SectionsFile:
    """The shipped headings; raises ConfigError that names the file and the key."""
    path = FOLDER / "sections.yaml"
    return validate(_SECTIONS, read_yaml(path), path)


def cue_phrases(language: LexiconLanguage) -> list[str]:
    """The cues of a language's lexicon, in all their spellings."""
    file = lexicon_file(language)
    cues = [cue for rule in file.rules for cue in rule.cues]
    return [form for cue in cues for form in spellings(cue, file.unaccented)]


def spelled_phrases(language: LexiconLanguage) -> list[str]:
    """Words and headings of a language's files by whose spelling it is recognised."""
    file = lexicon_file(language)
    headings = [
        heading
        for entry in sections_file().sections.values()
        for heading in entry.headings.get(language, ())
    ]
    return [
        form for phrase in [*file.words, *headings] for form in spellings(phrase, file.unaccented)
    ]


def compile_lexicon(file: LexiconFile, config: Context) -> Lexicon:
    """The lexicon of a language with the user's rules in it.

    A phrase of a user's rule means only what the user's rules say. Raises ConfigError for a phrase
    that cannot be written out, a rule id that ``without`` names and no language has, or ids of the
    user's own that stand twice.
    """
    shipped = [rule for rule in file.rules if rule.id not in config.without]
    own = _phrases(config.rules, file.unaccented)
    return Lexicon(
        language=file.language,
        scanner=CueScanner(
            _with_shorter_stops(_phrases(shipped, file.unaccented)) | own,
            [(p, _rule(rule)) for rule in (*config.rules, *shipped) for p in rule.patterns],
        ),
        titles=frozenset(word.lower() for word in file.titles),
        abbreviations=frozenset(word.lower() for word in file.abbreviations),
        openers=frozenset(word.lower() for word in file.openers),
        joiners=frozenset(word.lower() for word in file.joiners),
        acronyms=file.acronyms,
    )


def check_rules(config: Context) -> None:
    """Raise ConfigError where the user's rules cannot work beside the shipped ones."""
    known = {rule.id for language in config.languages for rule in lexicon_file(language).rules}
    unknown = sorted(set(config.without) - known)
    if unknown:
        raise ConfigError(f"context.without: no rule has the id {', '.join(unknown)}")
    own = [rule.id for rule in config.rules]
    twice = sorted({one for one in own if own.count(one) > 1} | (set(own) & known))
    if twice:
        raise ConfigError(f"context.rules: these ids are taken: {', '.join(twice)}")


def _phrases(rules: Iterable[CueRule], unaccented: bool) -> dict[str, tuple[Rule, ...]]:
    found: dict[str, tuple[Rule, ...]] = {}
    for rule in rules:
        compiled = _rule(rule)
        for cue in rule.cues:
            try:
                forms = written_out(cue)
            except ValueError as error:
                raise ConfigError(f"rule {rule.id!r}: {error}") from error
            for form in forms:
                for spelling in spellings(form, unaccented):
                    found[spelling] = (*found.get(spelling, ()), compiled)
    return found


def _with_shorter_stops(phrases: dict[str, tuple[Rule, ...]]) -> dict[str, tuple[Rule, ...]]:
    """Phrases that stop scopes, with the rules of the shorter stops in them, which they hide.

    "presents with" ends a negation, "presents" the past; so "presents with" ends both.
    """
    stops = {phrase for phrase, rules in phrases.items() if {r.effect for r in rules} == {"stop"}}
    found = dict(phrases)
    for phrase in stops:
        words = phrase.split()
        inner = (
            " ".join(words[start:end])
            for start in range(len(words))
            for end in range(start + 1, len(words) + 1)
        )
        rules = (rule for one in inner if one in stops for rule in phrases[one])
        found[phrase] = tuple(dict.fromkeys((*phrases[phrase], *rules)))
    return found


def _rule(rule: CueRule) -> Rule:
    return Rule(
        id=rule.id,
        effect=rule.effect,
        forward=rule.direction != "backward",
        backward=rule.direction != "forward",
        reach=rule.reach,
        ends=frozenset(rule.ends) or None,
        whole=rule.whole,
        phrase=rule.phrase,
    )
