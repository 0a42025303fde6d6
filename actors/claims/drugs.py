"""Drug names in a text: by an open vocabulary, by stems, and by the dose that follows.

The vocabulary is ``starter:drugs``, DrugBank's open one. A name that it does not have, such as a
brand or one that a model invented, is found by the stems of WHO's international nonproprietary
names (-pril, -statin) or because a dose follows it. Lower and upper case do not matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache

from actors.config.load import STARTERS
from actors.linking import term_keys
from actors.linking.index import VocabularyIndex
from actors.linking.wordlists import SALTS

_MOST_WORDS = 4
_SHORTEST = 4  # letters of a name of one word: shorter ones are mostly codes of substances
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W_]+)*")
CAPITAL = r"(?:[A-Z]-)?[A-ZÀ-ÖØ-Þ][\w'’]*(?:-[\w'’]+)*"
_STEM = re.compile(
    r"(?:cillin|m[iy]cin|floxacin|cycline|azole|tidine|pril|sartan|olol|dipine|statin|gliptin|"
    r"gliflozin|glitazone|formin|glutide|lukast|triptan|setron|azepam|azolam|caine|profen|coxib|"
    r"dronate|parin|grel|xaban|gatran|[iu]mab|tinib|ciclib|vir|sone|solone|olone|onide|terol|"
    r"phylline|fenac|oxetine|triptyline|azodone|platin|rubicin|taxel|trexate|prim|thiazide|"
    r"semide|lactone|thyroxine|sentan|nafil|peridone|mofetil|zolid|xetine)\Z"
)
_ORDINARY = frozenset({
    # Words of every day that are names in the vocabulary, or end like one.
    "almond", "amber", "angelica", "apple", "balance", "banana", "barley", "basil", "beam", "bean",
    "beef", "blackberry", "blood", "bore", "cabbage", "camp", "caps", "capture", "carrot",
    "cascade", "catfish", "chalk", "cherry", "chicken", "chocolate", "cinnamon", "cocoa",
    "coconut", "corn", "cosmos", "cotton", "dates", "dimension", "duck", "dump", "elm", "fang",
    "garlic", "ginger", "goose", "grape", "hank", "hazelnut", "herring", "honey", "indigo",
    "inspire", "lamb", "lemon", "lena", "lesson", "lime", "lobster", "maize", "mango", "mate",
    "merlin", "milestone", "milk", "monitor", "mushroom", "olive", "onion", "orange", "oyster",
    "patrol", "peach", "peanut", "pear", "pearl", "perch", "person", "plum", "pork", "potato",
    "poultry", "pumpkin", "rabbit", "reason", "rice", "rosemary", "sage", "salmon", "same",
    "season", "sequel", "shrimp", "snail", "squash", "strawberry", "synonyms", "timothy", "titan",
    "tomato", "trout", "tuna", "turkey", "vanilla", "vinegar", "water", "wheat", "yeast",
    # Substances that a laboratory measures.
    "albumin", "bilirubin", "calcium", "chloride", "cholesterol", "cortisol", "creatinine",
    "ferritin", "fibrinogen", "folate", "glucose", "haemoglobin", "hemoglobin", "iron", "lactate",
    "magnesium", "nitrogen", "oxygen", "phosphate", "potassium", "prolactin", "protein", "sodium",
    "testosterone", "thyrotropin", "urea", "zinc",
})  # fmt: skip
"""Words that name a drug only where a dose follows."""
_BESIDE_A_DOSE = frozenset({
    "about", "above", "additional", "administered", "administer", "after", "amount", "another",
    "approximately", "around", "average", "before", "below", "bolus", "capsule", "capsules",
    "concentration", "containing", "contains", "continue", "continued", "current", "daily",
    "decreased", "decrease", "dosage", "dosages", "dose", "doses", "dosing", "drops", "either",
    "equals", "every", "exactly", "extra", "first", "fluid", "from", "gave", "give", "given",
    "giving", "height", "high", "higher", "increase", "increased", "initial", "injection", "intake",
    "is", "least", "less", "level", "levels", "loading", "lower", "lowered", "maximum", "minimum",
    "more", "morning", "nearly", "night", "only", "oral", "orally", "over", "plus", "prescribed",
    "quantity", "raised", "receive", "received", "receives", "receiving", "reduced", "reduce",
    "required", "second", "single", "size", "start", "started", "starting", "strength", "tablet",
    "tablets", "take", "taken", "takes", "taking", "target", "than", "their", "then", "these",
    "third", "this", "titrated", "today", "total", "twice", "under", "units", "upto", "using",
    "usual", "volume", "was", "weekly", "weight", "were", "which", "with", "within", "medication",
    "medicine", "drug", "treatment", "therapy", "patient", "urine", "blood", "sputum", "output",
    "loss", "mass", "drank",
})  # fmt: skip
"""Words that stand before a dose and are no drug."""
_BEFORE_DOSE = re.compile(
    rf"({CAPITAL}(?: {CAPITAL})*|[^\W\d_][\w'’-]{{3,}})"
    r"(?:\s+(?:tab(?:let)?s?|cap(?:sule)?s?|inj(?:ection)?|syrup|cream))?[ \t|:,(=–-]{1,4}\Z"
)
_GIVEN = re.compile(
    r"(?<![\w-])([^\W\d_][\w'’-]{3,}) (?:is|was) (?:taken|given|prescribed|started|continued|"
    r"increased|reduced|administered|dosed)\b(?=(?:[^.;\n]|\.(?!\s+[A-Z])){0,60}\Z)"
)
_OF_DOSE = re.compile(r"\s+of\s+([^\W\d_][\w'’-]{3,})", re.I)
_TITLES = frozenset({
    "mr", "mrs", "ms", "miss", "dr", "prof", "the", "a", "an", "her", "his", "this", "these",
    "tab", "cap", "inj", "tablet", "syp", "syrup",
})  # fmt: skip


class DrugNames:
    """Finds drug names, and tells whether two are names of one drug. Threads may share it."""

    def __init__(self, index: VocabularyIndex) -> None:
        self._index = index
        self._is_known = lru_cache(1 << 14)(self._known)
        self.concepts = lru_cache(1 << 12)(self._concepts)

    def find(self, text: str, doses: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """Yield the places of drug names, in order and without overlap.

        ``doses`` are the places of doses, in order: what one of them follows is a name, too.
        """
        found = sorted((*self._in_vocabulary(text), *self._beside(text, doses)))
        end = 0
        for start, stop in found:
            if start >= end:
                yield start, stop
                end = stop

    def same(self, one: str, other: str) -> bool:
        """Return True for two names of one drug: with and without its salt, or synonyms."""
        first, second = _bare(one), _bare(other)
        if first <= second or second <= first:
            return True
        return not self.concepts(one).isdisjoint(self.concepts(other))

    def _in_vocabulary(self, text: str) -> Iterator[tuple[int, int]]:
        words = list(_WORD.finditer(text))
        at = 0
        while at < len(words):
            length = self._length(text, words[at : at + _MOST_WORDS])
            if not length:
                at += 1
                continue
            last = at + length - 1
            while (
                last + 1 < len(words)
                and words[last + 1][0].casefold() in SALTS
                and text[words[last].end() : words[last + 1].start()] == " "
            ):
                last += 1
            yield words[at].start(), words[last].end()
            at = last + 1

    def _length(self, text: str, words: Sequence[re.Match[str]]) -> int:
        """Return how many of the first words form a drug name: the longest match, or 0."""
        together = 1
        while together < len(words) and text[
            words[together - 1].end() : words[together].start()
        ] in (" ", "-", "/"):
            together += 1
        for length in range(together, 1, -1):
            if self._is_known(text[words[0].start() : words[length - 1].end()]):
                return length
        word = words[0][0].casefold()
        if len(word) < _SHORTEST or word in _ORDINARY:
            return 0
        stem = len(word) > 5 and _STEM.search(word) is not None
        return int(stem or self._is_known(word))

    def _beside(self, text: str, doses: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        for start, end in doses:
            near = max(0, start - 100)
            for match in (
                _BEFORE_DOSE.search(text, near, start),
                _GIVEN.search(text, near, start),
                _OF_DOSE.match(text, end),
            ):
                if match is not None:
                    place = without_titles(text, *match.span(1))
                    name = text[slice(*place)].casefold()
                    if name and name not in _BESIDE_A_DOSE:
                        yield place

    def _known(self, name: str) -> bool:
        words = term_keys.words(name)
        # Most words are no part of any name: reject them without a search for the whole.
        if any(self._index.word(term_keys.key(term_keys.stem(word))) is None for word in words):
            return False
        return bool(len(self._index.names_of_key(term_keys.exact_key(words))))

    def _concepts(self, name: str) -> frozenset[int]:
        stems = term_keys.stems(term_keys.words(name))
        keys = {term_keys.folded_key(stems), term_keys.folded_key(sorted(_bare(name)))}
        index = self._index
        return frozenset(
            int(index.concept_of[one]) for key in keys for one in index.names_of_key(key)
        )


@cache
def drug_names() -> DrugNames:
    """Return the shipped names, mapped into memory once."""
    return DrugNames(VocabularyIndex(STARTERS / "drugs"))


def _bare(name: str) -> frozenset[str]:
    """The stems of a name without salts and dose forms."""
    stems = term_keys.stems(term_keys.words(name))
    return frozenset(term_keys.bare_stems(stems) or stems)


def without_titles(text: str, start: int, end: int) -> tuple[int, int]:
    """Return the place of a name without "Dr", "Tab." and the like; empty where no more is left."""
    while start < end:
        word = text[start:end].partition(" ")[0]
        if word.casefold().rstrip(".") not in _TITLES:
            return start, end
        start = min(end, start + len(word) + 1)
    return end, end
