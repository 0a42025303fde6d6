"""Word documents (.docx): headers, body, notes and footers, as they look with all changes accepted.

mammoth reads paragraphs, tables, text boxes, notes and tracked changes (ECMA-376) to HTML, which
is laid out like any other. It reads no headers and footers: each is read as a document of its own.
Review comments are not part of the letter, and pictures have no text here.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator, Mapping
from posixpath import dirname, join, normpath
from xml.etree.ElementTree import Element, SubElement, tostring

import mammoth
from defusedxml.ElementTree import fromstring

from pipelines.text.errors import BadMarkupError
from pipelines.text.markup.html import html_text
from pipelines.text.markup.line_layout import Visible, joined

_MOST_PARTS, _MOST_BYTES = 5_000, 16_000_000
"""Entries of the archive, and bytes of its XML, inflated: some 500 pages. Pictures do not count."""
_ROOT = "_rels/.rels"
_NOTE_BACK = re.compile(r' ?<a href="#(?:foot|end)note-ref-[^"]*">↑</a>')
_OFF = ("0", "false", "off")


def docx_text(content: bytes) -> Visible:
    """The visible text of a Word document. Raises BadMarkupError where it is none, is damaged, or
    is larger than the limits."""
    try:
        return _text(_xml_parts(content))
    except BadMarkupError:
        raise
    except Exception as error:  # of zipfile, of the parsers, and what mammoth meets
        kind = type(error).__name__
        raise BadMarkupError(f"cannot be read as a Word document (.docx): {kind}") from None


def _xml_parts(content: bytes) -> dict[str, bytes]:
    """The parts that are XML, by name. None declares entities or a DTD."""
    parts: dict[str, bytes] = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
        if len(entries) > _MOST_PARTS:
            raise BadMarkupError(f"the Word document has more than {_MOST_PARTS:,} parts")
        left = _MOST_BYTES
        for entry in entries:
            if not entry.filename.endswith((".xml", ".rels")):
                continue
            with archive.open(entry) as stream:
                part = stream.read(left + 1)
            left -= len(part)
            if left < 0:
                raise BadMarkupError(f"the Word document's XML is over {_MOST_BYTES / 1e6:g} MB")
            root = fromstring(part, forbid_dtd=True)  # mammoth's own parser would expand entities
            parts[entry.filename] = _without_hidden(root) if b"vanish" in part else part
    return parts


def _without_hidden(root: Element) -> bytes:
    """Without the runs of hidden text, which mammoth would show."""
    for parent in root.iter():
        for run in list(parent):
            properties = run.find(f"{{{_namespace(run)}}}rPr")
            if properties is not None and _is_on(properties, "vanish"):
                parent.remove(run)
    return tostring(root)


def _text(parts: Mapping[str, bytes]) -> Visible:
    main = next(target for kind, _, target in _relations(parts, _ROOT) if kind == "officeDocument")
    by_id = {id_: target for _, id_, target in _relations(parts, _relations_of(main))}
    headers, footers = (
        [_read({**parts, **_as_document(parts, main, by_id[id_])}) for id_ in ids]
        for ids in _shown(parts, main)
    )
    pieces = [*headers, _read(parts), *footers]
    return joined(list({piece.text: piece for piece in pieces if piece.text}.values()))


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
    child = next((one for one in element if _name(one.tag) == name), None)
    if child is None:
        return False
    return next(iter(child.attrib.values()), "true") not in _OFF


def _as_document(parts: Mapping[str, bytes], main: str, part: str) -> dict[str, bytes]:
    """The main document, with the content and the relations of a header or footer."""
    root = fromstring(parts[part])
    document = Element(f"{{{_namespace(root)}}}document")
    SubElement(document, f"{{{_namespace(root)}}}body").extend(root)
    none = b'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"/>'
    relations = parts.get(_relations_of(part), none)
    return {main: tostring(document), _relations_of(main): relations}


def _read(parts: Mapping[str, bytes]) -> Visible:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    packed.seek(0)
    pictures = mammoth.images.img_element(lambda _: {})
    html = mammoth.convert_to_html(packed, convert_image=pictures).value
    return html_text(_NOTE_BACK.sub("", html))


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
