"""Names of people by rules: titles, fields of a form, given names of a dictionary."""

from __future__ import annotations

import re
from collections.abc import Iterator

from actors.config.deidentify import Category, DeidentifyLanguage
from actors.deidentify.accent_folding import key_of
from actors.deidentify.dictionaries import given_names
from actors.deidentify.findings import Finding, Strength

_PARTICLES_WORDS = """
de del della di da do dos das du la las le les los el al van von vom zu zum zur der den ten ter
y e i ben bin ibn thi und and op
"""
PARTICLES = frozenset(_PARTICLES_WORDS.split())
"""Words inside a name that name nobody."""

_TITLES_WORDS = """
dr dra drs prof doz priv pd oa oä fa fä prim univ mag dipl ing med mult habil phd md mba rn np
pa do jr sr mr mrs ms miss herr frau hr fr sra srta don doña dña dn dna m mme mlle pr docteur bs
ông bà anh chị chi em bác cô ong ba bac co in
"""
TITLES = frozenset(_TITLES_WORDS.split())
"""Titles and forms of address, without points and in lower case; folded too."""

# With a capital they are given names, too: "Smith, Don".
_GIVEN_TOO = frozenset(["Don", "DON", "Ben", "BEN"])

_UPPER = (
    r"[^\W\d_a-zà-öø-ÿāăąćčđęěğıľłńňőœřśşšťůűźžơưạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ]"
)
_MARK = "\u0300-\u036f"  # accents that stand as characters of their own
_LETTER = rf"(?:[^\W\d_][{_MARK}]{{0,3}})"
# Every repetition has a bound: a text of one long word must not take the square of its length.
_LETTERS = rf"{_LETTER}{{1,40}}"
_WORD = (
    rf"(?:{_UPPER}[{_MARK}]{{0,3}}{_LETTER}{{0,3}}['’])?{_UPPER}[{_MARK}]{{0,3}}{_LETTERS}"
    rf"(?:[-'’]{_LETTERS}){{0,3}}"
)
_INITIAL = rf"{_UPPER}\.?(?!{_LETTER})"
_BETWEEN = (
    r"(?:de la|de los|de las|de|del|van der|van den|van de|van|von der|von|vom|zu|zur|dos|da|di|la"
    r"|y|al)"
)
_NO_TITLE = (
    r"(?!(?:OA|OÄ|PD|FA|FÄ|Dra?s?|DR|Prof|Priv|Univ|Doz|Ass|Prim|Mag|Mrs?|Ms|Herrn?|Frau|Sra?"
    r"|Kolleg(?:e|en|in)|DGK[SP])(?!\w))"
)
_PART = rf"{_NO_TITLE}(?:{_UPPER}(?:h|t|hr)\.|{_WORD}|{_INITIAL})"
_GAP = r"[^\S\n]"  # one: two or more part the fields of a form
_FULL = rf"{_PART}(?:(?:{_GAP}|-)(?:{_BETWEEN}{_GAP})?{_PART}){{0,4}}"
_TITLE = (
    r"(?:(?:[Uu]niv\.?-?\s?)?[Pp]rof(?:\.|essor(?:in)?)"
    r"|[Dd]r[aª]?s?\b\.?(?:\s{0,2}med\.?(?:\s?univ[a-z]{0,5}\.?)?)?|DR\.(?: MED\.)?"
    r"|M(?:r|rs|s|iss|me|lle)\b\.?|Herrn?|HERRN?|Frau|FRAU|Sr(?:a|ta)?\.|Sra"
    r"|D\.(?!F\.)\s?(?=[A-ZÁÉÍÓÚ])|Dña\.?|Don|Doña"
    r"|Kolleg(?:e|en|in)|DGK[SP]"
    r"|Madame|Monsieur|Docteur|Pr\.|PD|Priv\.?-?\s?Doz\.|OA|OÄ|Prim\.|Mag\.|Doz\.|Ass\.|gez\."
    r"|Patientin|Patient:|[Bb]ác sĩ|BS\.|[ÔôBb][nà]g?\s?(?=[A-ZĐ])|[Bb]ệnh nhân)"
)
_TITLED = re.compile(
    rf"(?<!\w){_TITLE}(?:\s?{_TITLE}|in\b){{0,6}}[^\S\n]{{0,3}}(?P<name>{_FULL}(?:,[^\S\n]?{_WORD})?)"
)
_FIELDS = re.compile(
    rf"(?<!\w)(?i:(?:patient|name|nombre|apellidos|m[ée]dico|doctor|vorname|nachname|nom"
    rf"|pr[ée]nom|m[ée]decin"
    rf"|arzt|ärztin|chefarzt|leiter|họ tên|họ và tên|physician|attending|surgeon|nurse"
    rf"|remitido por|responsable"
    rf"|firmado por|sign[ée] par|gezeichnet"
    rf"|(?:signature|firma|unterschrift)(?=[^\S\n]{{0,2}}:)"
    rf"|dictated by|signed by|signed|my name is|known as|referred by|called))"
    rf"(?:[^\S\n](?:is|was|es|ist)(?=[^\S\n]))?[^\S\n]{{0,2}}[:?]?[^\S\n]{{0,12}}"
    rf"(?P<name>{_FULL}(?:,[^\S\n]?{_FULL})?)"
)
_CLOSING = re.compile(
    rf"(?:[Gg]r[üu](?:ß|ss)en|[Ss]incerely|[Rr]egards|[Aa]tentamente|[Cc]ordialement)[,.]?\s{{1,8}}"
    rf"(?:{_TITLE}[^\S\n]{{0,3}}){{0,6}}(?P<name>{_FULL})"
)
_NO_ROLE = (
    r"(?!(?:HERRN?|Fr|Hr|Patient\w*|Betrifft|Betr|Kolleg\w*|Ihren?|Unser\w*"
    r"|Don|Doña|Mme|Madame|Monsieur|Kind|Baby|Infant|Male|Female)(?!\w))"
)
_GREETING = re.compile(
    rf"(?<!\w)(?:[Ll]ieber?|Dear|[Qq]uerid[oa]|[Cc]h[eè]re?){_GAP}(?P<name>{_NO_ROLE}{_FULL})"
    r"(?=[^\S\n]?[!,:])"
)
_SECOND = re.compile(
    rf"(?<!\w)[Dd]rs\.?{_GAP}{_FULL}{_GAP}(?:und|and|&|y|et){_GAP}(?P<name>{_FULL})"
)
_SURNAME_FIRST = re.compile(
    rf"(?<![\w{_MARK}.,-])(?P<name>{_NO_TITLE}{_WORD},[ ](?!D\.F|S\.[AL]|C\.P|U\.S|P\.O)"
    rf"{_UPPER}\.(?:[ ]?{_UPPER}\.){{0,2}})(?!\w)"
)
# Two words or more, and when they were born: "Weil, Klementine, geb. 16.01.1993".
_BORN_PART = rf"{_NO_ROLE}{_PART}"
_BORN = re.compile(
    rf"(?<![\w{_MARK}-])(?P<name>{_BORN_PART}(?:,?{_GAP}(?:{_BETWEEN}{_GAP})?{_BORN_PART}){{1,4}})"
    rf",?[^\S\n]{{0,2}}\(?(?:(?<=[ ,(])\*[ ]?\d{{1,2}}[./]|(?i:geb(?:oren)?|dob|d\.o\.b|born"
    rf"|nacid[oa]|née?|sinh)\.?:?[ ]?(?:(?:am|on|el|le|ngày)[ ])?\d)"
)
_DESCRIBED = re.compile(
    rf"\b(?i:patient|pt|female|male|woman|man|child|boy|girl|mother|father|son|daughter|wife"
    rf"|husband)"
    rf",?{_GAP}(?:named{_GAP}|called{_GAP})?(?P<name>(?P<first>{_WORD})(?:{_GAP}{_PART}){{0,3}})"
)
_CANDIDATE = re.compile(
    rf"(?<![\w{_MARK}-])(?P<first>{_WORD})(?P<rest>(?:{_GAP}(?:{_BETWEEN}{_GAP})?{_PART}){{1,4}})(?!\w)"
)
# Not names, though they stand where names do.
_NOT_WORDS = """
history hospital clinic medical center centre department patient date age sex the a an and of in
on for with was is has had no not he she his her male female mg ml mri ct ecg icu er servicio
hombre mujer varon paciente fecha edad sexo domicilio apellidos nhc informe urgencias die der das
dem den patientin kollegin kollege kollegen kolleginnen colleague colleagues sir madam doctor team
all kollegium aufnahme diagnose therapie klinik station chefarzt chefarztin oberarzt oberarztin
stationsarzt stationsarztin betrifft ihren unseren und oder wir bei disease syndrome score sign
test street avenue road drive university institute january february march april june july august
september october november december monday tuesday wednesday thursday friday saturday sunday damen
herren
"""
_NOT = frozenset(_NOT_WORDS.split())


class Names:
    """Finds names of people in texts of some languages."""

    def __init__(self, languages: tuple[DeidentifyLanguage, ...]) -> None:
        self._languages = languages

    def find(self, text: str) -> Iterator[Finding]:
        """Names after titles and in fields, and given names followed by a surname."""
        for pattern, by in (
            (_TITLED, "title"),
            (_SECOND, "title"),
            (_FIELDS, "field"),
            (_GREETING, "greeting"),
            (_CLOSING, "closing"),
            (_SURNAME_FIRST, "surname_first"),
        ):
            for match in pattern.finditer(text):
                span = _without_strangers(text, *match.span("name"))
                if span is not None:
                    yield Finding(*span, Category.NAME, by)
        for match in _BORN.finditer(text):
            span = _after_strangers(text, *match.span("name"))
            if span is not None:
                yield Finding(*span, Category.NAME, "born")
        given = given_names(self._languages)
        for match in _DESCRIBED.finditer(text):
            span = _without_strangers(text, *match.span("name"))
            if span is not None and key_of(match["first"]) in given:
                yield Finding(*span, Category.NAME, "described")
        for match in _CANDIDATE.finditer(text):
            first = key_of(match["first"]).split("-")[0]
            if first in given and first not in _NOT:
                span = _without_strangers(text, *match.span())
                if span is not None and span[1] > match.end("first"):
                    yield Finding(*span, Category.NAME, "given_name", Strength.SHAPE)


NAME_WORD = re.compile(rf"{_LETTER}+(?:['’]{_LETTER}+)*")
"""A word of a name; what a hyphen joins are two."""
_NAME_WORD = re.compile(rf"(?:{_LETTER}|\d)+(?:['’-](?:{_LETTER}|\d)+)*")


def _without_strangers(text: str, start: int, end: int) -> tuple[int, int] | None:
    """The part of a span before the first word that is none of a name."""
    last, before = start, ""
    shouted = text[start:end].isupper()
    for match in _NAME_WORD.finditer(text[start:end]):
        word, key = match[0], key_of(match[0])
        # "van der" and "VAN DER" are parts of a name, "Der" after it is not.
        inside = key in PARTICLES and (word.islower() or before in PARTICLES)
        before = key
        if inside:
            continue
        short = 1 < len(word) < 5 and word.isupper() and not shouted and last > start  # MD, DOB
        if short or (len(word) > 1 and key in _NOT):
            break
        if key not in PARTICLES:
            last = start + match.end()
            if len(word) == 1 and text[last : last + 1] == ".":
                last += 1
    last = min(last, end)
    if text[last - 2 : last] in ("'s", "’s"):
        last -= 2
    return (start, last) if last > start else None


def _after_strangers(text: str, start: int, end: int) -> tuple[int, int] | None:
    """The part of a span after the last word that is none of a name."""
    first: int | None = None
    for match in _NAME_WORD.finditer(text, start, end):
        if key_of(match[0]) in _NOT:
            first = None
        elif first is None:
            first = match.start()
    return None if first is None else (first, end)


def name_words(text: str) -> list[tuple[int, int]]:
    """The places of the words of a name that identify somebody: no particles, titles, initials."""
    return [
        (match.start(), match.end())
        for match in NAME_WORD.finditer(text)
        if len(match[0]) > 1
        and (match[0] in _GIVEN_TOO or match[0].lower() not in PARTICLES | TITLES)
    ]
