"""C-CDA: the narrative of a clinical document, section by section, through defusedxml."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from pipelines.text.errors import BadMarkupError
from pipelines.text.markup.attachments import Attachments
from pipelines.text.markup.line_layout import MOST_DEPTH, Lines, Visible

_LINES = frozenset({"br", "caption", "item", "list", "paragraph", "table", "text", "title", "tr"})
_CELLS = frozenset({"td", "th"})
_LOINC = "2.16.840.1.113883.6.1"
_HIDDEN = frozenset({"linkHtml", "renderMultiMedia"})


def cda_text(content: str, visible: Callable[[str, str], Visible]) -> Visible:
    """The document's title, and titles and texts of all sections, in their order; then the file
    that is its body, where it has one. A section is stated where it has a title or a text, with its
    LOINC code. ``visible``: the text of what is markup itself, by its kind."""
    try:
        # A str, since an encoding that it declares is that of the bytes it was decoded from.
        root = fromstring(content.encode("utf-8", "replace").decode(), forbid_dtd=True)
    except ParseError as error:
        raise BadMarkupError(f"not well-formed XML at line {error.position[0]}") from None
    except DefusedXmlException:
        raise BadMarkupError("it declares entities or a DTD, which are not supported") from None
    lines = Lines()
    files = Attachments(visible)
    begun: dict[Element, _Begun] = {}
    # (element, whether it begins, its depth, whether what is in it is shown)
    stack: list[tuple[Element, bool, int, bool]] = [(root, True, 0, False)]
    while stack:
        element, begins, depth, shown = stack.pop()
        name = _name(element)
        within = shown or name in ("title", "text")
        if begins and name == "section":
            _expect(element, begun)
        elif element in begun:
            _mark(lines, begun[element], begins)
        if within and name in _LINES:
            lines.end_line()
        elif within and name in _CELLS:
            (lines.begin_cell if begins else lines.end_cell)()
        if not begins:
            if shown and element.tail:
                lines.add(element.tail)
            continue
        if depth > MOST_DEPTH:
            raise BadMarkupError(f"elements are nested more than {MOST_DEPTH} deep")
        stack.append((element, False, depth, shown))
        if name in _HIDDEN:
            continue
        if name == "text" and element.get("representation") == "B64":
            files.add(element.get("mediaType", ""), "".join(element.itertext()))
            continue
        if within and element.text:
            lines.add(element.text)
        stack.extend((child, True, depth + 1, within) for child in reversed(element))
    return files.joined(before=[lines.visible()])


@dataclass(slots=True)
class _Begun:
    """A section by the element that it is found by: its title, or its text where it has none."""

    loinc: str | None
    titled: bool
    heading: int = 0


def _expect(section: Element, begun: dict[Element, _Begun]) -> None:
    parts: dict[str, Element] = {}
    for child in section:
        parts.setdefault(_name(child), child)
    title = parts.get("title")
    titled = title is not None and any(part.strip() for part in title.itertext())
    found_by = title if titled else parts.get("text")
    if found_by is not None:
        begun[found_by] = _Begun(_loinc(parts.get("code")), titled)


def _mark(lines: Lines, section: _Begun, begins: bool) -> None:
    line = lines.next_line()
    if begins:
        section.heading = line
    if begins != section.titled:  # a title's end, or the beginning of a text
        lines.add_section(section.heading, line, section.loinc)


def _loinc(code: Element | None) -> str | None:
    if code is None or code.get("codeSystem", _LOINC) != _LOINC:
        return None
    return code.get("code")


def _name(element: Element) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""
