"""Replace identifiers according to their policy."""

from __future__ import annotations

import re
from collections.abc import Sequence

from actors.config.deidentify import KEYED, Category, Deidentify, ReplacementPolicy
from actors.deidentify.accent_folding import key_of
from actors.deidentify.ages import OLDEST, generalised_age
from actors.deidentify.dates import Dates
from actors.deidentify.findings import Finding
from actors.deidentify.keys import SecretKey
from actors.deidentify.names import name_words
from actors.deidentify.surrogates import NoneLeft, Surrogates

# Areas with 20,000 people or fewer by the census of 2000 (HHS guidance of 2012): no digit stays.
_SMALL_AREAS_WORDS = """
036 059 063 102 203 556 692 790 821 823 830 831 878 879 884 890 893
"""
_SMALL_AREAS = frozenset(_SMALL_AREAS_WORDS.split())
_ZIP = re.compile(r"(?:[A-Z]{2}[ -])?(\d{3})\d\d(?:-?\d{4})?")


class Replacing:
    """The replacements of one document: ``text`` and its findings are its own.

    Raises ValueError where a policy needs a key and there is none.
    """

    def __init__(
        self,
        config: Deidentify,
        key: SecretKey | None,
        dates: Dates,
        text: str,
        findings: Sequence[Finding],
        patient_id: str,
    ) -> None:
        self._config, self._key, self._dates = config, key, dates
        self._patient = patient_id
        self.taken = taken_values(text, findings)
        years = [self._year(text[f.start : f.end]) for f in findings if f.category is Category.DATE]
        self._latest = max(filter(None, years), default=None)
        self._surrogates = (
            None if key is None else Surrogates(key, patient_id, config.languages, self.taken)
        )

    def replacement(self, category: Category, value: str) -> tuple[str, ReplacementPolicy]:
        """The text in place of a value, and the policy that made it: ``mask`` where the
        category's own does not fit the value, such as a date that cannot be read."""
        policy = self._config.policy(category)
        made = self._made(policy, category, value)
        return (made, policy) if made else (f"[{category}]", ReplacementPolicy.MASK)

    def _made(self, policy: ReplacementPolicy, category: Category, value: str) -> str | None:
        if policy is ReplacementPolicy.SAME_LENGTH:
            return "".join(c if c.isspace() else "*" for c in value)
        if policy is ReplacementPolicy.GENERALISE:
            return self._general(category, value)
        if policy not in KEYED:
            return None
        if self._key is None or self._surrogates is None:
            raise ValueError(f"policy {policy} of {category} needs a key")
        if policy is ReplacementPolicy.HASH:
            return f"[{category}:{self._key.digest('hash', category, key_of(value)).hex()[:12]}]"
        if policy is ReplacementPolicy.SHIFT:
            days = self._key.days(self._patient, self._config.max_shift_days)
            return self._dates.shifted(value, days)
        try:
            return self._surrogates.of(category, value)
        except NoneLeft:
            return None

    def _general(self, category: Category, value: str) -> str | None:
        if category is Category.DATE:
            year = self._year(value)
            # Such a year beside a late one reveals that somebody is over 89.
            old = year is not None and self._latest is not None and self._latest - year > OLDEST
            return None if year is None or old else str(year)
        if category is Category.AGE:
            return generalised_age(value)
        digits = _ZIP.fullmatch(value)
        if digits is None or "US" not in self._config.countries:
            return None
        return "000" if digits[1] in _SMALL_AREAS else digits[1]

    def _year(self, value: str) -> int | None:
        read = self._dates.read(value)
        return None if read is None else read.year


def taken_values(text: str, findings: Sequence[Finding]) -> frozenset[str]:
    """The folded values of a document that are taken, and the words of its names."""
    values = set()
    for finding in findings:
        value = text[finding.start : finding.end]
        values.add(key_of(value))
        if finding.category is Category.NAME:
            values.update(key_of(value[start:end]) for start, end in name_words(value))
    return frozenset(values)
