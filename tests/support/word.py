"""Word documents as Word writes them, from their paragraphs in WordprocessingML."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml."
_NAMESPACES = " ".join(
    f'xmlns:{prefix}="{uri}"'
    for prefix, uri in {
        "w": "http://schemas.openxmlformats.org/wordprocessingml/2006/main",
        "w14": "http://schemas.microsoft.com/office/word/2010/wordml",
        "r": _OFFICE,
        "mc": "http://schemas.openxmlformats.org/markup-compatibility/2006",
        "wps": "http://schemas.microsoft.com/office/word/2010/wordprocessingShape",
        "wp": "http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing",
        "a": "http://schemas.openxmlformats.org/drawingml/2006/main",
        "v": "urn:schemas-microsoft-com:vml",
    }.items()
)


def run(text: str, properties: str = "") -> str:
    return f'<w:r><w:rPr>{properties}</w:rPr><w:t xml:space="preserve">{text}</w:t></w:r>'


def paragraph(*runs: str) -> str:
    return f"<w:p>{''.join(one if one.startswith('<') else run(one) for one in runs)}</w:p>"


def table(*rows: tuple[str, ...]) -> str:
    cells = ("".join(f"<w:tc>{paragraph(cell)}</w:tc>" for cell in row) for row in rows)
    return f"<w:tbl>{''.join(f'<w:tr>{row}</w:tr>' for row in cells)}</w:tbl>"


def text_box(text: str) -> str:
    """A run with a text box, which is there twice: for Word, and for what is older than 2010."""
    box = f"<w:txbxContent>{paragraph(text)}</w:txbxContent>"
    return (
        '<w:r><mc:AlternateContent><mc:Choice Requires="wps"><w:drawing><wp:inline><a:graphic>'
        f"<a:graphicData><wps:wsp><wps:txbx>{box}</wps:txbx></wps:wsp></a:graphicData></a:graphic>"
        "</wp:inline></w:drawing></mc:Choice><mc:Fallback><w:pict><v:shape><v:textbox>"
        f"{box}</v:textbox></v:shape></w:pict></mc:Fallback></mc:AlternateContent></w:r>"
    )


def part(root: str, content: str) -> str:
    """A part of its own, such as the styles."""
    return f"<w:{root} {_NAMESPACES}>{content}</w:{root}>"


def note(number: int) -> str:
    return f'<w:r><w:footnoteReference w:id="{number}"/></w:r>'


def word(
    *body: str,
    headers: Mapping[str, str] | None = None,
    footers: Mapping[str, str] | None = None,
    notes: Mapping[int, str] | None = None,
    first_page: bool = False,
    more: Mapping[str, bytes | str] | None = None,
    related: Mapping[str, str] | None = None,
    before: str = "",
) -> bytes:
    """A document. ``headers`` and ``footers``: texts by their type (default, first, even);
    ``before``: what precedes the root of the main part; ``more``: further entries of the archive;
    ``related``: parts that the main part names, by their kind.
    """
    parts: dict[str, str] = {}
    relations, references = "", ""
    listed = [("header", "hdr", headers), ("footer", "ftr", footers)]
    for kind, root, texts in listed:
        for type_, text in (texts or {}).items():
            name = f"{kind}_{type_}"
            parts[f"{name}.xml"] = f"<w:{root} {_NAMESPACES}>{paragraph(text)}</w:{root}>"
            relations += _relation(name, kind, f"{name}.xml")
            references += f'<w:{kind}Reference w:type="{type_}" r:id="{name}"/>'
    if notes:
        each = "".join(
            f'<w:footnote w:id="{number}">{paragraph("<w:r><w:footnoteRef/></w:r>", text)}'
            "</w:footnote>"
            for number, text in notes.items()
        )
        parts["footnotes.xml"] = f"<w:footnotes {_NAMESPACES}>{each}</w:footnotes>"
        relations += _relation("notes", "footnotes", "footnotes.xml")
    relations += "".join(_relation(kind, kind, name) for kind, name in (related or {}).items())
    section = f"<w:sectPr>{references}{'<w:titlePg/>' if first_page else ''}</w:sectPr>"
    parts["document.xml"] = (
        f"{before}<w:document {_NAMESPACES}><w:body>{''.join(body)}{section}</w:body></w:document>"
    )
    types = "".join(
        f'<Override PartName="/word/{name}" ContentType="{_TYPE}{kind}+xml"/>'
        for name, kind in [("document.xml", "document.main"), ("footnotes.xml", "footnotes")]
    )
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "[Content_Types].xml",
            f'<Types xmlns="{_PACKAGE}/content-types"><Default Extension="rels" ContentType='
            f'"application/vnd.openxmlformats-package.relationships+xml"/>{types}</Types>',
        )
        main = _relation("main", "officeDocument", "word/document.xml")
        archive.writestr("_rels/.rels", _relations(main))
        archive.writestr("word/_rels/document.xml.rels", _relations(relations))
        for name, part in parts.items():
            archive.writestr(f"word/{name}", part)
        for name, content in (more or {}).items():
            archive.writestr(name, content)
    return file.getvalue()


def _relation(id_: str, kind: str, target: str) -> str:
    return f'<Relationship Id="{id_}" Type="{_OFFICE}/{kind}" Target="{target}"/>'


def _relations(content: str) -> str:
    return f'<Relationships xmlns="{_PACKAGE}/relationships">{content}</Relationships>'
