"""ICD-10-CM as published: the order file (icd10cm_order_*.txt) or the tabular list (XML).

The order file has every code with its long and short title; the tabular list has inclusion terms
as well, which are names, and chapters and blocks above the categories.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

from actors.linking.readers.delimited import lines, opened
from actors.linking.vocabulary import Name, VocabularyError


def read_order(path: Path) -> Iterator[Name]:
    """The names of an order file; the parent of a code is the longest code that begins it."""
    seen: set[str] = set()
    for number, line in lines(path):
        if not line.strip():
            continue
        code, short, long = line[6:14].strip(), line[16:77].strip(), line[77:].strip()
        if not line[:5].isdigit() or not code or not long:
            raise VocabularyError(
                f"{path}: row {number}: not a line of an order file (number, code, flag, short and "
                "long title in fixed columns)"
            )
        above = next(
            (code[:end] for end in range(len(code) - 1, 2, -1) if code[:end] in seen), None
        )
        seen.add(code)
        parents = () if above is None else (_dotted(above),)
        kind = ("leaf",) if line[14:15] == "1" else ("header",)
        yield Name(_dotted(code), long, str(path), number, True, kind, parents)
        if short != long:
            yield Name(_dotted(code), short, str(path), number, False, kind, parents)


def _dotted(code: str) -> str:
    return code if len(code) <= 3 else f"{code[:3]}.{code[3:]}"


def read_tabular(path: Path) -> Iterator[Name]:
    """The names of a tabular list; a row is the place of a chapter, block or code, from 1."""
    try:
        with opened(path) as stream:
            root = ET.parse(stream).getroot()
    except ET.ParseError as error:
        raise VocabularyError(f"{path}: row {error.position[0]}: not XML: {error}") from error
    place = 0

    def below(element: ET.Element, parent: str | None) -> Iterator[Name]:
        nonlocal place
        place += 1
        code, title = _title(element)
        if not code or not title:
            raise VocabularyError(f"{path}: row {place}: <{element.tag}> without a code or title")
        parents = () if parent is None else (parent,)
        kind = {"chapter": "chapter", "section": "block"}.get(element.tag, "code")
        yield Name(code, title, str(path), place, True, (kind,), parents)
        for note in element.findall("inclusionTerm/note"):
            if note.text and note.text.strip():
                yield Name(code, note.text.strip(), str(path), place, False, (kind,), parents)
        for child in element:
            if child.tag in ("section", "diag"):
                yield from below(child, code)

    chapters = root.findall("chapter")
    if not chapters:
        raise VocabularyError(f"{path}: row 1: no <chapter>: not a tabular list of ICD-10-CM")
    for chapter in chapters:
        yield from below(chapter, None)


def _title(element: ET.Element) -> tuple[str, str]:
    name = (element.findtext("name") or element.get("id") or "").strip()
    title = (element.findtext("desc") or "").strip()
    if element.tag == "chapter":
        name = f"Chapter {name}"
    return name, title
