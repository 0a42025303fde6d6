"""Lists of names, and of words that could be taken for names, from Faker (MIT)."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from functools import cache

from actors.config.deidentify import DeidentifyLanguage
from actors.deidentify.accent_folding import key_of

LOCALES: dict[DeidentifyLanguage, str] = {
    "en": "en_US",
    "es": "es_ES",
    "de": "de_DE",
    "fr": "fr_FR",
    "vi": "vi_VN",
}
"""Faker's locale of each language."""

# Names that are words, too, beside those in Faker's lists of words.
_NAMES_TOO = """
may will mark long brown white black green gray grey young rose grace hope faith joy bill art
hand head back chin short rich strong best small little day price wood stone field hill king
bell ball bean cook baker cross dean frank gene grant guy jack lance miles pat penny ray rob
sharp summer august june april pain weeks case cruz blanco rubio leon prieto delgado moreno rojo
calvo sano bueno dolores rosa luz reyes santos campos rios klein gross braun kurz lang stark
schwarz weiss herz kopf leber fuss lung petit grand blanc roux legros
"""
_WORDS = frozenset(_NAMES_TOO.split())
_GIVEN = ("first_names", "first_names_male", "first_names_female")
_SHORTEST = 3


@cache
def given_names(languages: tuple[DeidentifyLanguage, ...]) -> frozenset[str]:
    """Folded given names: those of the languages, and of all others that are no words.

    People have names of other languages than their notes. Not in German, where a noun has a capital
    letter and too many look like somebody's name.
    """
    ours = {key_of(name) for one in languages for name in _listed(LOCALES[one])}
    if "de" in languages:
        return frozenset(ours)
    import faker.providers.person as person

    locales = [module.name for module in pkgutil.iter_modules(person.__path__)]
    others = {key_of(name) for locale in locales for name in _listed(locale)}
    return frozenset(ours | (others - common_words()))


def _listed(locale: str) -> Iterator[str]:
    for kind in _GIVEN:
        names = faker_list("person", locale, kind)
        yield from (name for name in names if len(name) >= _SHORTEST)


@cache
def common_words() -> frozenset[str]:
    """Folded words of the languages that could be taken for names."""
    listed = (
        word for locale in LOCALES.values() for word in faker_list("lorem", locale, "word_list")
    )
    # Faker's Spanish list has names, too: they have a capital letter.
    return _WORDS | {key_of(word) for word in listed if word.islower()}


def faker_list(provider: str, locale: str, name: str) -> tuple[str, ...]:
    """A list of one of Faker's providers; empty where the locale has none."""
    try:
        module = importlib.import_module(f"faker.providers.{provider}.{locale}")
    except ModuleNotFoundError:
        return ()
    values = getattr(module.Provider, name, None)
    if not isinstance(values, Iterable):  # some are computed
        return ()
    return tuple(value for value in values if isinstance(value, str))
