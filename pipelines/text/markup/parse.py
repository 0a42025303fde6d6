"""The visible text of each kind of markup."""

from __future__ import annotations

from dataclasses import replace

from striprtf.striprtf import rtf_to_text

from pipelines.text.errors import BadMarkupError
from pipelines.text.markup.cda import cda_text
from pipelines.text.markup.docx import docx_text
from pipelines.text.markup.html import html_text
from pipelines.text.markup.line_layout import Lines, Visible
from pipelines.text.markup.messages import fhir_text, hl7_text

_NAMES = {
    "cda": "C-CDA",
    "fhir": "FHIR",
    "hl7": "HL7 v2",
    "html": "HTML",
    "rtf": "RTF",
}


def parsed(content: str | bytes, kind: str) -> Visible:
    """Return the visible text of markup of this kind, or of the bytes of a Word document, without a
    time limit.

    Raises BadMarkupError where it is not of this kind, or nested too deeply, and for whatever else
    a parser meets in it: one text must not end a run.
    """
    try:
        visible = docx_text(content) if isinstance(content, bytes) else _parsed(content, kind)
        visible.text.encode()
    except (BadMarkupError, MemoryError):
        raise
    except UnicodeEncodeError:
        raise BadMarkupError("it holds lone surrogates, which no text can") from None
    except Exception as error:
        name = _NAMES.get(kind, kind)
        raise BadMarkupError(f"cannot be read as {name}: {type(error).__name__}") from None
    if visible.text:
        return visible
    return replace(visible, problems=(*visible.problems, "no text is visible in it"))


def _parsed(text: str, kind: str) -> Visible:
    if kind == "html":
        return html_text(text)
    if kind == "rtf":
        return _rtf_text(text)
    if kind == "cda":
        return cda_text(text, _parsed)
    if kind == "hl7":
        return hl7_text(text, _parsed)
    return fhir_text(text, _parsed)


def _rtf_text(text: str) -> Visible:
    if not text.lstrip().startswith("{\\rtf"):
        raise BadMarkupError("not RTF")
    # Its escapes are UTF-16: characters beyond the first plane come as two of them.
    units = rtf_to_text(text, errors="replace").encode("utf-16-le", "surrogatepass")
    found = units.decode("utf-16-le", "replace")
    lines = Lines()
    for line in found.split("\n"):
        for cell in line.split("|"):  # how striprtf writes the end of a cell
            lines.add(cell)
            lines.end_cell()
        lines.end_line()
    return lines.visible()
