"""hOCR 1.2 (kba.github.io/hocr-spec/1.2), as XHTML."""

from __future__ import annotations

from typing import TextIO
from xml.sax.saxutils import escape

from actors.pages.export.text_lines import TextLine, TextPage, TextWord, text_pages
from actors.pages.export.xml_text import attribute, xml_text
from actors.pages.page import OcrResult
from actors.pages.rectangles import Rectangle

_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" \
"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
<html xmlns="http://www.w3.org/1999/xhtml">
<head>
<title>{title}</title>
<meta http-equiv="Content-Type" content="text/html; charset=utf-8"/>
<meta name="ocr-system" content="medspan"/>
<meta name="ocr-capabilities" content="ocr_page ocr_carea ocr_line ocrx_word ocrp_wconf"/>
</head>
<body>
"""


def write_hocr(result: OcrResult, name: str, out: TextIO) -> None:
    """Write a result; ``name`` is that of the file that was read. Boxes are in pixels."""
    out.write(_HEAD.format(title=escape(xml_text(name))))
    for page in text_pages(result):
        _page(page, name, out)
    out.write("</body>\n</html>\n")


def _page(page: TextPage, name: str, out: TextIO) -> None:
    number = page.number + 1
    size = (0.0, 0.0, float(page.size.width), float(page.size.height))
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    title = f'image "{quoted}"; {_box(size)}; ppageno {page.number}'
    out.write(f'<div class="ocr_page" id="page_{number}" title={attribute(title)}>\n')
    for at, block in enumerate(page.blocks, start=1):
        title = attribute(_box(block.box))
        out.write(f'<div class="ocr_carea" id="block_{number}_{at}" title={title}>\n')
        for line in block.lines:
            _line(line, out)
        out.write("</div>\n")
    out.write("</div>\n")


def _line(line: TextLine, out: TextIO) -> None:
    # textangle counts counter-clockwise, as the text lies; a turn clockwise makes it upright.
    turn = f"; textangle {line.turn}" if line.turn else ""
    words = " ".join(map(_word, line.words))
    out.write(f'<span class="ocr_line" title={attribute(_box(line.box) + turn)}>{words}</span>\n')


def _word(word: TextWord) -> str:
    sure = "" if word.confidence is None else f"; x_wconf {word.confidence * 100:.0f}"
    text = escape(xml_text(word.text))
    return f'<span class="ocrx_word" title={attribute(_box(word.box) + sure)}>{text}</span>'


def _box(box: Rectangle) -> str:
    return "bbox " + " ".join(f"{round(side)}" for side in box)
