"""C-CDA: the narrative of a clinical document, section by section, through defusedxml."""

from __future__ import annotations

from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from pipelines.source.markup.lines import MOST_DEPTH, BadMarkupError, Lines

_LINES = frozenset({"br", "caption", "item", "list", "paragraph", "table", "text", "title", "tr"})
_CELLS = frozenset({"td", "th"})
_HIDDEN = frozenset({"linkHtml", "renderMultiMedia"})


def cda_text(content: str) -> str:
    """The document's title, and titles and texts of all sections, in their order."""
    try:
        root = fromstring(content.encode("utf-8", "replace"), forbid_dtd=True)
    except ParseError as error:
        raise BadMarkupError(f"not well-formed XML at line {error.position[0]}") from None
    except DefusedXmlException:
        raise BadMarkupError("it declares entities or a DTD, which are not read") from None
    lines = Lines()
    # (element, whether it begins, its depth, whether what is in it is shown)
    stack: list[tuple[Element, bool, int, bool]] = [(root, True, 0, False)]
    while stack:
        element, begins, depth, shown = stack.pop()
        name = _name(element)
        within = shown or name in ("title", "text")
        if within and name in _LINES:
            lines.end_line()
        elif within and name in _CELLS and not begins:
            lines.end_cell()
        if not begins:
            if shown and element.tail:
                lines.add(element.tail)
            continue
        if depth > MOST_DEPTH:
            raise BadMarkupError(f"elements are nested more than {MOST_DEPTH} deep")
        stack.append((element, False, depth, shown))
        if name in _HIDDEN:
            continue
        if within and element.text:
            lines.add(element.text)
        stack.extend((child, True, depth + 1, within) for child in reversed(element))
    return lines.text()


def _name(element: Element) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""
