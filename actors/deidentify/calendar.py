"""Names of months in the languages of the texts, as they are written and as they are read."""

from __future__ import annotations

from dataclasses import dataclass

from actors.config.deidentify import DeidentifyLanguage
from actors.deidentify.accent_folding import fold

MONTHS: dict[DeidentifyLanguage, tuple[str, ...]] = {
    "en": (
        "January February March April May June July August September October November December",
        "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec",
    ),
    "es": (
        "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
        "ene feb mar abr may jun jul ago sep oct nov dic",
    ),
    "de": (
        "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
        "Jan Feb Mär Apr Mai Jun Jul Aug Sep Okt Nov Dez",
    ),
    "fr": (
        "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
        "janv févr mars avr mai juin juil août sept oct nov déc",
    ),
    "vi": ("", ""),  # "tháng 3": by number, see the forms
}

# Other spellings that are read, and written as the usual abbreviation or name.
_ALSO: dict[DeidentifyLanguage, str] = {
    "en": "Sept=9",
    "es": "setiembre=9 sept=9 set=9",
    "de": "Jänner=1 Jän=1 Feber=2 Mrz=3 Sept=9",
    "fr": "fevr=2 fev=2 jan=1",
    "vi": "",
}


@dataclass(frozen=True, slots=True)
class Month:
    """A month as it stands in a text: its number, its language, and whether it is cut short."""

    number: int
    language: DeidentifyLanguage
    short: bool

    def written(self, number: int, like: str) -> str:
        """Another month in the same language and style, in the case of ``like``."""
        name = MONTHS[self.language][self.short].split()[number - 1]
        if like.isupper():
            return name.upper()
        return name.capitalize() if like[:1].isupper() else name.lower()


def month_names(languages: tuple[DeidentifyLanguage, ...]) -> dict[str, Month]:
    """Folded names to months; where languages share a name, the first one's."""
    names: dict[str, Month] = {}
    for language in languages:
        for short, line in enumerate(MONTHS[language]):
            for index, name in enumerate(line.split()):
                names.setdefault(fold(name), Month(index + 1, language, bool(short)))
        for pair in _ALSO[language].split():
            name, number = pair.split("=")
            names.setdefault(fold(name), Month(int(number), language, len(name) < 5))
    return names
