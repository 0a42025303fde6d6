"""A drawn page with a name, for the real OCR: whether the name is covered, and nothing else."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

_LEFT = 30
_BEFORE, _NAME = "Patient: ", "John Smith"


def named_page() -> Image.Image:
    """A page of two lines, the first of which ends with a name."""
    page = Image.new("RGB", (900, 200), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(40)
    draw.text((_LEFT, 30), _BEFORE + _NAME, font=font, fill="black")
    draw.text((_LEFT, 120), "has pain in the chest", font=font, fill="black")
    return page


def assert_name_is_black(file: Path, page: Image.Image) -> None:
    """Assert that a file is the page with the name black and the other line unchanged."""
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(40)
    start = _LEFT + int(draw.textlength(_BEFORE, font=font))
    end = _LEFT + int(draw.textlength(_BEFORE + _NAME, font=font))
    with Image.open(file) as written:
        assert written.size == page.size
        inside = written.convert("L").crop((start + 8, 45, end - 8, 60))
        assert inside.getextrema()[1] == 0
        below = (0, 110, 900, 200)
        assert written.crop(below).tobytes() == page.crop(below).tobytes()
