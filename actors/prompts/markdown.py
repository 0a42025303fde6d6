"""Tables and lists of a markdown answer as rows."""

from __future__ import annotations

import json
from collections.abc import Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token

_MARKDOWN = MarkdownIt("commonmark").enable("table")


def rows_of(answer: str) -> str | None:
    """Return the tables and lists of an answer as JSON; None if it has neither.

    ``{"tables": [{"under": heading, "rows": [{column: cell}]}], "lists": [{"under": heading,
    "items": [text]}]}``. Columns are named by the header, a nested list is a list of its own, and
    ``under`` is the heading, paragraph or item right before it. Emphasis is removed.
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
    """Return a table's rows, keyed by its header. Duplicate column names get a number."""
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
    """Return the text of an inline token without markup."""
    words = (
        "\n" if child.type in ("softbreak", "hardbreak") else child.content
        for child in token.children or ()
    )
    return "".join(words).strip()
