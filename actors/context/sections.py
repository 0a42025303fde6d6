"""Headings of clinical notes to sections, by words and by form.

By words: a heading of the lexicon or the user's, at the beginning of a line or after the end of a
sentence, with a colon, or alone in its line. By form: a short line alone between blank lines, in
capitals, with a colon at its end, or marked as a heading in markdown; such a section is ``other``.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

from actors.config import ConfigError
from actors.config.context import Context, LexiconLanguage
from actors.context.lexicon import sections_file
from actors.context.phrases import written_out
from actors.spans import Section

OTHER = "other"
"""The name of a section whose heading no lexicon knows."""

LONGEST = 60
"""Characters of the longest heading."""

_DECORATION = " \t\r#*_=-\u2013\u2014\u2022>.:"
_NUMBER = re.compile(r"\(?(?:\d{1,2}|[ivxIVX]{1,4}|[a-hA-H])[.)]\s+")
_PLURAL = re.compile(r"\(e?s\)")
_BEFORE_INLINE = re.compile(r"[.;,!?)\]|]\s+|\s{2,}|\t")
_LIST = re.compile(r"\s*(?:[-*\u2022]|\d{1,2}[.)])\s")
_VISIBLE = re.compile(r"\S")
_DASH = re.compile(r"[ \t]+[-\u2013\u2014][ \t]+")


@dataclass(frozen=True, slots=True)
class Headings:
    """Folded headings of one language to section names, and the code of each name."""

    names: Mapping[str, str]
    loinc: Mapping[str, str | None]


def compile_headings(language: LexiconLanguage, config: Context) -> Headings:
    """The shipped headings of a language and the user's; the user's win."""
    file = sections_file()
    names: dict[str, str] = {}
    for name, entry in file.sections.items():
        for heading in entry.headings.get(language, ()):
            for form in written_out(heading):
                names[folded(form)] = name
    for name, headings in config.headings.items():
        for heading in headings:
            try:
                forms = written_out(heading)
            except ValueError as error:
                raise ConfigError(f"context.headings.{name}: {error}") from error
            for form in forms:
                names[folded(form)] = name
    return Headings(names, {name: entry.loinc for name, entry in file.sections.items()})


def folded(heading: str) -> str:
    """A heading as it is compared: lower case, no accents, decoration or numbering."""
    bare = heading.strip(_DECORATION)
    if (number := _NUMBER.match(bare)) is not None:
        bare = bare[number.end() :]
    if not bare.isascii():
        # The Vietnamese d with stroke has no decomposition.
        bare = bare.replace("\u0111", "d").replace("\u0110", "D")
        bare = "".join(
            c for c in unicodedata.normalize("NFD", bare) if not unicodedata.combining(c)
        )
    return " ".join(_PLURAL.sub("", bare.lower()).split())


def find_sections(text: str, headings: Headings) -> tuple[Section, ...]:
    """The sections of a text, in order: each from its heading to the next one or the end."""
    found: list[tuple[int, int, str]] = []
    start, blank = 0, True
    while start < len(text):
        end = text.find("\n", start)
        if end < 0:
            end = len(text)
        line = text[start:end]
        bare = line.strip()
        if bare:
            _in_line(text, start, end, line, blank, headings.names, found)
        blank = not bare
        start = end + 1
    if not found:
        return ()
    ends = [one[0] for one in found[1:]] + [len(text)]
    return tuple(
        Section(name, start, end, heading_end, headings.loinc.get(name))
        for (start, heading_end, name), end in zip(found, ends, strict=True)
    )


def with_stated(
    text: str, stated: Sequence[Section], found: Sequence[Section], headings: Headings
) -> tuple[Section, ...]:
    """The sections that a document states, and those found within them.

    A stated section gets its name from its LOINC code, else from its title, and keeps its code.
    """
    codes: dict[str, list[str]] = {}
    for name, loinc in headings.loinc.items():
        if loinc is not None:
            codes.setdefault(loinc, []).append(name)

    def named(section: Section) -> Section:
        title = headings.names.get(folded(text[section.start : section.heading_end]))
        names = codes.get(section.loinc or "", [])
        name = names[-1] if names and title not in names else title or OTHER
        return replace(section, name=name, loinc=section.loinc or headings.loinc.get(name))

    known = [named(section) for section in stated]
    starts = [section.start for section in known]

    def is_heading(section: Section) -> bool:
        at = bisect_right(starts, section.start) - 1
        return at >= 0 and section.start < max(known[at].heading_end, known[at].start + 1)

    both = [*known, *(section for section in found if not is_heading(section))]
    both.sort(key=attrgetter("start"))
    ends = [*(section.start for section in both[1:]), len(text)]
    return tuple(replace(one, end=end) for one, end in zip(both, ends, strict=True))


def _in_line(
    text: str,
    start: int,
    end: int,
    line: str,
    after_blank: bool,
    names: Mapping[str, str],
    found: list[tuple[int, int, str]],
) -> None:
    """Add (start, end of heading, name) of the headings in the line [start, end)."""
    begin = start + len(line) - len(line.lstrip())
    stop = start + len(line.rstrip())
    colon = line.find(":")
    alone = stop - begin <= LONGEST and text[stop - 1] not in ".,;"
    if alone and (colon < 0 or start + colon == stop - 1 or "**" in line):
        name = names.get(folded(line))
        if name is None and after_blank and _formed(line.strip(), text, end):
            name = OTHER
        if name is not None:
            found.append((begin, stop, name))
            return
    if colon < 0:
        dash = _DASH.search(line, 0, LONGEST)
        if dash is not None and line[: dash.start()].strip()[:1].isupper():
            name = names.get(folded(line[: dash.start()]))
            if name is not None:
                found.append((begin, start + dash.start(), name))
        return
    first, after = True, begin - start
    while colon >= 0:
        left = max(0, colon - LONGEST)
        at = after
        for mark in _BEFORE_INLINE.finditer(line, left, colon):
            at = max(at, mark.end())
        if at >= left and (first or _capital(line[at:colon])):
            name = names.get(folded(line[at:colon]))
            if name is not None:
                found.append((start + at, start + colon + 1, name))
                after = colon + 1
        first = False
        colon = line.find(":", colon + 1)


def _capital(heading: str) -> bool:
    """True if words before a colon inside a line look like a heading."""
    return heading.strip()[:1].isupper()


def _formed(line: str, text: str, end: int) -> bool:
    """True if a line after a blank one has the form of a heading."""
    if line.startswith("#"):
        return line.lstrip("#")[:1] == " "
    if line.startswith("**") and line.rstrip(":").endswith("**"):
        return True
    words = line.split()
    if len(words) > 8 or _VISIBLE.search(text, end) is None:
        return False
    letters = sum(c.isalpha() for c in line)
    if letters < 4 or letters < len(line) * 0.6:
        return False
    if line.endswith(":"):
        # What leads into a list, as "Denies:" does, is no heading.
        return len(words) <= 6 and line[:1].isupper() and _LIST.match(text, end) is None
    return line.isupper() and line[-1] not in ".,;!?"
