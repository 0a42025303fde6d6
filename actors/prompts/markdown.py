"""Tables and lists of a markdown answer as rows."""

from __future__ import annotations

import json
from collections.abc import Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token

_MARKDOWN = MarkdownIt("commonmark").enable("table")


def rows_of(answer: str) -> str | None:
    """The tables and lists of an answer as JSON, None where it has neither.

    ``{"tables": [{"under": heading, "rows": [{column: cell}]}], "lists": [{"under": heading,
    "items": [text]}]}``: columns by the header's words, a nested list as one of its own, ``under``
    the heading, paragraph or item right before it. Emphasis is taken off.
    """
    tokens = _MARKDOWN.parse(answer)
    tables: list[dict[str, object]] = []
    lists: list[dict[str, object]] = []
    open_lists: list[list[str]] = []
    under = ""
    at = 0
    while at < len(tokens):
        token = tokens[at]
        if token.type == "table_open":
            end = _closing(tokens, at, "table_close")
            tables.append({"under": under, "rows": _rows(tokens[at:end])})
            at = end
        elif token.type in ("bullet_list_open", "ordered_list_open"):
            items: list[str] = []
            open_lists.append(items)
            lists.append({"under": under, "items": items})
        elif token.type in ("bullet_list_close", "ordered_list_close"):
            open_lists.pop()
        elif token.type == "inline":
            under = _plain(token)
            if open_lists:
                open_lists[-1].append(under)
        at += 1
    if not tables and not lists:
        return None
    return json.dumps({"tables": tables, "lists": lists}, ensure_ascii=False)


def _closing(tokens: Sequence[Token], start: int, kind: str) -> int:
    return next(i for i in range(start, len(tokens)) if tokens[i].type == kind)


def _rows(tokens: Sequence[Token]) -> list[dict[str, str]]:
    """The rows of a table by its header. Columns of one name are told apart by their number."""
    rows: list[list[str]] = []
    for token in tokens:
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline":
            rows[-1].append(_plain(token))
    names: list[str] = []
    for name in rows[0]:
        names.append(name if name and name not in names else f"{name or 'column'} {len(names) + 1}")
    return [dict(zip(names, row, strict=True)) for row in rows[1:]]


def _plain(token: Token) -> str:
    """The words of a piece of text without its marks."""
    words = (
        "\n" if child.type in ("softbreak", "hardbreak") else child.content
        for child in token.children or ()
    )
    return "".join(words).strip()
