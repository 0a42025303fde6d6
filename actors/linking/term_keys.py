"""Terms and mentions folded to keys, so that spellings of one name meet.

A name is cut into words (case, accents, punctuation and Greek letters folded), and each word into
a stem (plural, British and American spelling). From these come four keys, strictest first:

* exact: the words in order;
* folded: the stems in sorted order, without function words;
* joined: the stems in order, without the spaces between them ("non polyposis", "nonpolyposis");
* bare: the folded key without salts and dose forms, for drugs only.

Folding is lossy on purpose and applied to both sides alike; no key is ever shown.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from functools import lru_cache

from actors.linking.wordlists import FUNCTION_WORDS, SALTS_AND_FORMS

_GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "ζ": "zeta",
    "η": "eta", "θ": "theta", "κ": "kappa", "λ": "lambda", "μ": "mu", "ω": "omega", "σ": "sigma",
    "τ": "tau", "φ": "phi", "χ": "chi", "ψ": "psi",
}  # fmt: skip
_GREEK_TABLE = str.maketrans({letter: f" {name} " for letter, name in _GREEK.items()})
_POSSESSIVE = re.compile(r"(?<=\w)['’´`]s\b")
_WORD = re.compile(r"(?<!\w)\d+\.\d+(?!\w)|[^\W_]+")
"""A decimal number is one word: 0.25 mg is not 25 mg."""
_UNIT = re.compile(r"(?<=\d)(?=(?:mg|mcg|g|ml|iu|meq|mmol)\b)")
"""Between a number and its unit: 500mg is two words."""
_PREFIX = re.compile(
    r"\b(non|pre|post|anti|sub|intra|inter|hyper|hypo|pseudo|peri)[-\s]"
    rf"(?!(?:{'|'.join(sorted(FUNCTION_WORDS))})\b)(?=[^\W\d_]{{3}})"
)
"""Before a word that these turn into another: "non-polyposis" is no polyposis."""

_NUMBERS = {
    "first": "1", "second": "2", "third": "3", "fourth": "4", "fifth": "5", "sixth": "6",
    "seventh": "7", "eighth": "8", "ninth": "9", "tenth": "10",
    "i": "1", "ii": "2", "iii": "3", "iv": "4", "v": "5", "vi": "6", "vii": "7", "viii": "8",
    "ix": "9", "x": "10", "xi": "11", "xii": "12", "xiii": "13",
}  # fmt: skip


def words(text: str) -> list[str]:
    """The words of a name: letters and digits, folded in case, accents and Greek letters."""
    text = _POSSESSIVE.sub("", text)
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text.translate(_GREEK_TABLE))
        text = "".join(c for c in text if not unicodedata.combining(c)).translate(_GREEK_TABLE)
    return _WORD.findall(_UNIT.sub(" ", _PREFIX.sub(r"\1", text.casefold())))


@lru_cache(maxsize=1 << 18)
def stem(word: str) -> str:
    """A word without its plural, in one of its spellings: tumours, tumors, tumour -> tumor."""
    if len(word) < 4 or word in _NUMBERS:
        return _NUMBERS.get(word, word)
    word = word.replace("ae", "e").replace("oe", "e").replace("our", "or")
    word = word.replace("sulph", "sulf").replace("z", "s").replace("ll", "l")
    if word.endswith(("tre", "bre")):
        word = word[:-2] + "er"
    return _singular(word)


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith("omata"):
        return word[:-3]
    if word.endswith("itides"):
        return word[:-4]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    # metastasis and metastases, diverticulum and diverticula, carcinoma and carcinom meet here.
    for ending in ("is", "um", "e", "a"):
        if word.endswith(ending) and len(word) - len(ending) > 3:
            return word[: -len(ending)]
    return word


def stems(name_words: list[str]) -> list[str]:
    """The stems of a name in order, without function words unless it has no others."""
    kept = [stem(word) for word in name_words if word not in FUNCTION_WORDS]
    return kept or [stem(word) for word in name_words]


_BARE_STEMS = frozenset(stem(word) for word in SALTS_AND_FORMS)


def exact_key(name_words: list[str]) -> int:
    """The key of the words in order."""
    return key("e " + " ".join(name_words))


def folded_key(name_stems: list[str]) -> int:
    """The key of the stems in any order."""
    return key("f " + " ".join(sorted(name_stems)))


def joined_key(name_words: list[str]) -> int:
    """The key of all words' stems in order, wherever the spaces are."""
    return key("j " + "".join(map(stem, name_words)))


def bare_key(name_stems: list[str]) -> int:
    """The key of what `bare_stems` left, in any order."""
    return key("b " + " ".join(sorted(name_stems)))


def bare_stems(name_stems: list[str]) -> list[str]:
    """The stems without salts and dose forms; empty where nothing else is left."""
    return [name_stem for name_stem in name_stems if name_stem not in _BARE_STEMS]


def key(text: str) -> int:
    """A 64-bit hash that is the same in every process and on every machine.

    Among 10 million keys a lookup meets a foreign one once in 10^12 times, so keys are not
    compared again with the text they come from.
    """
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
