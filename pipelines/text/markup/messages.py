"""Texts that travel in messages: FHIR resources and HL7 v2."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import hl7

from pipelines.text.errors import BadMarkupError
from pipelines.text.markup.attachments import Attachments, media_type_name
from pipelines.text.markup.html import html_text
from pipelines.text.markup.line_layout import Lines, Visible, joined, left_out_words

_TEXT_TYPES = frozenset({"FT", "ST", "TX"})
_FIELDS = {"OBX": 5, "NTE": 3}
_FRAMES = ("FHS", "BHS", "BTS", "FTS")  # of files and batches
_TYPE = re.compile(r"[A-Z]{2,3}")
_MAIN_TYPES = {"ap": "application", "im": "image", "tx": "text"}


def fhir_text(content: str, visible: Callable[[str, str], Visible]) -> Visible:
    """The documents in a FHIR resource: attachments of texts by their content type, else its
    narratives. ``visible``: the text of what is markup itself, by its kind."""
    try:
        resource = json.loads(content)
    except RecursionError:
        raise BadMarkupError("nested too deeply") from None
    except ValueError:
        raise BadMarkupError("not JSON") from None
    attachments = Attachments(visible)
    narratives: list[Visible] = []
    stack: list[Any] = [resource]
    while stack:
        value = stack.pop()
        if isinstance(value, list):
            stack.extend(reversed(value))
        elif isinstance(value, dict):
            if _attached(value, attachments):
                continue
            narrative = value.get("text")
            if isinstance(narrative, dict) and isinstance(narrative.get("div"), str):
                narratives.append(html_text(narrative["div"]))
            stack.extend(one for key, one in reversed(list(value.items())) if key != "text")
    return attachments.joined(instead=narratives)


def _attached(value: dict[str, Any], attachments: Attachments) -> bool:
    """True for an attachment, or a Binary, which is then added."""
    type_, data = value.get("contentType"), value.get("data")
    if isinstance(data, str) and (isinstance(type_, str) or value.keys() <= _ATTACHMENT):
        attachments.add(type_ if isinstance(type_, str) else "", data)
        return True
    if isinstance(type_, str) and isinstance(value.get("url"), str):
        attachments.leave_out("at an address")
        return True
    return False


_ATTACHMENT = frozenset(
    {"id", "contentType", "language", "data", "url", "size", "hash", "title", "creation"}
)


def hl7_text(content: str, visible: Callable[[str, str], Visible]) -> Visible:
    """The texts of ORU or MDM messages: observations that are text, notes, and then the files in
    observations. Several messages are read through, and so are the frames of files and of MLLP."""
    segments = re.split(r"\r\n|\n|\r", content.strip("\x0b\x1c\r\n"))
    try:
        message = hl7.parse("\r".join(one for one in segments if not one.startswith(_FRAMES)))
        _, field, repetition, component, part = message.separators
        signs = _Signs(field, repetition, component, part, message.esc)
        lines = Lines()
        files = Attachments(visible)
        others: Counter[str] = Counter()
        for segment in message:
            name = str(segment[0])
            if name not in _FIELDS or len(segment) <= _FIELDS[name]:
                continue
            value = str(segment[_FIELDS[name]])
            type_ = str(segment[2]) if name == "OBX" else "TX"
            if type_ == "ED":
                _add_file(value.split(signs.component), files)
            elif type_ not in _TEXT_TYPES:
                others[type_ if _TYPE.fullmatch(type_) else "of an unknown type"] += bool(value)
            else:
                for repetition in value.split(signs.repetition):
                    for line in signs.unescaped(repetition).split("\n"):
                        lines.end_line()
                        lines.add(line)
    except (hl7.HL7Exception, IndexError, KeyError, ValueError) as error:
        raise BadMarkupError(f"not an HL7 v2 message: {type(error).__name__}") from None
    found = files.joined(before=[lines.visible()])
    return joined([found], left_out_words("observations", +others))


def _add_file(components: list[str], files: Attachments) -> None:
    """Encapsulated data: source, type, subtype, encoding, content."""
    _, main, sub, encoding, data, *_ = [*components, "", "", "", "", ""]
    main = main.lower()
    media_type = f"{_MAIN_TYPES.get(main, main)}/{sub.lower()}"
    if encoding.lower() == "base64":
        files.add(media_type, data)
    elif data:
        files.leave_out(f"{media_type_name(media_type)} not in base64")


@dataclass(frozen=True, slots=True)
class _Signs:
    """The separators of a message, in the order of ``hl7``, and its escape character."""

    field: str
    repetition: str
    component: str
    part: str
    escape: str

    def unescaped(self, text: str) -> str:
        r"""Without HL7's escapes: ``\.br\`` is a line break, ``\T\`` an ampersand."""
        signs = {"F": self.field, "S": self.component, "T": self.part}
        signs |= {"R": self.repetition, "E": self.escape, "H": "", "N": ""}

        def one(match: re.Match[str]) -> str:
            word = match[1]
            if word in signs:
                return signs[word]
            if word.startswith("X"):
                try:
                    return bytes.fromhex(word[1:]).decode("latin-1")
                except ValueError:
                    return ""
            return "\n" if word.startswith(".") else ""

        escape = re.escape(self.escape)
        return re.sub(f"{escape}([^{escape}]*){escape}", one, text)
