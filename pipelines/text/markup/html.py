"""HTML through selectolax (the parser of browsers' rules, in C)."""

from __future__ import annotations

from selectolax.lexbor import LexborHTMLParser, LexborNode

from pipelines.text.errors import BadMarkupError
from pipelines.text.markup.line_layout import MOST_DEPTH, Lines, Visible

_BLOCKS = frozenset(
    [
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "br",
        "caption",
        "center",
        "dd",
        "details",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
        "figure",
        "footer",
        "form",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hr",
        "li",
        "main",
        "nav",
        "ol",
        "p",
        "pre",
        "section",
        "summary",
        "table",
        "tbody",
        "tfoot",
        "thead",
        "tr",
        "ul",
    ]
)
_CELLS = frozenset({"td", "th"})
_UNSEEN = frozenset({"head", "noscript", "script", "style", "template", "title"})


def html_text(content: str) -> Visible:
    """The visible text of an HTML document or fragment."""
    lines = Lines()
    # NUL is what cells are kept apart with; HTML knows none.
    root = LexborHTMLParser(content.replace("\x00", "")).root
    # (node, whether it begins here or ends, its depth, whether it is preformatted)
    stack: list[tuple[LexborNode, bool, int, bool]] = [(root, True, 0, False)] if root else []
    while stack:
        node, begins, depth, kept = stack.pop()
        tag = node.tag or ""
        if tag == "-text":
            lines.add(node.text_content or "", kept)
            continue
        if tag in _BLOCKS:
            lines.end_line()
        elif tag in _CELLS:
            (lines.begin_cell if begins else lines.end_cell)()
        attributes = node.attributes or {}
        if not begins or tag in _UNSEEN or "hidden" in attributes:
            continue
        if tag == "input" and attributes.get("type") in ("checkbox", "radio"):
            lines.add("☒" if "checked" in attributes else "☐")
        if depth > MOST_DEPTH:
            raise BadMarkupError(f"elements are nested more than {MOST_DEPTH} deep")
        stack.append((node, False, depth, kept))
        children = list(node.iter(include_text=True))
        inside = kept or tag == "pre"
        stack.extend((child, True, depth + 1, inside) for child in reversed(children))
    return lines.visible()
