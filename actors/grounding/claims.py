"""Fact-check free-text answers: extract verifiable claims and ground each in the document.

Claims are found by form, without a model: doses, durations, dates, numbered quantities, drugs (by
the stems of WHO's international nonproprietary names, or as the name before a dose), names
(capitalised words inside a sentence) and words in a script the document does not use. Similarity is
not enough here: prednisone is another drug than prednisolone, so nothing is matched fuzzily;
similar words are reported in the attribute ``similar``. A dose of a drug is grounded only near that
drug: on its line or the next, and before the next drug.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from actors.config.prompt import GroundingOptions
from actors.grounding.search import ground
from actors.spans import Entity, Grounding, Mention

DRUG, DOSE, DURATION, DATE, NAME, SCRIPT = "DRUG", "DOSE", "DURATION", "DATE", "NAME", "SCRIPT"
OF, ELSEWHERE, SIMILAR = "of", "elsewhere", "similar"

_EXACT = GroundingOptions(fuzzy_threshold=1.0)
_FUZZY = GroundingOptions()
_TO_TWELVE = "one two three four five six seven eight nine ten eleven twelve"
_WORDS = _TO_TWELVE.split(" ")
_NUMBER = r"\d+(?:[.,]\d+)*"
_UNIT = (
    r"(?:mcg|µg|μg|ug|mg|ng|kg|g|grams?|ml|cc|dl|l|iu|units?|mmol|meq|mmhg|bpm|%|puffs?|drops?|"
    r"tablets?|tabs?|capsules?|caps?|pills?)(?:/(?:ml|kg|day|dl|l|h|min|m2))?"
)
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_CAPITAL = r"(?:[A-Z]-)?[A-ZÀ-ÖØ-Þ][\w'’]*(?:-[\w'’]+)*"
_FORMS = (
    (DATE, rf"\d{{1,4}}[/.-]\d{{1,2}}[/.-]\d{{1,4}}|\d{{1,2}} {_MONTH} \d{{2,4}}"),
    (DATE, rf"{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}}"),
    (
        DURATION,
        rf"(?:{_NUMBER}|{'|'.join(_WORDS)})[ -]?(?:day|week|month|year|hour|minute)s?\b"
        r"|(?:once|twice|thrice) (?:a |per )?(?:daily|day|weekly|week)",
    ),
    (DOSE, rf"{_NUMBER}[ -]?{_UNIT}(?![\w])"),
)
_PATTERNS = [(label, re.compile(rf"(?<![\w.,])(?:{form})", re.I)) for label, form in _FORMS]
_NAME = re.compile(rf"(?<![\w-]){_CAPITAL}(?: {_CAPITAL})*")
_TITLE = re.compile(r"^(?:Mr|Mrs|Ms|Miss|Dr|Prof|The|A|An|Her|His|This|These|Tab|Cap|Inj)\.?$")
_STEM = re.compile(
    r"(?:cillin|m[iy]cin|floxacin|cycline|azole|tidine|pril|sartan|olol|dipine|statin|gliptin|"
    r"gliflozin|glitazone|formin|glutide|lukast|triptan|setron|azepam|azolam|caine|profen|coxib|"
    r"dronate|parin|grel|xaban|gatran|[iu]mab|tinib|ciclib|vir|sone|solone|olone|onide|terol|"
    r"phylline|fenac|oxetine|triptyline|azodone|platin|rubicin|taxel|trexate|prim|thiazide|"
    r"semide|lactone|thyroxine|sentan|nafil|peridone|mofetil|zolid|folate|xetine)$"
)
# Words with the ending of a drug name that are not drugs.
_NOT_DRUGS = frozenset(["person", "reason", "lesson", "season", "folate", "lactone"])
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_SENTENCE = re.compile(r"(?:^|[.!?:|]\s+|\n)[\s>*#|_-]*(?:\d+[.)]\s*)?[*_]*$")
_HEADING = re.compile(r"\s*(?:#+\s|\d+[.)]\s+(?:[A-Z&(][\w()&-]*\s*)+:?\s*$)|.*\|\s*:?-{2,}")
_ASIDE = re.compile(r"[\n|;]|\.\s")


@dataclass(frozen=True, slots=True)
class _Claim:
    label: str
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def check(answer: str, text: str, *, model: str = "") -> list[Entity]:
    """Return the claims of ``answer`` in order, without repeats, as entities of ``text`` or
    ungrounded.

    Attributes: ``of`` is the drug that a dose belongs to; ``elsewhere`` marks an ungrounded dose
    that is in the text but not near its drug; ``similar`` has words of the text that resemble an
    ungrounded drug or name.
    """
    claims = list(_claims(answer, _scripts(text)))
    drugs = [claim for claim in claims if claim.label == DRUG]
    lines = _Lines(text, drugs)
    found: dict[tuple[object, ...], Entity] = {}
    for claim in claims:
        drug = _drug_of(claim, drugs, answer) if claim.label in (DOSE, DURATION) else None
        entity = _grounded(claim, drug, text, lines, model)
        same = (entity.label, entity.text, entity.start, *entity.attributes.items())
        found.setdefault(same, entity)
    return list(found.values())


def _claims(answer: str, scripts: frozenset[str]) -> Iterator[_Claim]:
    taken = bytearray(len(answer))
    found: list[_Claim] = []

    def take(label: str, start: int, end: int) -> None:
        if start < end and not any(taken[start:end]):
            taken[start:end] = b"\1" * (end - start)
            found.append(_Claim(label, answer[start:end], start))

    for label, pattern in _PATTERNS:
        for match in pattern.finditer(answer):
            take(label, *match.span())
    for match in _WORD.finditer(answer):
        if _is_drug(match[0]):
            take(DRUG, *_whole_name(answer, match.start(), match.end()))
    for start, end in _foreign(answer, scripts):
        take(SCRIPT, start, end)
    at = 0
    for line in answer.splitlines(keepends=True):
        following = answer[at + len(line) :].partition("\n")[0]
        if not _HEADING.match(line) and not _HEADING.match(following):
            for match in _NAME.finditer(line):
                start, end = _without_titles(answer, at + match.start(), at + match.end())
                followed = re.match(rf"[\s|:,(–-]*{_NUMBER}[ -]?{_UNIT}(?!\w)", answer[end:], re.I)
                alone = " " not in answer[start:end] and not answer[start:end].isupper()
                if followed:
                    take(DRUG, start, end)
                elif not (alone and _SENTENCE.search(answer[:start])) and end - start > 1:
                    take(NAME, start, end)
        at += len(line)
    yield from sorted(found, key=lambda claim: claim.start)


def _is_drug(word: str) -> bool:
    folded = word.casefold()
    return len(word) > 5 and _STEM.search(folded) is not None and folded not in _NOT_DRUGS


def _whole_name(answer: str, start: int, end: int) -> tuple[int, int]:
    """Extend a drug to the capitalised words around it, such as a salt or a first part."""
    for match in _NAME.finditer(answer, max(0, start - 60), min(len(answer), end + 40)):
        if match.start() <= start and end <= match.end():
            return _without_titles(answer, *match.span())
    return start, end


def _without_titles(answer: str, start: int, end: int) -> tuple[int, int]:
    while True:
        word = answer[start:end].partition(" ")[0]
        if not _TITLE.match(word) or word == answer[start:end]:
            return (end, end) if _TITLE.match(word) else (start, end)
        start += len(word) + 1


def _scripts(text: str) -> frozenset[str]:
    """Return the scripts of a text's letters, by Unicode character names: LATIN, CJK..."""
    letters = {character for character in text if character.isalpha()}
    return frozenset({"LATIN", "GREEK", "MICRO"}) | {
        unicodedata.name(letter, "?").partition(" ")[0] for letter in letters
    }


def _foreign(answer: str, scripts: frozenset[str]) -> Iterator[tuple[int, int]]:
    """Yield runs of letters in scripts that the text does not use."""
    start: int | None = None
    for at, character in enumerate(f"{answer} "):
        foreign = character.isalpha() and not _scripts(character) <= scripts
        if foreign and start is None:
            start = at
        elif not foreign and start is not None:
            yield start, at
            start = None


def _drug_of(claim: _Claim, drugs: Sequence[_Claim], answer: str) -> _Claim | None:
    """Return the drug right before a dose: in the same sentence, or the same table row."""
    before = [drug for drug in drugs if drug.end <= claim.start]
    if not before or claim.label != DOSE:
        return None
    between = answer[before[-1].end : claim.start]
    row = "\n" not in between and between.count("|") == 1
    return before[-1] if row or (len(between) < 60 and not _ASIDE.search(between)) else None


class _Lines:
    """The regions of the text around each drug of an answer."""

    def __init__(self, text: str, drugs: Sequence[_Claim]) -> None:
        self._text = text
        self._folded = text.casefold()
        self._starts = {name for drug in drugs for name in [_first(drug.text)]}

    def of(self, drug: _Claim) -> list[tuple[int, int]]:
        """Return regions from each mention of a drug to the end of the next line or to the next
        drug."""
        regions = []
        for match in re.finditer(rf"(?<!\w){re.escape(_first(drug.text))}", self._folded):
            end = self._folded.find("\n", match.end())
            end = self._folded.find("\n", end + 1) if end >= 0 else end
            end = len(self._text) if end < 0 else end
            others = (
                self._folded.find(name, match.end(), end)
                for name in self._starts - {_first(drug.text)}
            )
            regions.append((match.start(), min([end, *(o for o in others if o >= 0)])))
        return regions


def _first(name: str) -> str:
    return name.casefold().split()[0]


def _grounded(claim: _Claim, drug: _Claim | None, text: str, lines: _Lines, model: str) -> Entity:
    attributes = {OF: drug.text} if drug is not None else {}
    anywhere = _found(claim, text, (0, len(text)), model)
    regions = lines.of(drug) if drug is not None else []
    if drug is not None:
        places = (_found(claim, text, region, model) for region in regions)
        place = next((one for one in places if one.start is not None), None)
        if place is not None:
            return replace(place, attributes=attributes)
        if anywhere.start is not None:
            attributes[ELSEWHERE] = "yes"
        return _ungrounded(claim, attributes, model)
    if anywhere.start is None and claim.label in (DRUG, NAME):
        [closest] = ground([Mention(claim.label, claim.text)], text, _FUZZY, model=model)
        if closest.start is not None:
            attributes[SIMILAR] = closest.text
    return replace(anywhere, attributes=attributes)


def _found(claim: _Claim, text: str, window: tuple[int, int], model: str) -> Entity:
    for form in _forms(claim):
        [entity] = ground([Mention(claim.label, form)], text, _EXACT, model=model, window=window)
        if entity.start is not None:
            how = entity.grounding if form == claim.text else Grounding.NORMALIZED
            return replace(entity, grounding=how)
    return _ungrounded(claim, {}, model)


def _ungrounded(claim: _Claim, attributes: dict[str, str], model: str) -> Entity:
    return Entity(
        claim.label,
        claim.text,
        None,
        None,
        grounding=Grounding.UNGROUNDED,
        attributes=attributes,
        model=model,
    )


def _forms(claim: _Claim) -> list[str]:
    """Return equivalent spellings: "5 mg" and "5mg", "µg" and "mcg", "five days" and "5 days"."""
    forms = [claim.text]
    if claim.label not in (DOSE, DURATION):
        return forms
    parts = re.fullmatch(rf"({_NUMBER}|[a-z]+)[ -]?(.+)", claim.text, re.I | re.S)
    if parts is None:
        return forms
    number, unit = parts[1], parts[2]
    numbers = [number]
    if number.casefold() in _WORDS:
        numbers.append(str(_WORDS.index(number.casefold()) + 1))
    elif number.isdigit() and 1 <= int(number) <= len(_WORDS):
        numbers.append(_WORDS[int(number) - 1])
    units = [unit, unit.removesuffix("s"), f"{unit}s"]
    if unit.casefold() in ("ug", "mcg", "µg", "μg"):
        units += ["mcg", "µg", "μg", "ug"]
    forms += [f"{n}{gap}{u}" for n in numbers for u in units for gap in (" ", "")]
    return list(dict.fromkeys(forms))
