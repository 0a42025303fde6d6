"""Texts that travel in messages: FHIR resources and HL7 v2."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable
from typing import Any

import hl7

from pipelines.text.errors import BadMarkupError
from pipelines.text.markup.html import html_text
from pipelines.text.markup.line_layout import Lines, Visible, joined

_HTML = ("text/html", "application/xhtml+xml")
_RTF = ("text/rtf", "application/rtf")
_CHARSET = re.compile(r"charset=\"?([\w.:-]+)", re.IGNORECASE)
_TEXT_TYPES = frozenset({"FT", "ST", "TX"})
_FIELDS = {"OBX": 5, "NTE": 3}


def fhir_text(content: str, visible: Callable[[str, str], Visible]) -> Visible:
    """The documents in a FHIR resource: attachments of texts by their content type, else its
    narratives. ``visible``: the text of what is markup itself, by its kind."""
    try:
        resource = json.loads(content)
    except (ValueError, RecursionError):
        raise BadMarkupError("not JSON") from None
    attachments: list[Visible] = []
    narratives: list[Visible] = []
    stack: list[Any] = [resource]
    while stack:
        value = stack.pop()
        if isinstance(value, list):
            stack.extend(reversed(value))
        elif isinstance(value, dict):
            if isinstance(value.get("contentType"), str) and isinstance(value.get("data"), str):
                found = _attachment(value["contentType"], value["data"], visible)
                if found.text:
                    attachments.append(found)
                continue
            narrative = value.get("text")
            if isinstance(narrative, dict) and isinstance(narrative.get("div"), str):
                narratives.append(html_text(narrative["div"]))
            stack.extend(one for key, one in reversed(list(value.items())) if key != "text")
    return joined(attachments or [one for one in narratives if one.text])


def _attachment(type_: str, data: str, visible: Callable[[str, str], Visible]) -> Visible:
    kind = type_.partition(";")[0].strip().lower()
    if not kind.startswith("text/") and kind not in (*_HTML, *_RTF, "application/xml"):
        return Visible("")  # a picture or PDF
    named = _CHARSET.search(type_)
    try:
        text = base64.b64decode(data).decode(named[1] if named else "utf-8")
    except (binascii.Error, LookupError, UnicodeDecodeError):
        raise BadMarkupError("an attachment is not base64 of text in its charset") from None
    if kind in _HTML:
        return visible(text, "html")
    if kind in _RTF:
        return visible(text, "rtf")
    return visible(text, "cda") if kind.endswith("xml") else Visible(text)


def hl7_text(content: str) -> Visible:
    """The texts of an ORU or MDM message: observations that are text, and notes."""
    try:
        message = hl7.parse(re.sub(r"\r\n|\n", "\r", content))
        lines = Lines()
        for segment in message:
            name = str(segment[0])
            if name not in _FIELDS or len(segment) <= _FIELDS[name]:
                continue
            if name == "OBX" and str(segment[2]) not in _TEXT_TYPES:
                continue
            for repetition in str(segment[_FIELDS[name]]).split("~"):
                for line in _unescaped(repetition).split("\n"):
                    lines.end_line()
                    lines.add(line)
    except (hl7.HL7Exception, IndexError, KeyError) as error:
        raise BadMarkupError(f"not an HL7 v2 message: {type(error).__name__}") from None
    return lines.visible()


def _unescaped(field: str) -> str:
    r"""HL7's own escapes: ``\.br\`` is a line break, ``\T\`` an ampersand."""

    def one(match: re.Match[str]) -> str:
        word = match[1]
        if word in _ESCAPES:
            return _ESCAPES[word]
        if word.startswith("X"):
            try:
                return bytes.fromhex(word[1:]).decode("latin-1")
            except ValueError:
                return ""
        return "\n" if word.startswith(".") else ""

    return re.sub(r"\\([^\\]*)\\", one, field)


_ESCAPES = {"F": "|", "S": "^", "T": "&", "R": "~", "E": "\\", "H": "", "N": ""}
