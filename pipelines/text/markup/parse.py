"""The visible text of each kind of markup."""

from __future__ import annotations

from striprtf.striprtf import rtf_to_text

from pipelines.text.errors import BadMarkupError
from pipelines.text.markup.cda import cda_text
from pipelines.text.markup.docx import docx_text
from pipelines.text.markup.html import html_text
from pipelines.text.markup.line_layout import Lines, Visible
from pipelines.text.markup.messages import fhir_text, hl7_text


def parsed(content: str | bytes, kind: str) -> Visible:
    """Return the visible text of markup of this kind, or of the bytes of a Word document, without a
    time limit.

    Raises BadMarkupError where it is not of this kind, or nested too deeply.
    """
    if isinstance(content, bytes):
        return docx_text(content)
    return _parsed(content, kind)


def _parsed(text: str, kind: str) -> Visible:
    if kind == "html":
        return html_text(text)
    if kind == "rtf":
        return _rtf_text(text)
    if kind == "cda":
        return cda_text(text)
    if kind == "hl7":
        return hl7_text(text)
    return fhir_text(text, _parsed)


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
