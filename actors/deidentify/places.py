"""Addresses and institutions by rules: streets, ZIP codes with towns, hospitals, countries."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from actors.config.deidentify import Category, DeidentifyLanguage
from actors.deidentify.accent_folding import key_of
from actors.deidentify.addresses import NO_FIELD, find_addresses
from actors.deidentify.dictionaries import LOCALES, faker_list
from actors.deidentify.findings import Finding, Strength

_CAP = rf"{NO_FIELD}(?:[A-ZÀ-ÖØ-ÞĐŁŠŽČ][\w\u0300-\u036f'’-]{{0,40}}|St\.|Dr\.|[A-Z]\.)"
_GAP = r"[^\S\n]{1,2}"
_OF = r"(?:de la|de los|de las|del|de|of|the|for|der|des|für|zum|am|im|du|la|y|and|&|-|–)"
_NAME = rf"{_CAP}(?:{_GAP}(?:{_OF}{_GAP})?{_CAP}){{0,4}}"
_UNIT = r"(?:,?\s(?:[Ss]uite|[Aa]pt\.?|[Uu]nit|#|[Bb]ox|[Ff]loor)\s?#?\w{1,6})?"

_STREETS = (
    rf"\b\d{{1,6}}[a-zA-Z]?,?{_GAP}(?:{_CAP}{_GAP}){{1,4}}(?:Street|St|Avenue|Ave|Road|Rd|Drive|Dr|Lane|Ln"
    rf"|Boulevard|Blvd|Way|Court|Ct|Place|Pl|Square|Terrace|Parkway|Pkwy|Circle|Highway|Hwy)\b\.?{_UNIT}",
    r"\b(?:P\.?\s?O\.?\s?Box|PSC|Unit|CMR)\s\d{1,6}(?:,?\s(?:Box|Ship)\s\d{1,6})?",
    r"\b(?i:psc|unit|cmr)\s\d{1,6},?\s(?i:box|ship)\s\d{1,6}",
    rf"(?:\b(?:[Cc]alle|[Aa]v(?:en)?i?da|[Aa]vd?a?|[Pp]aseo|[Pp]laza|[Pp]za|[Cc]arretera|[Cc]tra|[Rr]onda|[Tt]ravesía"
    rf"|[Cc]amino|[Uu]rb)\b\.?|\bC/)[^\S\n]{{0,2}}(?:de la |de los |de las |del |de )?{_NAME}"
    r"(?:[ ,]{1,3}(?:[Nn]º|[Nn]úm\.?|n\.º)?\s?(?:\d{1,4}|[Ss]/[Nn])"
    r"(?:[ ,-]{1,4}(?:\d{1,3}\s?[ºª°]?\s?[A-Za-zª]?\b|[Bb]ajo\s?[A-Z]?|[A-Z]\b)){0,3})?",
    r"(?<!\w)(?:(?i:calle|av(?:en)?id[ao]|avd?a?|paseo|plaza|pza|carretera|ctra|ronda|camino)\.?"
    r"[^\S\n]{1,2}|[Cc]/\.?[^\S\n]{0,2})[^\W\d][\w'’´-]*\.?(?:[^\S\n]{1,2}[^\W\d][\w'’´-]*\.?){0,5}"
    r"(?:,|[^\S\n])[^\S\n]?(?:nº ?|km )?(?:\d{1,4}(?:[,-]\d{1,3})?|[sS]/?[nN])(?!\w)"
    r"(?:[ ,-]{1,4}(?:\d{1,3}[º°ª]?[A-Za-z]?|[A-Z]\d?|\d?[º°ª]|(?i:bajo|dcha|izda|izq)\.?)(?!\w))"
    r"{0,3}",
    rf"\b(?:{_CAP}{_GAP})?[A-ZÄÖÜ][\wäöüß-]{{0,40}}(?:[Ss]tra(?:ß|ss)e|[Ss]tr\.|[Ww]eg|[Pp]latz|[Gg]asse|[Aa]llee|[Uu]fer|[Pp]fad"
    r"|[Dd]amm|[Rr]ing|[Mm]arkt|[Hh]of|[Ss]aum)\.?\s\d{1,4}\s?[a-z]?\b",
    rf"\b{_CAP}{_GAP}(?:Stra(?:ß|ss)e|Str\.|Weg|Platz|Gasse|Allee){_GAP}\d{{1,4}}\s?[a-z]?\b",
    rf"\b(?:Am|Im|An der|Auf der|Zum|Zur){_GAP}{_CAP}{_GAP}\d{{1,4}}\s?[a-z]?\b",
    rf"\b\d{{1,4}}(?:\s?(?:bis|ter))?,?\s(?:rue|avenue|boulevard|place|chemin|allée|impasse|quai|route)\s"
    rf"(?:de la |de l['’]|du |des |de )?{_NAME}",
    rf"(?<![\w/])(?:[Ss]ố\s)?\d{{1,5}}(?:/\d{{1,4}}){{0,4}}\s(?:[Đđ]ường|[Pp]hố)\s{_NAME}",
)
_HOSPITALS = (
    rf"\b(?:{_CAP}{_GAP}(?:(?:of|and|&|the){_GAP})?){{1,5}}(?:Hospitals?|Clinics?|Infirmary"
    r"|Hospice|Medical Cent(?:er|re)"
    r"|Med\.? Cent(?:er|re)|Health Cent(?:er|re)|Health(?:care)?|Medical Group"
    r"|Cancer Cent(?:er|re)|Memorial|Office"
    r"|Nursing Home|Rehab(?:ilitation)?(?: Cent(?:er|re))?)\b",
    rf"\bSt\.{_GAP}{_CAP}(?:['’]s)?",
    rf"\b(?:Hospital|Clínica|Centro de Salud|Fundación"
    r"|Complejo Hospitalario|Sanatorio|Policlínica|Ambulatorio)"
    rf"{_GAP}(?:{_OF}{_GAP})?{_NAME}",
    rf"\b(?:Hôpital|Clinique|CHU|Centre Hospitalier){_GAP}(?:{_OF}{_GAP})?{_NAME}",
    rf"\b(?:Bệnh viện|Phòng khám|Trung tâm [Yy] tế){_GAP}{_NAME}",
    rf"\b(?:(?:Städt\.|Allg\.|{_CAP}){_GAP})?(?:[A-ZÄÖÜ][\wäöüß-]{{0,40}})?"
    r"(?:(?i:klinikum|krankenhaus(?:es)?|spital|uniklinik|universitätsklinik)|-Klinik|-KLINIK)\b"
    rf"(?:{_GAP}(?:{_OF}{_GAP})?(?:{_OF}{_GAP})?{_CAP}){{1,3}}",
    r"(?<![\w-])[A-ZÄÖÜ][\wäöüß]{1,40}(?:-[A-ZÄÖÜ][\wäöüß]{1,40}){0,3}-(?:Klinik|Spital|Krankenhaus)\b",
)
_ORGANIZATIONS = (
    rf"\b(?:Universidad|Facultad|Instituto|Escuela|Universität|Université|Università|University|Institute"
    rf"|School){_GAP}(?:{_OF}{_GAP}){{1,2}}{_NAME}",
    rf"\b(?:{_CAP}{_GAP}){{1,3}}(?:University|Universität)\b",
)
# What a form calls an address, to the end of its line.
_ADDRESS = re.compile(
    r"(?<!\w)(?i:domicilio|direcci[oó]n|address|adresse|anschrift|địa chỉ)[^\S\n]?:[^\S\n]*"
    r"(?P<street>[^\n:]{3,80}?)(?=[.;]?[^\S\n]*(?:\n|$))"
)
_LIVES_AT = re.compile(
    r"(?<!\w)(?i:liv(?:es?|ed|ing)|resid(?:es?|ed|ing)|home(?:[ ]is)?)[ ]at[ ]"
    r"(?P<street>\d{1,6}[^\n.,;:()]{3,60}?)"
    r"(?=[ ](?:with|and|since|for|in|alone|where|which)[ ]|[\n.,;:()]|$)"
)
_VISITED = re.compile(
    rf"(?:\b(?:seen|treated|evaluated|admitted|operated|observed|referred|hospitali[sz]ed|visit|followed|presented)"
    rf"(?:{_GAP}[a-z]+)?{_GAP}(?:at|to|in)|\bour){_GAP}(?:the{_GAP}|our{_GAP})?(?P<place>{_NAME})"
)
_POSTAL = (
    rf",\s(?P<zip>\d{{4}})(?={_GAP}[A-ZÀ-Þ][\wäöüß]{{2}})",
    r"\b[A-Z]{2}\s(?P<zip>\d{5}(?:-\d{4})?)\b",
    r"\b(?i:[afd]po,?\s{1,3}a[aep]),?\s{1,3}(?P<zip>\d{5}(?:-\d{4})?)\b",  # armed forces
    r"(?:\b[Ww]h\.?:?|\b[Ww]ohnhaft:?|\b(?:Adresse|Anschrift):?)(?: in)?\s{1,3}(?P<zip>\d{4})"
    r"(?=[^\S\n]{1,2}[A-ZÀ-Þ][\wäöüß]{2})",
    r"\b(?P<zip>(?:A|B|D|E|F|I|L|N|AT|BE|CH|DE|DK|ES|FI|FR|IT|NL|NO|PL)-\d{4,5}(?:[ ][A-Z]{2})?)"
    rf"(?={_GAP}[A-ZÀ-Þ])",
    rf"\b(?P<zip>(?:SE?|CZ|SK|GR)-\d{{3}}[ ]\d\d)(?={_GAP}[A-ZÀ-Þ])",
    # Poland, the Netherlands; Sweden and its like after a street.
    rf"(?<![\w.,/-])(?P<zip>\d\d-\d{{3}}|(?!19|20)\d{{4}}[ ][A-Z]{{2}})(?={_GAP}[A-ZÀ-Þ][\w]{{2}})",
    rf"\w[ ]\d{{1,4}}[a-z]?,\s(?P<zip>\d{{3}}[ ]\d\d)(?={_GAP}[A-ZÀ-Þ][\w]{{2}})",
    # After a town: London SW1A1AA; somebody lives in Boston, 02115.
    rf"{_CAP},?{_GAP}(?P<zip>[A-Z]{{1,2}}\d[A-Z\d]?\d[A-Z]{{2}})(?=[^\S\n]{{0,2}}(?:[.,;?!)]|\n|$))",
    r"(?<!\w)(?i:lives?|lived|living|resid(?:es?|ed|ing|ent)|moved|moving|born|based|located|staying"
    r"|vive|reside|residente|wohnt|wohnhaft|habite|demeurant)"
    rf"{_GAP}(?:in|at|to|of|en|à|nach){_GAP}{_NAME},?[ -]{{1,3}}(?P<zip>\d{{5,6}}(?:-\d{{4}})?)"
    r"(?![\w.,-]\w)",
    r"(?<!\w)(?i:pin[ ]?code)[^\S\n]?:?[^\S\n]?(?P<zip>\d{3}[ ]?\d{3})(?!\w)",
    r"(?<![\w.,/-])(?P<zip>\d{5})(?=[^\S\n]{0,2}[,.-]?[^\S\n]{0,2}(?!Mg|UI)[A-ZÀ-Þ][\wäöüß]{2})",
    r"(?<![\w.,/-])(?P<zip>\d{5})(?=[^\S\n]{1,2}(?i:e-?mail\b|correo\b|[\w.+-]{1,64}@))",
    r"\bD\.[ ]?F\.,?[ ](?P<zip>\d{4,5})\b",  # Mexico
    r"\b(?P<zip>[A-Z]{1,2}\d[A-Z\d]?\s\d[A-Z]{2})\b",
    r"\b(?P<zip>[ABCEGHJ-NPRSTVXY]\d[ABCEGHJ-NPRSTV-Z]\s\d[ABCEGHJ-NPRSTV-Z]\d)\b",  # Canada
)
_TOWN = re.compile(rf"\d[ ,.-]{{1,3}}(?P<town>{_CAP}(?:{_GAP}(?:{_OF}{_GAP})?{_CAP}){{0,3}})")
_TOWN_FIELD = re.compile(
    rf"(?<!\w)(?i:localidad/?\s?(?:provincia)?|municipio|provincia|ciudad|city|town|wohnort|ort"
    rf"|ville|lives in|living in|resides in|residing in|wohnhaft in|wohnt in|vive en"
    rf"|reside en|habite à|sống tại|thành phố)"
    rf"\s?:?[^\S\n]{{1,3}}(?P<town>{_NAME}(?:,{_GAP}(?![A-Z]{{2}}(?!\w)){_NAME})?|\d{{5}}(?!\w))"
)
# What begins a letter: "Neustadt, am 12.3.2023", "Madrid, 3 de mayo de 2020".
_DATELINE = re.compile(
    rf"(?m:^)[^\S\n]{{0,80}}(?P<town>{_NAME}),[ ](?:(?:am|den|le|ngày)[ ]\d{{1,2}}(?:[./ ]|er)"
    r"|\d{1,2}(?:\.[ ][A-ZÄ]|[ ]de[ ])[^\W\d]{2,10}[ ](?:del?[ ])?\d{4})(?=[^\n]{0,25}(?:\n|$))"
)
_BEFORE_COUNTRY = re.compile(rf"(?<!\w)(?P<town>{_NAME})[.,]?{_GAP}\(?$")
_TOWN_STATE = re.compile(
    rf"(?<!\w)(?P<town>{_CAP}(?:{_GAP}{_CAP}){{0,2}}),\s(?P<state>[A-Z]{{2}})(?!\w)"
)


_CODE = (
    r"\d{3}[ ]\d{2}|\d\d-\d{3}|\d{4,5}(?:-\d{3,4})?(?:[ ]?[A-Z]{2})?"
    r"|[A-Z]\d[A-Z][ ]?\d[A-Z]\d|[A-Z]{1,2}\d[A-Z\d]?[ ]\d[A-Z]{2}"
)
_NO_YEAR = r"(?!(?:19|20)\d\d(?![\w-]))"
_AFTER_COUNTRY = re.compile(
    rf"[.,]?\s{{1,6}}{_NO_YEAR}(?P<zip>{_CODE}|\d{{6}})(?=[^\S\n]{{0,2}}(?:[.,;?!)]|\n|$))"
)
_NO_DOSE = r"(?![^\S\n]?(?:mg|mcg|µg|g|kg|ml|l|iu|ui|u|kcal|mm|cm|x)\b)"
# After a street: "Calle Mayor 12, Madrid 28013", "5 MG Road, Bengaluru - 560 001".
_AFTER_STREET = re.compile(
    rf"(?:,?\s{{1,2}}|\s?[-–]\s?)(?:{_CAP}(?:[ -]{{1,2}}(?:{_OF}{_GAP})?{_CAP}){{0,3}}"
    r"(?:,?\s|\s[-–]\s|\s?(?=\()))?(?:[A-Z]{2,3},?\s)?\(?"
    rf"{_NO_YEAR}(?P<zip>\d{{3}}[ ]\d{{3}}|\d{{6}}|{_CODE})(?!\w|[.,-]\d){_NO_DOSE}"
)
# Beside the name of a town: "Madrid (28013)", "1010 Wien".
_AFTER_TOWN = re.compile(rf"(?:,?[^\S\n]|[^\S\n]?\()\(?(?P<zip>\d{{5}})(?!\w|[.,-]\d){_NO_DOSE}")
_BEFORE_TOWN = re.compile(rf"(?<![\w.,/-]){_NO_YEAR}(?P<zip>\d{{4,5}})[^\S\n]$")
# Of any country: "in Bjert 6091".
_IN_TOWN = re.compile(
    r"(?<!\w)(?:in|at|near|from|en|à|aus|nach|bei)[ ]"
    r"(?!(?:DIN|EN|ISO|IEC|Room|Unit|PSC|Study|Group)[ ])"
    rf"(?P<town>{_NAME})[ ]{_NO_YEAR}(?P<zip>\d{{4,5}}|\d{{3}}[ ]\d\d)(?!\w|[.,/-]\d){_NO_DOSE}"
)
_ZIP_BEFORE_COUNTRY = re.compile(rf"(?<![\w.,/-]){_NO_YEAR}(?P<zip>{_CODE}),\s{{1,4}}$")


class PlaceFinder:
    """Finds parts of addresses, institutions and countries."""

    def __init__(self, languages: tuple[DeidentifyLanguage, ...]) -> None:
        self._states, self._after_state = _states(), _after_state()
        self._countries, self._towns = _countries(languages), _towns(languages)

    def find(self, text: str) -> Iterator[Finding]:
        """Streets, ZIP codes, towns beside them, hospitals, states and countries."""
        for patterns, category, by in (
            (_STREET_PATTERNS, Category.STREET, "street"),
            (_HOSPITAL_PATTERNS, Category.HOSPITAL, "hospital"),
            (_ORGANIZATION_PATTERNS, Category.ORGANIZATION, "organization"),
        ):
            for pattern in patterns:
                for match in pattern.finditer(text):
                    yield Finding(*match.span(), category, by)
                    code = _AFTER_STREET.match(text, match.end())
                    if code is not None and category is Category.STREET:
                        yield Finding(*code.span("zip"), Category.ZIP, by)
        american = [match.span("zip") for match in self._after_state.finditer(text)]
        ends_address = {start for start, _ in american}
        for pattern in _POSTAL_PATTERNS:
            for match in pattern.finditer(text):
                start = match.start("zip")
                yield Finding(*match.span("zip"), Category.ZIP, "zip", Strength.NAMED)
                # "IL 62701": its town stands before the state. "DE 10115" is Germany's Berlin. For
                # the second look a state that was replaced is two equal letters.
                state = text[max(0, start - 3) : start].strip()
                hidden = len(state) == 2 and state[0] == state[1]
                if start in ends_address or hidden or (state in self._states and state != "DE"):
                    continue
                town = _TOWN.match(text, match.end() - 1)
                if town is not None:
                    yield Finding(*town.span("town"), Category.CITY, "zip")
        yield from find_addresses(text)
        for span in american:
            yield Finding(*span, Category.ZIP, "zip", Strength.NAMED)
        for match in _ADDRESS.finditer(text):
            yield Finding(*match.span("street"), Category.STREET, "field", Strength.NAMED)
        for match in _LIVES_AT.finditer(text):
            yield Finding(*match.span("street"), Category.STREET, "field")
        for match in _VISITED.finditer(text):
            yield Finding(*match.span("place"), Category.HOSPITAL, "visited", Strength.SHAPE)
        for match in _TOWN_FIELD.finditer(text):
            yield Finding(*match.span("town"), Category.CITY, "field")
        for match in _DATELINE.finditer(text):
            yield Finding(*match.span("town"), Category.CITY, "dateline", Strength.SHAPE)
        for match in _TOWN_STATE.finditer(text):
            if match["state"] in self._states:
                yield Finding(*match.span("town"), Category.CITY, "state")
                yield Finding(*match.span("state"), Category.STATE, "state")
        for match in self._countries.finditer(text):
            yield Finding(*match.span(), Category.COUNTRY, "country", Strength.SHAPE)
            town = _BEFORE_COUNTRY.search(text, max(0, match.start() - 60), match.start())
            if town is not None:
                yield Finding(*town.span("town"), Category.CITY, "country", Strength.SHAPE)
            for code in (
                _AFTER_COUNTRY.match(text, match.end()),
                _ZIP_BEFORE_COUNTRY.search(text, max(0, match.start() - 16), match.start()),
            ):
                if code is not None:
                    yield Finding(*code.span("zip"), Category.ZIP, "country", Strength.SHAPE)
        for match in _IN_TOWN.finditer(text):
            if match.start("zip") not in ends_address:  # "in Illinois 62701"
                yield Finding(*match.span("town"), Category.CITY, "town", Strength.SHAPE)
                yield Finding(*match.span("zip"), Category.ZIP, "town", Strength.SHAPE)
        for match in self._towns.finditer(text):
            yield Finding(*match.span(), Category.CITY, "town", Strength.SHAPE)
            for code in (
                _AFTER_TOWN.match(text, match.end()),
                _BEFORE_TOWN.search(text, max(0, match.start() - 8), match.start()),
            ):
                if code is not None:
                    yield Finding(*code.span("zip"), Category.ZIP, "town", Strength.SHAPE)


def _compiled(patterns: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(pattern) for pattern in patterns)


_STREET_PATTERNS, _HOSPITAL_PATTERNS = _compiled(_STREETS), _compiled(_HOSPITALS)
_ORGANIZATION_PATTERNS, _POSTAL_PATTERNS = _compiled(_ORGANIZATIONS), _compiled(_POSTAL)


@cache
def _states() -> frozenset[str]:
    return frozenset(faker_list("address", "en_US", "states_abbr"))


@cache
def _after_state() -> re.Pattern[str]:
    names = "|".join(map(re.escape, sorted(faker_list("address", "en_US", "states"))))
    return re.compile(rf"(?<!\w)(?:{names}),?{_GAP}(?P<zip>\d{{5}}(?:-\d{{4}})?)(?![\w.,-]\w)")


# Faker's lists of real places; its other towns are made up.
_TOWNS: dict[DeidentifyLanguage, tuple[str, ...]] = {
    "en": (),
    "es": ("states", "regions"),
    "de": ("cities",),
    "fr": (),
    "vi": ("provinces", "cities"),
}
_NO_TOWNS = frozenset({"essen", "halle", "hof", "bergen", "kamen"})  # words, too


@cache
def _countries(languages: tuple[DeidentifyLanguage, ...]) -> re.Pattern[str]:
    names = _listed(languages, dict.fromkeys(LOCALES, ("countries",)))
    return _any_of({*(name for name in names if len(name) > 3), "USA", "EE.UU.", "EEUU", "UK"})


@cache
def _towns(languages: tuple[DeidentifyLanguage, ...]) -> re.Pattern[str]:
    names = _listed(languages, _TOWNS)
    return _any_of({n for n in names if len(n) > 3 and key_of(n) not in _NO_TOWNS})


def _listed(
    languages: tuple[DeidentifyLanguage, ...], kinds: dict[DeidentifyLanguage, tuple[str, ...]]
) -> set[str]:
    return {
        name
        for language in languages
        for kind in kinds[language]
        for name in faker_list("address", LOCALES[language], kind)
    }


def _any_of(names: set[str]) -> re.Pattern[str]:
    words = sorted(names, key=lambda name: (-len(name), name))
    return re.compile(
        r"(?<!\w)(?:" + "|".join(map(re.escape, words)) + r")(?!\w)" if words else "(?!)"
    )
