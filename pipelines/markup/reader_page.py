"""The reader page: one HTML file of documents with marked spans, for report and evaluate.

The file works offline. Its Content-Security-Policy (in a meta tag) allows only its own style and
script, by hash, so style attributes cannot be used.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from os.path import commonprefix
from typing import Any

import fsspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pipelines.markup.colours import Look
from pipelines.markup.highlight import UNWRITABLE, Mark, depth, highlight
from pipelines.markup.numbers import duration
from pipelines.markup.page_image import Sheet, draw
from pipelines.markup.page_structure import Structure
from pipelines.markup.status_words import legend


@dataclass(frozen=True, slots=True)
class LegendEntry:
    """A category of marks that the page can filter: its name, its look and its count.

    ``tagged``: its name is shown after each mark. ``quiet``: unremarkable, so its marks are drawn
    faintly and not counted.
    """

    name: str
    look: Look
    count: int
    tagged: bool = True
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """One finding on the page.

    ``key``: index into the page's keys. Without ``start`` it has no position, and ``text`` is
    listed separately. ``facts``: details shown beside it. ``tag``: shown after it instead of the
    key's name. ``echo``: a second mark of a finding that another item already counts. ``status``:
    the words of its status.
    """

    key: int
    text: str
    start: int | None
    end: int | None
    score: float | None = None
    tag: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    echo: bool = False
    status: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """One document of the page. ``status`` is one of the page's statuses."""

    doc_id: str
    status: str
    text: str | None
    items: Sequence[Item] = ()
    notices: tuple[tuple[str, str], ...] = ()
    """Pairs of a tone (bad, warn, calm) and a sentence."""
    sheets: Sequence[Sheet] = ()
    """Images of its pages, shown beside the text."""
    sections: Sequence[str] = ()
    """Names of its sections, in the order of the text."""
    structure: Structure | None = None
    """Tables, form fields and marks of its pages."""
    links: Sequence[tuple[int, int]] = ()
    """Pairs of items that are related, by their places in ``items``."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A Reading prepared for the template. ``name``: its id without the common folder."""

    reading: Reading
    name: str
    html: Markup
    depth: int
    unplaced: tuple[tuple[int, Item], ...]
    hidden: int
    """Number of characters cut from the end of the text."""
    snippet: str
    count: int


@dataclass(slots=True)
class Reader:
    """The content of a page. ``words``: the noun for items, singular and plural. ``longest``:
    maximum length of a text shown."""

    keys: Sequence[LegendEntry]
    readings: Sequence[Reading]
    words: tuple[str, str]
    longest: int = 20_000
    shown: list[Shown] = field(init=False)
    data: dict[str, Any] = field(init=False)
    legend: Sequence[tuple[str, str]] = field(init=False)
    """The looks of the statuses that some mark has, with what they mean."""

    def __post_init__(self) -> None:
        facts: dict[tuple[str, str], int] = {}
        skip = len(_shared_folder([reading.doc_id for reading in self.readings]))
        self.shown = [
            _show(reading, reading.doc_id[skip:], self.longest, self.keys)
            for reading in self.readings
        ]
        self.legend = legend(word for r in self.readings for i in r.items for word in i.status)
        self.data = {
            "items": [[_datum(item, facts) for item in r.items] for r in self.readings],
            "facts": list(facts),
            "links": [list(r.links) for r in self.readings],
            "keys": [key.name for key in self.keys],
            "words": self.words[1],
            "quiet": [i for i, key in enumerate(self.keys) if key.quiet],
        }


def _shared_folder(ids: Sequence[str]) -> str:
    """The URI of the common folder of all derived ids, or an empty string."""
    if not all("://" in id_ for id_ in ids):
        return ""
    # Character-wise on purpose: commonpath would collapse the slashes of a URI.
    shared = commonprefix([id_.partition("#")[0] for id_ in ids])  # noqa: RUF071
    return shared[: shared.rfind("/") + 1]


def _show(reading: Reading, name: str, longest: int, keys: Sequence[LegendEntry]) -> Shown:
    text = (reading.text or "")[:longest]
    marks = [
        Mark(item.start, item.end, item.key, i, item.tag, item.status)
        for i, item in enumerate(reading.items)
        if item.start is not None and item.end is not None and item.end <= len(text)
    ]
    unplaced = tuple((i, item) for i, item in enumerate(reading.items) if item.start is None)
    hidden = len(reading.text or "") - len(text)
    snippet = " ".join(text[:200].split())[:90].translate(UNWRITABLE)
    count = sum(not (item.echo or keys[item.key].quiet) for item in reading.items)
    html, underlines = highlight(text, marks), depth(text, marks)
    return Shown(reading, name, html, underlines, unplaced, hidden, snippet, count)


def _datum(item: Item, facts: dict[tuple[str, str], int]) -> list[Any]:
    # Facts repeat (one model, one grounding), so each is stored once: 200 documents of 40 entities
    # stay far below 2 MB.
    numbers = [facts.setdefault(fact, len(facts)) for fact in item.facts]
    score = None if item.score is None else round(item.score, 4)
    return [item.key, score, item.start, item.end, numbers, *([1] if item.echo else [])]


def render_page(template: str, reader: Reader, **values: object) -> str:
    """Render a template that extends markup/reader.html."""
    style = _asset("reader.css") + _key_style(reader.keys)
    script = _asset("reader.js")
    # Names and attributes come from models and must not be able to close the script element.
    data = json.dumps(reader.data, ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        data = data.replace(sign, f"\\u{ord(sign):04x}")
    return (
        _environment()
        .get_template(template)
        .render(
            reader=reader,
            style=Markup(style),
            script=Markup(script),
            data=Markup(data),
            policy=f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)}; "
            "img-src data:; base-uri 'none'; form-action 'none'",
            **values,
        )
    )


def save(path: str, html: str) -> None:
    """Write a page to a path or fsspec URL; fsspec creates the folders."""
    with fsspec.open(path, "wb") as file:
        file.write(html.encode("utf-8", "replace"))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("pipelines", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = lambda n: f"{n:,}"
    environment.filters["draw"] = draw
    environment.filters["percent"] = lambda x: f"{100 * x:.1f}"
    environment.filters["duration"] = duration
    environment.filters["of"] = lambda n, one, many: f"{n:,} {one if n == 1 else many}"
    return environment


@cache
def _asset(name: str) -> str:
    return (files("pipelines.markup") / name).read_text(encoding="utf-8")


def _key_style(keys: Sequence[LegendEntry]) -> str:
    rules = []
    for i, key in enumerate(keys):
        hue, line = key.look.hue, key.look.line
        rules.append(f".k{i}{{--ink-light:{hue.light};--ink-dark:{hue.dark};--line:{line}}}")
        if key.quiet:
            rules.append(f"mark.k{i}:not(.hot){{background:none;border-bottom-width:1px}}")
            rules.append(f"mark.k{i}::after{{opacity:.75;font-weight:450}}")
        if key.tagged:
            name, spoken = _css_string(key.name), _css_string(f", {key.name}")
            # What comes after the slash is read aloud in place of what is drawn.
            rules.append(
                f"mark.k{i}:not(.o)::after{{content:{name};content:{name} / {spoken} attr(data-s)}}"
            )
    return "\n".join(rules) + "\n"


def _css_string(text: str) -> str:
    # Labels come from a model's config.json: in CSS, everything but letters and digits is escaped.
    return '"' + "".join(c if c.isalnum() else f"\\{ord(c):x} " for c in text) + '"'


def _digest(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
