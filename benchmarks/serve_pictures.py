"""The part of benchmarks/serve.py about pictures: OCR and then the starter, over HTTP.

A request is a picture of ten printed lines; the huge document is a TIFF of 60 such pages. OCR and
the classifier have one thread each.
"""

from __future__ import annotations

import io
from base64 import b64encode
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from benchmarks import serve_load
from benchmarks.gguf_work import make_note
from benchmarks.onnx import STARTER
from benchmarks.serve_levels import latency_by_load, ratios
from benchmarks.serve_process import medspan

CLIENTS, PICTURES, HUGE_PAGES, LINES = 4, 24, 60, 10
_LINE_CHARACTERS, _FONT, _STEP, _EDGE = 60, 22, 36, 30


def picture(number: int, lines: int = LINES) -> Image.Image:
    """A page of printed lines of a note."""
    words = " ".join(make_note(number * lines + i)[0] for i in range(lines)).split()
    rows: list[str] = [""]
    for word in words:
        if len(rows[-1]) + len(word) > _LINE_CHARACTERS:
            rows.append("")
        rows[-1] += f"{word} "
    page = Image.new("L", (900, lines * _STEP + 2 * _EDGE), 255)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(_FONT)
    for i, row in enumerate(rows[:lines]):
        draw.text((_EDGE, _EDGE + i * _STEP), row, fill=0, font=font)
    return page


def body(pages: list[Image.Image], kind: str, **more: Any) -> dict[str, Any]:
    """A request with one file of these pages."""
    file = io.BytesIO()
    if kind == "TIFF":
        pages[0].save(file, kind, save_all=True, append_images=pages[1:], compression="group4")
    else:
        pages[0].save(file, kind)
    return {"documents": [{"image": b64encode(file.getvalue()).decode()}], **more}


def measure(folder: Path, seconds: float) -> tuple[dict[str, Any], dict[str, float | None]]:
    """The part of the result that is about pictures, and its ratios."""
    bodies = [body([picture(i)], "PNG") for i in range(PICTURES)]
    pages = [picture(i).convert("1") for i in range(HUGE_PAGES)]
    huge = body(pages, "TIFF", deadline_s=300)
    reader = {"model": "starter:ocr", "pool": {"num_cpus": 1}}
    with medspan(STARTER, folder, ocr=reader) as (url, _):
        serve_load.closed(url, bodies, 1, 3)
        full = serve_load.closed(url, bodies, CLIENTS, seconds)
        levels = latency_by_load(url, bodies, huge, full.good_per_s, seconds)
    found = {"clients": CLIENTS, "huge_pages": HUGE_PAGES, "saturated": full.as_dict(), **levels}
    return found, ratios("pictures", levels)
