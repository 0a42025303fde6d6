"""Pages that a reader without networks can read: words are gray bars at known places, and a number
in a corner says which words. A bar that was painted over is not read."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, ClassVar

from PIL import Image, ImageDraw

from actors.pages import OcrResult, PageError, PageSize, Picture, Word, open_pages
from actors.spans import Box, Document, Failure, PageMark

_SIZE = (900, 120)
_GRAY = 128
_LETTER, _LINE = 10, 40


def painted(number: int, text: str) -> Image.Image:
    """A page with the words of a text; ``number`` names the text (at most 12)."""
    image = Image.new("RGB", _SIZE, "white")
    draw = ImageDraw.Draw(image)
    for _, _, box in _places(text):
        x0, y0, x1, y1 = box
        draw.rectangle((x0, y0, x1 - 1, y1 - 1), fill=(_GRAY, _GRAY, _GRAY))
    image.putpixel((_SIZE[0] - 1, 0), (0, 0, 0))  # DICOM shows the darkest value as black
    draw.rectangle((0, 100, 20, 119), fill=(20 * number, 20 * number, 20 * number))
    return image


def painted_file(pages: Sequence[tuple[int, str]], form: str = "PNG") -> bytes:
    """A file of such pages."""
    first, *rest = [painted(*page) for page in pages]
    out = io.BytesIO()
    more: dict[str, Any] = {"save_all": True, "append_images": rest} if rest else {}
    if form == "PDF":
        more |= {"resolution": 200}  # read at 200 dpi, it has the same pixels
    first.save(out, form, **more)
    return out.getvalue()


class PaintedReader:
    """In the place of OcrReader. ``texts``: what the numbers on the pages stand for; ``marks``: of
    these pages, found where they are not black; ``also``: what
    is read on every page that has a black box, as of a second look that sees more."""

    texts: ClassVar[dict[int, str]] = {}
    marks: ClassVar[dict[int, Sequence[PageMark]]] = {}
    also = ""
    failing = False
    fingerprint = "painted"
    memory_used: ClassVar[dict[str, int]] = {}

    def __init__(self, *_: object) -> None:
        pass

    def submit(self, document: Document) -> Future[OcrResult | Failure]:
        """The words of all pages."""
        future: Future[OcrResult | Failure] = Future()
        assert document.image is not None
        try:
            pictures = [page.picture for page in open_pages(document.image)]
        except PageError as error:
            future.set_result(Failure(type(error).__name__, str(error)))
            return future
        read = self._read([one for one in pictures if one is not None])
        future.set_result(read)
        return future

    def _read(self, pictures: Sequence[Picture]) -> OcrResult | Failure:
        text, words, sizes, marks = "", [], [], []
        for number, picture in enumerate(pictures):
            sizes.append(PageSize(picture.shape[1], picture.shape[0]))
            shown = round(int(picture[110, 10, 0]) / 20)
            original = self.texts[shown]
            for mark in self.marks.get(shown, ()):
                area = mark.box
                x, y = int(area.x0 + area.x1) // 2, int(area.y0 + area.y1) // 2
                if picture[y, x].any():
                    marks.append(replace(mark, box=replace(area, page=number)))
            covered = False
            for start, end, box in _places(original):
                x0, y0, x1, y1 = box
                if picture[(y0 + y1) // 2, (x0 + x1) // 2].max() < _GRAY // 2:
                    covered = True
                    continue
                text += " " if text else ""
                place = Box(number, x0, y0, x1, y1)
                words.append(Word(len(text), len(text) + end - start, place, 0.9))
                text += original[start:end]
            if covered and self.failing:
                return Failure("TooSlow", "the second look took too long")
            if covered and self.also:
                text += " " if text else ""
                place = Box(number, 700, 100, 890, 115)
                words.append(Word(len(text), len(text) + len(self.also), place, 0.9))
                text += self.also
        return OcrResult(text, tuple(words), tuple(sizes), marks=tuple(marks))


def _places(text: str) -> list[tuple[int, int, tuple[int, int, int, int]]]:
    """Each word: its place in the text, and its box on the page."""
    found, line, x = [], 0, 30
    for match in re.finditer(r"\S+", text):
        width = _LETTER * (match.end() - match.start())
        if x + width > _SIZE[0] - 10:
            line, x = line + 1, 30
        y = 10 + _LINE * line
        found.append((match.start(), match.end(), (x, y, x + width, y + 16)))
        x += width + 20
    return found
