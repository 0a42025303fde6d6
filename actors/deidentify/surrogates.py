"""Made-up values in place of real ones: of the same kind and shape, the same within a patient.

A value's surrogate follows from the key, the patient, and the value in folded form, so it does not
depend on the order of documents or on the process. A name is replaced word by word: "SMITH, J." and
"John Smith" stay the same person. The first letter of a surrogate follows from that of the word, so
an initial needs no other mention to fit.

A surrogate that is a real value of the same document is passed over for the next one of its
sequence. Only there two documents of a patient can have different surrogates for one value.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable, Collection
from functools import cache
from random import Random

from actors.config.deidentify import Category, DeidentifyLanguage
from actors.deidentify.accent_folding import key_of
from actors.deidentify.dictionaries import LOCALES, faker_list
from actors.deidentify.keys import SecretKey
from actors.deidentify.names import NAME_WORD, PARTICLES, TITLES

_TRIES = 1000
_FEWEST = 8  # names that a first letter must have to be chosen
_DOMAINS = ("example.com", "example.org", "example.net")  # reserved: nobody's
_NETS = ("192.0.2", "198.51.100", "203.0.113")  # reserved for documentation


class NoneLeft(Exception):
    """All surrogates that were tried are real values of the document, as with one-digit ids."""


class Surrogates:
    """Surrogates for the values of one patient.

    ``taken``: folded real values of the document, and of its names each word; none of them comes
    out.
    """

    def __init__(
        self,
        key: SecretKey,
        patient_id: str,
        languages: tuple[DeidentifyLanguage, ...],
        taken: Collection[str],
    ) -> None:
        self._key, self._patient = key, patient_id
        self._languages, self._taken = languages, taken

    def of(self, category: Category, value: str) -> str:
        """The surrogate of a value; raises NoneLeft."""
        value = unicodedata.normalize("NFC", value)
        if category is Category.NAME:
            return NAME_WORD.sub(lambda match: self._name_word(match[0]), value)
        made = _MAKERS.get(category)
        if made is None:
            return self._unlike(category, value, lambda random: _same_shape(random, value))
        return self._unlike(category, value, lambda random: made(random, value, self._languages))

    def _unlike(self, kind: str, value: str, make: Callable[[Random], str]) -> str:
        random = self._key.random("surrogate", self._patient, kind, key_of(value))
        for _ in range(_TRIES):
            made = make(random)
            if key_of(made) not in self._taken and key_of(made) != key_of(value):
                return made
        raise NoneLeft

    def _name_word(self, word: str) -> str:
        if word.lower() in PARTICLES or (len(word) > 1 and word.lower() in TITLES):
            return word
        if len(word) == 1:
            letter = self._first_letter(word)
            return letter.upper() if word.isupper() else letter
        names = _names_like(word, self._languages)
        first = self._first_letter(word)
        fitting = [name for name in names if key_of(name)[0] == first] or list(names)
        made = self._unlike(Category.NAME, word, lambda random: random.choice(fitting))
        return _cased(made, word)

    def _first_letter(self, word: str) -> str:
        letter = key_of(word)[0]
        random = self._key.random("initial", self._patient, letter)
        return random.choice(_letters(self._languages))


def _cased(made: str, like: str) -> str:
    if like.isupper():
        return made.upper()
    return made.lower() if like.islower() else made


@cache
def _names(languages: tuple[DeidentifyLanguage, ...], *kinds: str) -> tuple[str, ...]:
    """Names of the first language; of all languages where it has too few."""
    for chosen in (languages[:1], languages, (*languages, "en")):
        names = {
            name
            for language in chosen
            for kind in kinds
            for name in faker_list("person", LOCALES[language], kind)
            if NAME_WORD.fullmatch(name) and len(name) > 2
        }
        if len(names) >= 100:
            break
    return tuple(sorted(names))


_MALE, _FEMALE, _SURNAMES = "first_names_male", "first_names_female", "last_names"


@cache
def _folded_names(kind: str) -> frozenset[str]:
    return frozenset(
        key_of(name) for locale in LOCALES.values() for name in faker_list("person", locale, kind)
    )


def _names_like(word: str, languages: tuple[DeidentifyLanguage, ...]) -> tuple[str, ...]:
    """Names of the kind that a word is by all languages' lists, whatever stands beside it."""
    folded = key_of(word)
    male, female = folded in _folded_names(_MALE), folded in _folded_names(_FEMALE)
    if male and female:
        return _names(languages, _MALE, _FEMALE)
    if male or female:
        return _names(languages, _MALE if male else _FEMALE)
    return _names(languages, _SURNAMES)


@cache
def _letters(languages: tuple[DeidentifyLanguage, ...]) -> str:
    """First letters that enough names of every kind have."""
    kinds = [_names(languages, kind) for kind in (_MALE, _FEMALE, _SURNAMES)]
    letters = "".join(
        letter
        for letter in string.ascii_lowercase
        if all(sum(key_of(name)[0] == letter for name in names) >= _FEWEST for names in kinds)
    )
    return letters or string.ascii_lowercase


def _same_shape(random: Random, value: str) -> str:
    """Other digits for digits and other letters for letters; all else stays."""
    return "".join(_other(random, c, i == 0) for i, c in enumerate(value))


def _other(random: Random, character: str, first: bool) -> str:
    if character.isdigit():
        return str(random.randint(1 if first and character != "0" else 0, 9))
    if not character.isalpha():
        return "" if unicodedata.combining(character) else character
    letter = random.choice(string.ascii_lowercase)
    return letter.upper() if character.isupper() else letter


def _email(random: Random, value: str, languages: tuple[DeidentifyLanguage, ...]) -> str:
    first = key_of(random.choice(_names(languages, _MALE, _FEMALE)))
    last = key_of(random.choice(_names(languages, _SURNAMES)))
    local = re.sub(r"[^a-z.]", "", f"{first}.{last}")
    return f"{local}{random.randint(1, 99)}@{random.choice(_DOMAINS)}"


def _url(random: Random, value: str, languages: tuple[DeidentifyLanguage, ...]) -> str:
    begin = re.match(r"[a-z]+://|www\.|", value, re.IGNORECASE)
    path = "".join(random.choices(string.ascii_lowercase, k=8))
    return f"{begin[0] if begin else ''}{random.choice(_DOMAINS)}/{path}"


def _ip(random: Random, value: str, languages: tuple[DeidentifyLanguage, ...]) -> str:
    if ":" in value:
        return f"2001:db8::{random.randint(1, 0xFFFF):x}:{random.randint(1, 0xFFFF):x}"
    return f"{random.choice(_NETS)}.{random.randint(1, 254)}"


def _gps(random: Random, value: str, languages: tuple[DeidentifyLanguage, ...]) -> str:
    return f"{random.uniform(-60, 60):.4f}, {random.uniform(-180, 180):.4f}"


def _street(random: Random, value: str, languages: tuple[DeidentifyLanguage, ...]) -> str:
    name, number = random.choice(_names(languages, _SURNAMES)), random.randint(1, 199)
    forms = {
        "es": "Calle {0}, {1}",
        "de": "{0}straße {1}",
        "fr": "{1} rue {0}",
        "vi": "{1} đường {0}",
    }
    return forms.get(languages[0], "{1} {0} Street").format(name, number)


def _city(random: Random, value: str, languages: tuple[DeidentifyLanguage, ...]) -> str:
    towns = faker_list("address", LOCALES[languages[0]], "cities")
    if towns:
        return random.choice(towns)
    # No list of towns: one that a surname makes, as towns are often called.
    endings = {"es": "Villa{}", "fr": "Saint-{}"}
    town = endings.get(
        languages[0], "{}" + random.choice(("ville", "ton", "burg", "field", " Falls"))
    )
    name = random.choice(_names(languages, _SURNAMES))
    return town.format(name.lower() if languages[0] == "es" else name)


def _state(random: Random, value: str, languages: tuple[DeidentifyLanguage, ...]) -> str:
    kind = "states_abbr" if len(value) == 2 else "states"
    states = faker_list("address", LOCALES[languages[0]], kind) or faker_list(
        "address", "en_US", kind
    )
    return random.choice(states)


def _country(random: Random, value: str, languages: tuple[DeidentifyLanguage, ...]) -> str:
    locale = LOCALES[languages[0]]
    return random.choice(
        faker_list("address", locale, "countries") or faker_list("address", "en_US", "countries")
    )


def _hospital(random: Random, value: str, languages: tuple[DeidentifyLanguage, ...]) -> str:
    forms = {"es": "Hospital {}", "de": "{}-Klinik", "fr": "Hôpital {}", "vi": "Bệnh viện {}"}
    form = forms.get(languages[0], "{} Medical Center")
    return form.format(random.choice(_names(languages, _SURNAMES)))


def _organization(random: Random, value: str, languages: tuple[DeidentifyLanguage, ...]) -> str:
    forms = {"es": "{} S.A.", "de": "{} GmbH", "fr": "{} SARL", "vi": "Công ty {}"}
    form = forms.get(languages[0], "{} Inc.")
    return form.format(random.choice(_names(languages, _SURNAMES)))


def _profession(random: Random, value: str, languages: tuple[DeidentifyLanguage, ...]) -> str:
    jobs = faker_list("job", LOCALES[languages[0]], "jobs") or faker_list("job", "en_US", "jobs")
    return random.choice(jobs)


_Maker = Callable[[Random, str, tuple[DeidentifyLanguage, ...]], str]
_MAKERS: dict[Category, _Maker] = {
    Category.EMAIL: _email,
    Category.URL: _url,
    Category.IP: _ip,
    Category.GPS: _gps,
    Category.STREET: _street,
    Category.CITY: _city,
    Category.STATE: _state,
    Category.COUNTRY: _country,
    Category.HOSPITAL: _hospital,
    Category.ORGANIZATION: _organization,
    Category.PROFESSION: _profession,
}
