"""Which kind of markup a text is, and its visible text."""

from __future__ import annotations

import re
from typing import Literal

from striprtf.striprtf import rtf_to_text

from pipelines.text.errors import BadMarkupError
from pipelines.text.markup.cda import cda_text
from pipelines.text.markup.html import html_text
from pipelines.text.markup.lines import Lines, Visible
from pipelines.text.markup.messages import fhir_text, hl7_text

Markup = Literal["auto", "html", "rtf", "cda", "fhir", "hl7", "none"]
_BEGINNING = 4_000  # characters looked at
_WHOLE = re.compile(r"<(!doctype html|html|body)\b", re.IGNORECASE)
# Tags with their ends: a note may say "<5" or "<b" and is no HTML for that.
_CLOSED = re.compile(
    r"<(p|div|span|table|tr|td|ul|ol|li|b|i|u|strong|em|font|pre|h[1-6])\b[^<>]*>.*?</\1\s*>",
    re.IGNORECASE | re.DOTALL,
)
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)


def kind_of(text: str) -> str | None:
    """The kind of markup that a text is; None for plain text."""
    begin = text[:_BEGINNING].lstrip("\ufeff \t\r\n")
    if begin.startswith("{\\rtf"):
        return "rtf"
    if begin.startswith("MSH|"):
        return "hl7"
    if begin.startswith("{") and '"resourceType"' in begin:
        return "fhir"
    if begin.startswith("<") and "<ClinicalDocument" in begin:
        return "cda"
    if _WHOLE.match(begin) or _CLOSED.search(begin) or len(_BREAK.findall(begin)) > 1:
        return "html"
    return None


def parsed(text: str, kind: str) -> Visible:
    """What a reader would see of a text of this kind of markup, however long that takes.

    Raises BadMarkupError where it is not of this kind, or nested too deeply.
    """
    if kind == "html":
        return html_text(text)
    if kind == "rtf":
        return _rtf_text(text)
    if kind == "cda":
        return cda_text(text)
    if kind == "hl7":
        return hl7_text(text)
    return fhir_text(text, parsed)


def _rtf_text(text: str) -> Visible:
    if not text.lstrip().startswith("{\\rtf"):
        raise BadMarkupError("not RTF")
    try:
        found = rtf_to_text(text, errors="replace")
    except (IndexError, LookupError, ValueError) as error:
        raise BadMarkupError(f"cannot be read as RTF: {type(error).__name__}") from None
    lines = Lines()
    for line in found.split("\n"):
        for cell in line.split("|"):  # how striprtf writes the end of a cell
            lines.add(cell)
            lines.end_cell()
        lines.end_line()
    return lines.visible()
