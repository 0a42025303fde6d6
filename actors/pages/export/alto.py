"""ALTO 4 (www.loc.gov/standards/alto), one file for all pages of a document."""

from __future__ import annotations

from typing import TextIO
from xml.sax.saxutils import escape

from actors.pages.export.text_lines import TextBlock, TextLine, TextPage, text_pages
from actors.pages.export.xml_text import attribute, xml_text
from actors.pages.page import OcrResult
from actors.pages.rectangles import Rectangle

_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<alto xmlns="http://www.loc.gov/standards/alto/ns-v4#" \
xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" \
xsi:schemaLocation="http://www.loc.gov/standards/alto/ns-v4# \
http://www.loc.gov/standards/alto/v4/alto-4-4.xsd" SCHEMAVERSION="4.4">
<Description>
<MeasurementUnit>pixel</MeasurementUnit>
<sourceImageInformation><fileName>{name}</fileName></sourceImageInformation>
<Processing ID="processing_1"><processingSoftware><softwareName>medspan</softwareName>\
</processingSoftware></Processing>
</Description>
<Layout>
"""


def write_alto(result: OcrResult, name: str, out: TextIO) -> None:
    """Write a result; ``name`` is that of the file that was read. Boxes are in pixels."""
    out.write(_HEAD.format(name=escape(xml_text(name))))
    for page in text_pages(result):
        _page(page, out)
    out.write("</Layout>\n</alto>\n")


def _page(page: TextPage, out: TextIO) -> None:
    number, size = page.number + 1, page.size
    out.write(
        f'<Page ID="page_{number}" PHYSICAL_IMG_NR="{number}" WIDTH="{size.width}" '
        f'HEIGHT="{size.height}">\n'
        f'<PrintSpace HPOS="0" VPOS="0" WIDTH="{size.width}" HEIGHT="{size.height}">\n'
    )
    for at, block in enumerate(page.blocks, start=1):
        _block(block, f"{number}_{at}", out)
    out.write("</PrintSpace>\n</Page>\n")


def _block(block: TextBlock, id_: str, out: TextIO) -> None:
    # ROTATION counts counter-clockwise, as the text lies.
    turn = block.lines[0].turn
    rotation = f' ROTATION="{turn}"' if turn else ""
    out.write(f'<TextBlock ID="block_{id_}" {_place(block.box)}{rotation}>\n')
    for at, line in enumerate(block.lines, start=1):
        _line(line, f"{id_}_{at}", out)
    out.write("</TextBlock>\n")


def _line(line: TextLine, id_: str, out: TextIO) -> None:
    out.write(f'<TextLine ID="line_{id_}" {_place(line.box)}>')
    for at, word in enumerate(line.words):
        sure = "" if word.confidence is None else f' WC="{word.confidence:.3f}"'
        space = "<SP/>" if at else ""
        out.write(f"{space}<String CONTENT={attribute(word.text)} {_place(word.box)}{sure}/>")
    out.write("</TextLine>\n")


def _place(box: Rectangle) -> str:
    x0, y0, x1, y1 = box
    return f'HPOS="{x0:.1f}" VPOS="{y0:.1f}" WIDTH="{x1 - x0:.1f}" HEIGHT="{y1 - y0:.1f}"'
