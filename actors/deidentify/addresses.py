"""Whole addresses: street, town and postal code, in the orders of many countries.

The postal code is what is looked for. From there the parts before it, between commas and ends of
lines, are read back to the street. "Sodium 140, 4500 Units" has the same shape, so something must
say that it is an address: a word for a street, a word such as "lives", lines of their own, or a
code whose form little else has.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from actors.config.deidentify import Category
from actors.deidentify.dictionaries import faker_list
from actors.deidentify.findings import Finding, Strength

_REACH = 140
"""Code points before a code in which its street begins."""
_MOST_PARTS = 5

_UNITS_OF_MEASURE = r"mg|mcg|µg|g|gm|kg|ml|l|iu|ui|u|cc|kcal|mm|cm|x|am|pm|hr"
_CODE = re.compile(
    r"(?<![\w.,/])(?<!\d-)-?(?P<code>"
    r"(?P<sure>(?:[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}|[A-Z]\d[A-Z][ ]?\d[A-Z]\d"
    r"|[A-Z]\d[\dW] ?(?=\d{0,3}[A-Z])[A-Z\d]{4}"
    rf"|\d{{4}}[ ]?[A-Z]{{2}})(?<!(?i:[ \d](?:mg|gm|kg|ml|iu|ui|cc|mm|cm|am|pm|hr)))"
    r"|\d{4}-\d{3}|\d{5}-\d{3,4})"
    r"|(?:[A-Z]{1,2}-)?(?:\d{3}[ ]\d{2,3}|\d{8}|\d{4,6})|(?P<range>\d\d-\d{3})"
    rf")(?!\w|[.,/-]\d|[ ]?(?i:{_UNITS_OF_MEASURE})\b)"
)
"""``sure``: Britain, Canada, Ireland, the Netherlands, Portugal, Brazil, ZIP+4. ``range``: Poland,
or from 70 to 110."""
_YEAR = re.compile(r"(?:19|20)\d\d|0000")  # the second look has zeros for replaced digits

_BREAK = re.compile(r"[^\S\n]*,?[^\S\n]*\n(?:[^\S\n]*\n)?[^\S\n]*[>,]?[^\S\n]*|[^\S\n]?,[^\S\n]+")
"""Between the parts of an address: a comma, or an end of line, in a quoted letter too."""
_CAPITAL = r"[^\W\da-zß-öø-ÿ_]"
NO_FIELD = r"(?!(?:E-?[Mm]ail|Correo|Tel[ée]fono|Tel|Tfno|Fax|Dra?|Prof)(?!\w))"
"""Before a word of a name: the town of "Madrid E-mail: a@b.es" is Madrid."""
_WORD = rf"{NO_FIELD}(?:{_CAPITAL}|[dl]['’])[\w\u0300-\u036f.'’´-]{{0,40}}"
_SMALL = (
    r"(?:de la|de los|de las|del|de|da|do|dos|das|di|della|of|the|for|der|des|den|dem|van|von|du|la"
    r"|las|los|le|les|y|e|and|&|-|–|am|an|bei|im|in|nad|pod|sur|sous|près)"
)
_NAME = rf"{_WORD}(?:[ ]{{1,2}}(?:{_SMALL}[ ]){{0,2}}{_WORD}){{0,5}}"
_PLACE = re.compile(rf"{_NAME}(?:[ ](?:los|las)?[ ]?\w{{3,10}})?(?:[ ]?\([\w ]{{2,40}}\))?")
"""A town, perhaps with its canton or county."""
_CAPITALS = re.compile(r"[A-Z]{2,3}")

_BEFORE_NAME = (
    r"calle|c/|c\.|cl\.|avenida|avda?\.?|av\.|plaza|pza\.?|paseo|v[ií]a|vial|rambla|glorieta"
    r"|urbanización|callejón|cañada|alameda|acceso|ronda|pasaje|psje\.?|cuesta|pasadizo|camino"
    r"|carretera|ctra\.?|travesía|calzada|privada|cerrada|prolongación|boulevard|bl[vu]d?\.?|diagonal"
    r"|diag\.|dg\.|transversal|tr\.|carrera|cr\.|circuito|andador|periférico|retorno|viaducto"
    r"|rue|chemin|avenue|all[ée]e?|quai|impasse|route|montée|rang|cours|passage|sentier"
    r"|strada|viale|piazza|vicolo|corso|largo|borgo|contrada|rotonda"
    r"|incrocio|stretto|canale|piazzale|lungo\w+"
    r"|rua|travessa|praça|estrada|rodovia|pátio|ladeira|ul\.|ulica|aleja|al\.|plac|pl\.|os\."
    r"|aleea|bulevardul|b-dul|[sș]oseaua|intrarea|calea|drumul|jalan|jl\.|gang|gg\.|đường|phố|ngõ|hẻm"
)
_IN_NAME = (
    r"stra(?:ß|ss)e|str\.|weg|platz|gasse|allee|ufer|pfad|damm|ring|markt"
    r"|straat|laan|singel|dreef|steeg|plein|kade|gracht|baan"
    r"|gatan|vägen|stigen|gränd|torget|gata|veien|vei|bakken|gade|stræde|vej"
    r"|åsen|katu|tie|polku|kuja|bulevardi"
)
_AFTER_NAME = """
St Ave Rd Dr Ln Blvd Ct Pl Sq Ter Pkwy Cir Hwy Trl Crescent Close Nagar Marg Chowk Ganj Path
utca Utca út tér köz körút sétány ulica Ulica cesta Cesta trg Trg námestie náměstí Allé
Centre Entrance
"""
"""Beside the English words in Faker's lists."""
_SAYS_ADDRESS = re.compile(
    r"(?i:address|\bhome|\bhouse|\bliv(?:es?|ed|ing)\b|\bresid\w+|\bmoved|\bmail(?:ed|ing)?|\bsen[dt]"
    r"|\blocated|\breturn|\bmeet|\bdeliver"
    r"|domicili\w+|direcci[oó]n|\bviv(?:e|ía|en)\b|wohn\w*|adresse|anschrift|habit\w+|demeurant"
    r"|địa chỉ)"
    r"\W{1,4}(?:\w+\W{1,3}){0,3}$"
)

_NO_DATE = r"(?!\d{1,4}[/-]\d{1,2}[/-]\d{2,4}(?!\w))"
_HOUSE = (
    _NO_DATE
    + r"(?:N[ºo°r]\.?[ ]?)?\d{1,6}(?:[ ]?[a-zA-Z](?!\w))?(?:[ ]?[/-][ ]?\d{1,4}[a-zA-Z]?){0,3}"
)
_UNIT = (
    r"(?i:apt|apartment|apartamento|apto|suite|ste|unit|flat|studio|level|floor|appartement|piso"
    r"|puerta|interior|int|edif|depto|dto|oficina|of|local|torre|casa|etapa|bodega"
    r"|appartamento|piano|interno|scala|whg|wohnung|top|stiege|bl|sc|et|ap|box|bis|h\.no)"
    r"\.?[ ]{0,2}#?\d{0,5}[a-zA-Z]?"
)
_UNITS = rf"(?:,?[ ]{{1,2}}{_UNIT}(?!\w)){{0,3}}"
_FIRST = rf"(?:(?i:{_BEFORE_NAME})[ ]?(?:{_SMALL}[ ]){{0,2}})?"
_STREET = re.compile(
    rf"(?<![\w.,/-])(?:{_UNIT}[ /]{{1,2}})?(?:"
    # 743 North Burgs, 12 rue de la Paix, 6750 Elm Road 25
    rf"{_HOUSE}[ ]{{1,2}}{_FIRST}{_NAME}(?:[ ]{_HOUSE})?"
    # Elmstraße 7-9, ul. Leśna 12/3, Kossuth utca 12.
    rf"|{_FIRST}{_NAME}(?:[ ](?:utca|út|tér|köz|körút|ulica|cesta|trg))?[ ]{{1,2}}"
    rf"#?{_HOUSE}\.?(?:[ ]\d{{1,5}})?"
    # Cr. 63 Bis # 8-53, đường 14
    rf"|(?:(?:Số )?{_HOUSE}[ ])?(?i:{_BEFORE_NAME})[ ]\d[\w#ª°º. -]{{0,30}}"
    rf"){_UNITS}$"
)
_PREFIXED = re.compile(rf"(?<!\w)(?i:{_BEFORE_NAME})[ ](?:{_SMALL}[ ]){{0,2}}{_NAME}{_UNITS}$")
"""A street without a number."""
_NAME_ALONE = re.compile(rf"(?<![\w.-]){_FIRST}{_NAME}$")
_NUMBER_ALONE = re.compile(rf"(?:{_HOUSE}|{_UNIT}){_UNITS}")
_FLAT_LAST = re.compile(rf"(?<!\w){_UNIT}$")
_HOUSE_LAST = re.compile(rf"(?<![\w.,/-])(?:H\.No\.[ ]?)?{_HOUSE}$")
_FULL_STOP = re.compile(r"\w{3}\.$")
_AFTER_CODE = re.compile(r"[ ]{1,2}|,[ ]|[^\S\n]*\n[^\S\n]*")
_REGION = re.compile(rf",[ ](?P<place>{_PLACE.pattern})(?=[.;]?[^\S\n]*(?:\n|$))")
_LINE_ENDS = re.compile(r"[^\n]{0,60}(?:\n|$)")

_FLAT = r"(?i:apt|apartment|suite|flat|whg|piso|appartement)\.?[ ]?#?\d{1,5}(?!\w)"
_A_FLAT = re.compile(rf"(?<!\w){_FLAT}")
_FLAT_TO_CODE = re.compile(
    rf"(?<!\w){_FLAT}(?P<places>[\s,]\D{{2,80}})"
    r"(?P<zip>[A-Z]{1,2}\d[A-Z\d]?[ ]\d[A-Z]{2}|\d{3}[ ]\d\d"
    rf"|\d\d-\d{{3}}|\d{{3,6}}(?:-\d{{3,4}})?)(?=[.,;?!]?(?:\s|$))(?![ ]{_CAPITAL})"
)
_MOST_WORDS = 5
"""Words of a town or region after a flat, in capitals or not."""
_WITH_FLAT = re.compile(
    rf"(?<![\w.,/-])(?:{_HOUSE}[ ]{{1,2}}{_FIRST}{_NAME}(?:[ ]{_HOUSE})?"
    rf"|{_FIRST}{_NAME}[ ]{_HOUSE})(?:{_BREAK.pattern}|[ ]){_FLAT}"
)
_NAMED_STREET = re.compile(
    r"(?<!\w)(?:(?:[Rr]u[ae]|[Vv]iale|[Pp]iazza|[Uu]l\.|[Uu]lica|[Aa]leja|[Ss]trada|[Jj]alan|[Aa]vd[ae]\.)"
    rf"[ ](?:{_SMALL}[ ]){{0,2}}{_NAME}"
    rf"|{_WORD}(?:straat|laan|singel|gracht|gatan|vägen|gränd|veien|gade|vej|stræde|katu|kuja|polku))"
    rf",?[ ](?=\d{{1,4}}(?!\d)){_HOUSE}(?![\w.,]\w|%)"
)
"""Streets that hardly anything else looks like, without a code."""

_VIETNAMESE_STREET = re.compile(
    rf"(?<![\w/])(?:[Ss]ố[ ])?\d{{1,5}}[A-Z]?(?:/\d{{1,4}}){{0,4}}[ ]"
    rf"(?:(?i:tổ|khóm|khu phố|ấp|thôn|ngõ|hẻm|kiệt|khu|dãy|làng)[ ][\w/]{{1,6}},?[ ])?"
    rf"(?i:đường|phố|ngõ|hẻm|tổ|khóm|khu|làng|dãy|số)[ ](?:số[ ])?(?:{_NAME}|\d{{1,4}})"
)
_VIETNAMESE_PLACE = re.compile(
    rf"(?<!\w)(?i:phường|xã|thị trấn|quận|huyện|thị xã|thành phố|tỉnh|tp\.?)[ ]"
    rf"(?:{_NAME}|\d{{1,2}})"
    r"(?:[ ](?P<zip>\d{5,6}))?(?!\w)"
)


@dataclass(frozen=True, slots=True)
class _Part:
    """The text between two breaks; ``line``: true if a line ends after it."""

    start: int
    end: int
    line: bool


@dataclass(frozen=True, slots=True)
class _Street:
    """A street at ``[start, end)``; ``after``: the number of the first part after it."""

    start: int
    end: int
    after: int
    line: bool


def find_addresses(text: str) -> Iterator[Finding]:
    """Streets, towns and states around postal codes, with the codes; Vietnamese places."""
    for match in _CODE.finditer(text):
        yield from _around(text, match)
    for match in _FLAT_TO_CODE.finditer(text):
        yield from _after_flat(match)
    for pattern in (_WITH_FLAT, _NAMED_STREET, _VIETNAMESE_STREET):
        for match in pattern.finditer(text):
            yield Finding(*match.span(), Category.STREET, "address")
    for match in _VIETNAMESE_PLACE.finditer(text):
        yield Finding(*match.span(), Category.CITY, "address")
        if match["zip"]:
            yield Finding(*match.span("zip"), Category.ZIP, "address")


def _around(text: str, code: re.Match[str]) -> Iterator[Finding]:
    start, end = code.span("code")
    parts = _parts_before(text, start)
    street = _street(text, parts)
    if street is None:
        return
    places = [(part.start, part.end) for part in parts[street.after : -1]]
    if not all(_is_place(text[a:b]) for a, b in places):
        return
    head = ""
    if street.after < len(parts):
        head = text[parts[-1].start : start].rstrip(" ,-/")
        if head and not _is_place(head):
            return
    town = _place_after(text, end)
    if not (places or head or town) or not _is_sure(text, street, code, head):
        return
    yield Finding(street.start, street.end, Category.STREET, "address")
    yield Finding(start, end, Category.ZIP, "address")
    if _CAPITALS.fullmatch(head):
        if places:
            yield Finding(parts[-1].start, parts[-1].start + len(head), Category.STATE, "address")
    elif head:
        places.append((parts[-1].start, parts[-1].start + len(head)))
    if town is not None and not places and not head:
        places.append(town)
        end = town[1]
    if (region := _REGION.match(text, end)) is not None:
        places.append(region.span("place"))
    for a, b in places:
        yield Finding(a, b, Category.CITY, "address")


def _after_flat(match: re.Match[str]) -> Iterator[Finding]:
    """The towns and the code after a flat, whatever the street before it."""
    places = []
    start = match.start("places")
    for part in re.split(r"[,\n]", match["places"]):
        words = [word.span() for word in re.finditer(r"\w+", part)]
        if len(words) > _MOST_WORDS or ":" in part or ". " in part:
            return
        if words:
            places.append((start + words[0][0], start + words[-1][1]))
        start += len(part) + 1
    if 0 < len(places) <= _MOST_PARTS:
        for a, b in places:
            yield Finding(a, b, Category.CITY, "address", Strength.SHAPE)
        yield Finding(*match.span("zip"), Category.ZIP, "address")


def _parts_before(text: str, at: int) -> list[_Part]:
    """The parts before a code, the last one its own and perhaps empty."""
    start = max(0, at - _REACH)
    parts = []
    for match in _BREAK.finditer(text, start, at):
        parts.append(_Part(start, match.start(), "\n" in match[0]))
        start = match.end()
    end = start + len(text[start:at].rstrip(" -"))
    return [*parts, _Part(start, end, False)][-_MOST_PARTS - 1 :]


def _street(text: str, parts: Sequence[_Part]) -> _Street | None:
    """The nearest street before the code, with the flat or number in the part before it."""
    numbers: int | None = None  # the last part of those that are a house number or flats alone
    for at in range(len(parts) - 1, -1, -1):
        part = parts[at]
        last = at if numbers is None else numbers
        found = None
        if at < len(parts) - 1 and _NUMBER_ALONE.fullmatch(text, part.start, part.end):
            if numbers is None:
                numbers = at
        else:
            found = _STREET.search(text, part.start, part.end)
            found = found or _PREFIXED.search(text, part.start, part.end)
            if found is None and numbers == at + 1:
                found = _NAME_ALONE.search(text, part.start, part.end)
        if found is not None:
            began = _with_number(text, parts, at, found)
            return _Street(began, parts[last].end, last + 1, parts[last].line)
        if at == len(parts) - 1 or (numbers == at and at):
            continue
        number = _FLAT_LAST.search(text, part.start, part.end)
        number = number or _HOUSE_LAST.search(text, part.start, part.end)
        if number is not None and at + 2 < len(parts):
            # "39/150" at the end of a line, then the street.
            return _Street(number.start(), parts[at + 1].end, at + 2, parts[at + 1].line)
        if numbers is not None or not _is_place(text[part.start : part.end]):
            return None
    return None


def _with_number(text: str, parts: Sequence[_Part], at: int, found: re.Match[str]) -> int:
    """The start of a street, or of its flat or house number at the end of the part before it."""
    if at == 0 or found.start() != parts[at].start:
        return found.start()
    before = parts[at - 1].start, parts[at - 1].end
    number = _FLAT_LAST.search(text, *before)
    if number is None and not any(map(str.isdigit, found[0])):
        number = _HOUSE_LAST.search(text, *before)
    return number.start() if number else found.start()


def _is_place(part: str) -> bool:
    return _PLACE.fullmatch(part.strip()) is not None


def _place_after(text: str, at: int) -> tuple[int, int] | None:
    """The town after a code: on its line, or a line of its own."""
    gap = _AFTER_CODE.match(text, at)
    town = _PLACE.match(text, gap.end(), gap.end() + 60) if gap else None
    if town is None:
        return None
    # A full stop after three letters or more ends a sentence.
    return town.start(), town.end() - bool(_FULL_STOP.search(town[0]))


def _is_sure(text: str, street: _Street, code: re.Match[str], head: str) -> bool:
    """True if more than the shape tells that this is an address."""
    if _SAYS_ADDRESS.search(text, max(0, street.start - 60), street.start) or code["sure"]:
        return True
    if _YEAR.fullmatch(code["code"]):
        return False
    if head in _states() or any(
        sign.search(text, street.start, street.end) for sign in (_A_FLAT, _street_word())
    ):
        return True
    # A line of its own, and one that begins with the code: results of tests end with numbers.
    before = text[max(0, street.start - 80) : street.start].rstrip(" \t")
    starts_line = before[-1:] in ("", "\n")
    begins_next = not code["range"] and not text[street.end : code.start()].strip(" \t\n,")
    ends_line = _LINE_ENDS.match(text, code.end()) is not None
    return starts_line and street.line and begins_next and ends_line


@cache
def _states() -> frozenset[str]:
    """Short names of the states and provinces of the United States, Canada and Australia."""
    return frozenset(
        short
        for locale, kind in (
            ("en_US", "states_abbr"),
            ("en_CA", "provinces_abbr"),
            ("en_AU", "states_abbr"),
        )
        for short in faker_list("address", locale, kind)
    )


@cache
def _street_word() -> re.Pattern[str]:
    """Words for streets: before a name, at its end, or after it."""
    english = {
        word for one in ("en_US", "en_AU") for word in faker_list("address", one, "street_suffixes")
    }
    after = "|".join(map(re.escape, sorted({*english, *_AFTER_NAME.split()})))
    return re.compile(
        rf"(?<!\w)(?i:{_BEFORE_NAME})(?!\w)|(?i:{_IN_NAME})(?!\w)|(?<!\w)(?:{after})(?!\w)"
    )
