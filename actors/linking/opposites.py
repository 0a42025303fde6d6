"""Words that are never taken for one another, however alike their use or their spelling.

A vocabulary may list *acute hepatitis* and *chronic hepatitis* under one concept, and spells
*hypertension* much like *hypotension*; a mention of one is still none of the other.
"""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache

from actors.linking.term_keys import stem

_APART = (
    "acute chronic", "subacute chronic", "benign malignant", "left right", "unilateral bilateral",
    "upper lower", "superior inferior", "anterior posterior", "medial lateral",
    "internal external", "proximal distal", "central peripheral", "frontal occipital",
    "primary secondary", "congenital acquired", "inherited acquired", "hereditary acquired",
    "familial sporadic", "hereditary sporadic", "inherited sporadic", "genetic sporadic",
    "dominant recessive", "mild severe", "moderate severe", "mild moderate", "early late",
    "complete partial", "positive negative", "sensory motor", "systolic diastolic",
    "arterial venous", "ischemic hemorrhagic", "obstructive restrictive", "spastic flaccid",
    "active latent", "active inactive", "open closed", "high low", "increased decreased",
    "elevated reduced", "raised reduced", "major minor", "male female", "maternal paternal",
    "adult juvenile", "adult infantile", "adult childhood", "adult neonatal", "adult pediatric",
    "sensitivity resistance", "sensitive resistant", "duplication deletion", "trisomy monosomy",
    "malnutrition overnutrition", "micro macro", "spontaneous traumatic",
    "long short", "prolonged shortened",
)  # fmt: skip
"""Pairs of general terminology, of no corpus."""
_TURNING = (
    "non", "hyper", "hypo", "anti", "pre", "post", "micro", "macro", "intra", "extra", "inter",
    "a", "an", "de", "dys", "in", "un",
)  # fmt: skip

_OTHERS: dict[str, set[str]] = defaultdict(set)
for _pair in _APART:
    _one, _other = map(stem, _pair.split())
    _OTHERS[_one].add(_other)
    _OTHERS[_other].add(_one)


def opposite(one: str, other: str) -> bool:
    """True if two stems are opposites, or differ in a prefix that turns the meaning."""
    if other in _OTHERS.get(one, ()):
        return True
    prefix, rest = _prefix(one)
    other_prefix, other_rest = _prefix(other)
    return prefix != other_prefix and rest == other_rest


@lru_cache(maxsize=1 << 15)  # a word of a mention is compared with many
def _prefix(word: str) -> tuple[str, str]:
    for prefix in _TURNING:
        if word.startswith(prefix):
            return prefix, word[len(prefix) :]
    return "", word
