"""Find in a text what the bar codes on its pages say: the number below the bars, the name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from actors.config.deidentify import Category
from actors.deidentify.findings import Finding, Strength
from actors.deidentify.name_mentions import Terms

if TYPE_CHECKING:
    from actors.deidentify.detector import Detector

_VALUE = re.compile(r"[^\W_](?:[\w.-]*[^\W_])?")
_HL7_NAME = re.compile(r"(?<!\w)[^\W\d_][\w' -]{0,40}(?:\^[^\W\d_][\w' -]{0,40}){1,3}")  # DOE^JOHN
_TELLING = 5  # letters and digits: shorter values are also doses and years
_MOST = 4_000  # characters of a code that are looked at; a QR code has 4,296 at most


class CodedValues:
    """The values in the contents of codes. ``names``: those that the detector finds in them."""

    def __init__(self, contents: Sequence[str], detector: Detector) -> None:
        texts = [content[:_MOST] for content in contents]
        self.names = [
            text[one.start : one.end]
            for text in texts
            for one in detector.find(text)
            if one.category is Category.NAME
        ]
        self.names += [
            match[0].replace("^", " ") for text in texts for match in _HL7_NAME.finditer(text)
        ]
        values = {
            value
            for text in texts
            for value in (text.strip(), *_VALUE.findall(text))
            if sum(map(str.isalnum, value)) >= _TELLING and any(map(str.isdigit, value))
        }
        self._terms = Terms({Category.ID: tuple(sorted(values))})

    def find(self, text: str) -> Iterator[Finding]:
        """Each place of a value. Whatever else a detector says of it is surer."""
        for found in self._terms.find(text):
            yield replace(found, by="bar code", strength=Strength.SHAPE)
