"""Which kind of markup a text is."""

from __future__ import annotations

import re
from typing import Literal

Markup = Literal["auto", "html", "rtf", "cda", "fhir", "hl7", "none"]
_BEGINNING = 4_000  # characters looked at
_WHOLE = re.compile(r"<(!doctype html|html|body)\b", re.IGNORECASE)
# Tags with their ends: a note may say "<5" or "<b" and is no HTML for that.
_CLOSED = re.compile(
    r"<(p|div|span|table|tr|td|ul|ol|li|b|i|u|strong|em|font|pre|h[1-6])\b[^<>]*>.*?</\1\s*>",
    re.IGNORECASE | re.DOTALL,
)
# A message or a file of them: the separator of fields, then four or five signs up to the next.
_HL7 = re.compile(r"(MSH|FHS|BHS)([^\w\s])[^\w\s]{3,5}\2")
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)


def markup_kind(text: str) -> str | None:
    """The kind of markup that a text is; None for plain text."""
    begin = text[:_BEGINNING].lstrip("\ufeff\x0b \t\r\n")
    if begin.startswith("{\\rtf"):
        return "rtf"
    if _HL7.match(begin):
        return "hl7"
    if begin.startswith("{") and '"resourceType"' in begin:
        return "fhir"
    if begin.startswith("<") and "<ClinicalDocument" in begin:
        return "cda"
    if _WHOLE.match(begin) or _CLOSED.search(begin) or len(_BREAK.findall(begin)) > 1:
        return "html"
    return None
