"""Word documents (.docx): headers, body, notes and footers, as they look with all changes accepted.

mammoth reads paragraphs, tables, text boxes, notes and tracked changes (ECMA-376) to HTML, which
is laid out like any other. It reads no headers and footers: each is read as a document of its own.
Review comments come last, as each is read. What has no text here, such as pictures, is counted.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from posixpath import dirname, join, normpath
from xml.etree.ElementTree import Element, SubElement, tostring

from defusedxml.ElementTree import fromstring

from pipelines.text.errors import BadMarkupError
from pipelines.text.markup.html import html_text
from pipelines.text.markup.line_layout import Visible, joined, left_out_words

_MOST_PARTS, _MOST_BYTES = 5_000, 16_000_000
"""Entries of the archive, and bytes of its XML, inflated: some 500 pages. Pictures do not count."""
_ROOT = "_rels/.rels"
_NOTE_BACK = re.compile(r' ?<a href="#(?:foot|end)note-ref-[^"]*">↑</a>')
_NUMBERED = re.compile(r'<ol><li(?! id="(?:foot|end)note-)')
_OFF = ("0", "false", "off")
_UNREAD = re.compile(r"An unrecognised element was ignored: (?:[\w.-]+:|\{[^{}]*\})?([\w.-]{1,40})")
_OTHERS = (
    ("word/media/", "picture"),
    ("word/embeddings/", "embedded file"),
    ("word/charts/chart", "chart"),
    ("word/diagrams/data", "diagram"),
)


def docx_text(content: bytes) -> Visible:
    """The visible text of a Word document. Raises BadMarkupError where it is none, is damaged, or
    is larger than the limits."""
    try:
        return _text(*_xml_parts(content))
    except BadMarkupError:
        raise
    except Exception as error:  # of zipfile, of the parsers, and what mammoth meets
        kind = type(error).__name__
        raise BadMarkupError(f"cannot be read as a Word document (.docx): {kind}") from None


def _xml_parts(content: bytes) -> tuple[dict[str, bytes], Counter[str]]:
    """The parts that are XML, by name, and how many others there are, by kind. None declares
    entities or a DTD."""
    parts: dict[str, bytes] = {}
    others: Counter[str] = Counter()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
        if len(entries) > _MOST_PARTS:
            raise BadMarkupError(f"the Word document has more than {_MOST_PARTS:,} parts")
        left = _MOST_BYTES
        for entry in entries:
            others.update(kind for begin, kind in _OTHERS if entry.filename.startswith(begin))
            if not entry.filename.endswith((".xml", ".rels")):
                continue
            with archive.open(entry) as stream:
                part = stream.read(left + 1)
            left -= len(part)
            if left < 0:
                raise BadMarkupError(f"the Word document's XML is over {_MOST_BYTES / 1e6:g} MB")
            fromstring(part, forbid_dtd=True)  # mammoth's own parser would expand entities
            parts[entry.filename] = part
    return parts, others


def _text(parts: dict[str, bytes], others: Counter[str]) -> Visible:
    main = next(target for kind, _, target in _relations(parts, _ROOT) if kind == "officeDocument")
    related = list(_relations(parts, _relations_of(main)))
    by_id = {id_: target for _, id_, target in related}
    by_kind = {kind: target for kind, _, target in related}
    others["file in another format"] += sum(kind == "aFChunk" for kind, _, _ in related)
    hidden = _remove_hidden(parts, by_kind.get("styles"))
    headers, footers = (
        [_read(parts, _as_document(parts, main, by_id[id_])) for id_ in ids]
        for ids in _shown(parts, main)
    )
    comments = []
    name = by_kind.get("comments", "")
    count = len(fromstring(parts[name])) if name in parts else 0
    if count:
        comments = [_read(parts, _as_document(parts, main, name, depth=1))]
    pieces = [*headers, _read(parts, {}), *footers, *comments]
    found = joined(list({piece.text: piece for piece in pieces if piece.text}.values()))
    problems = left_out_words("parts", +others)
    if hidden:
        problems += (f"pieces of hidden text left out: {hidden:,}",)
    if count:
        problems += (f"review comments at the end of the text: {count:,}",)
    return joined([found], problems)


def _remove_hidden(parts: dict[str, bytes], styles: str | None) -> int:
    """Remove the runs of hidden text, which mammoth would show; returns how many had text."""
    hidden = {}
    if styles is not None and styles in parts:
        hidden = _hidden_styles(fromstring(parts[styles]))
    marks = [b"vanish", *(name.encode() for name, is_hidden in hidden.items() if is_hidden)]
    removed = 0
    for name, part in parts.items():
        if name == styles or not any(mark in part for mark in marks):
            continue
        root = fromstring(part)
        stack = [(root, False)]  # an element, and whether the style of its paragraph hides
        while stack:
            parent, hides = stack.pop()
            for child in list(parent):
                kind = _name(child.tag)
                if kind == "r" and _is_hidden(child, hides, hidden):
                    removed += any(_name(one.tag) == "t" for one in child.iter())
                    parent.remove(child)
                else:
                    inside = hidden.get(_style(child, "p"), False) if kind == "p" else hides
                    stack.append((child, inside))
        parts[name] = tostring(root)
    return removed


def _is_hidden(run: Element, by_paragraph: bool, hidden: Mapping[str, bool]) -> bool:
    properties = _child(run, "rPr")
    if properties is not None and _child(properties, "vanish") is not None:
        return _is_on(properties, "vanish")
    return by_paragraph != hidden.get(_style(run, "r"), False)  # two styles that hide show


def _hidden_styles(styles: Element) -> dict[str, bool]:
    """Map style ids to True if the style hides its text; the setting is inherited from the base."""
    by_id = {_value(one, "styleId"): one for one in styles if _name(one.tag) == "style"}
    found: dict[str, bool] = {}
    for name in by_id:
        seen: dict[str, None] = {}
        at, properties = name, None
        while at in by_id and at not in seen:
            seen[at] = None
            properties = _child(by_id[at], "rPr")
            if properties is not None and _child(properties, "vanish") is not None:
                break
            properties = None
            base = _child(by_id[at], "basedOn")
            at = "" if base is None else _value(base, "val")
        found[name] = properties is not None and _is_on(properties, "vanish")
    return found


def _style(element: Element, kind: str) -> str:
    """The id of the style of a paragraph (``p``) or run (``r``)."""
    properties = _child(element, f"{kind}Pr")
    style = None if properties is None else _child(properties, f"{kind}Style")
    return "" if style is None else _value(style, "val")


def _child(element: Element, name: str) -> Element | None:
    return next((one for one in element if _name(one.tag) == name), None)


def _value(element: Element, name: str) -> str:
    return next((value for key, value in element.attrib.items() if _name(key) == name), "")


def _shown(parts: Mapping[str, bytes], main: str) -> tuple[list[str], list[str]]:
    """The relation ids of the headers and of the footers that some page shows."""
    settings = join(dirname(main), "settings.xml")
    even = settings in parts and _is_on(fromstring(parts[settings]), "evenAndOddHeaders")
    found: tuple[dict[str, None], dict[str, None]] = ({}, {})
    for section in fromstring(parts[main]).iter():
        if _name(section.tag) != "sectPr":
            continue
        shown = {"default": True, "first": _is_on(section, "titlePg"), "even": even}
        for one in section:
            values = {_name(key): value for key, value in one.attrib.items()}
            if shown.get(values.get("type", "default"), False) and "id" in values:
                if _name(one.tag) == "headerReference":
                    found[0][values["id"]] = None
                elif _name(one.tag) == "footerReference":
                    found[1][values["id"]] = None
    return list(found[0]), list(found[1])


def _is_on(element: Element, name: str) -> bool:
    child = _child(element, name)
    if child is None:
        return False
    return next(iter(child.attrib.values()), "true") not in _OFF


def _as_document(
    parts: Mapping[str, bytes], main: str, part: str, depth: int = 0
) -> dict[str, bytes]:
    """The main document, with the content and the relations of a header or footer, or of what is
    ``depth`` levels further within a part."""
    root = fromstring(parts[part])
    document = Element(f"{{{_namespace(root)}}}document")
    content: list[Element] = list(root)
    for _ in range(depth):
        content = [inner for outer in content for inner in outer]
    SubElement(document, f"{{{_namespace(root)}}}body").extend(content)
    none = b'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"/>'
    relations = parts.get(_relations_of(part), none)
    return {main: tostring(document), _relations_of(main): relations}


def _read(parts: Mapping[str, bytes], instead: Mapping[str, bytes]) -> Visible:
    """The text of the main document, with some parts replaced."""
    import mammoth  # a tenth of a second, in every process that reads documents

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, part in {**parts, **instead}.items():
            archive.writestr(name, part)
    packed.seek(0)
    pictures = mammoth.images.img_element(lambda _: {})
    result = mammoth.convert_to_html(packed, convert_image=pictures)
    found = html_text(_NOTE_BACK.sub("", result.value))
    unread = Counter(
        match[1] for one in result.messages if (match := _UNREAD.fullmatch(str(one.message)))
    )
    problems = left_out_words("elements", unread)
    if _NUMBERED.search(result.value):
        problems += ("numbers of lists are not in the text",)
    return joined([found], problems)


def _relations_of(part: str) -> str:
    folder, _, name = part.rpartition("/")
    return f"{folder}/_rels/{name}.rels"


def _relations(parts: Mapping[str, bytes], name: str) -> Iterator[tuple[str, str, str]]:
    """The relations in a part: the last word of their type, their id, and the part they name."""
    folder = dirname(dirname(name))
    for one in fromstring(parts[name]) if name in parts else ():
        if one.get("TargetMode") != "External":
            target = one.get("Target", "")
            full = target.lstrip("/") if target.startswith("/") else normpath(join(folder, target))
            yield one.get("Type", "").rpartition("/")[2], one.get("Id", ""), full


def _namespace(element: Element) -> str:
    return element.tag.partition("}")[0].removeprefix("{")


def _name(tag: str) -> str:
    return tag.rpartition("}")[2]
