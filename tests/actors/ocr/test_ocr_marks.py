"""Stamps, signatures and handwriting, found on drawn pages with known lines."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from actors.ocr.line_crops import LineCrop, cut
from actors.ocr.marks import find_marks, page_marks, small_page
from actors.ocr.recognized import RecognizedLine
from actors.pages import Picture, Rectangle
from actors.spans import MarkKind

SIZE = (800, 1000)
_FONT = ImageFont.load_default(24)
_PRINT = (
    "The patient has pain in the left knee.",
    "Continue metformin 500 mg daily",
    "Review soon",
)


class Drawn:
    """A page with lines of print on it, to which more is drawn."""

    def __init__(self) -> None:
        self.image = Image.new("RGB", SIZE, "white")
        self.draw = ImageDraw.Draw(self.image)
        self.boxes: list[Rectangle] = []
        self.read: list[RecognizedLine] = []
        for number, line in enumerate(_PRINT):
            self.line(line, 60, 60 + 40 * number)

    def line(self, text: str, x: float, y: float, confidence: float = 0.99) -> None:
        self.draw.text((x, y), text, fill="black", font=_FONT)
        self.reads(text, (x, y, x + _FONT.getlength(text), y + 30), confidence)

    def reads(self, text: str, box: Rectangle, confidence: float = 0.99) -> None:
        """OCR finds a line there."""
        self.boxes.append(box)
        places = np.linspace(0, 1, len(text), dtype=np.float32)
        odds = np.full(len(text), confidence, np.float32)
        self.read.append(RecognizedLine(text, places, odds))

    def script(self, text: str, x: int, y: int, colour: tuple[int, int, int] = (0, 0, 0)) -> None:
        """Slanted, uneven words, which OCR reads."""
        ink = np.zeros((90, 400), np.uint8)
        cv2.putText(ink, text, (40, 55), cv2.FONT_HERSHEY_SCRIPT_SIMPLEX, 1.3, 255, 2, cv2.LINE_AA)
        across, down = np.meshgrid(
            np.arange(400, dtype=np.float32), np.arange(90, dtype=np.float32)
        )
        wave = (3 * np.sin(across / 25)).astype(np.float32)
        ink = np.asarray(cv2.remap(ink, across + 0.3 * (down - 45), down + wave, 1), np.uint8)
        rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
        ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        self.image.paste(colour, (x, y), Image.fromarray(ink))
        self.reads(text, (x - 2, y - 2, x + ink.shape[1] + 2, y + ink.shape[0] + 2))

    def stamp(self, colour: str, x: int, y: int, angle: float = 0.0) -> Rectangle:
        stamp = Image.new("L", (260, 110), 0)
        draw = ImageDraw.Draw(stamp)
        draw.rectangle((2, 2, 257, 107), outline=255, width=4)
        draw.text((50, 35), "RECEIVED", fill=255, font=_FONT)
        turned = stamp.rotate(angle, Image.Resampling.BICUBIC, expand=True)
        self.image.paste(colour, (x, y), turned)
        return (x, y, x + turned.width, y + turned.height)

    @property
    def picture(self) -> Picture:
        return np.asarray(self.image)[:, :, ::-1].copy()

    @property
    def cuts(self) -> list[LineCrop]:
        corners = [[(a, b), (c, b), (c, d), (a, d)] for a, b, c, d in self.boxes]
        return cut(self.picture, [np.array(quad, np.float32) for quad in corners])

    def marks(self) -> list[tuple[MarkKind, Rectangle]]:
        return find_marks(small_page(self.picture), self.cuts, self.read)


@pytest.fixture
def page() -> Drawn:
    return Drawn()


def near(found: Rectangle, expected: Rectangle) -> bool:
    return bool(np.allclose(found, expected, atol=8))


def test_print_has_no_marks(page: Drawn) -> None:
    page.draw.rectangle((60, 300, 400, 420), outline="black", width=3)  # a box of a form
    page.draw.ellipse((60, 500, 140, 580), fill=(20, 110, 90))  # a letterhead
    page.draw.text((160, 520), "Eastmere Hospital", fill=(20, 110, 90), font=_FONT)
    page.line("Signature:", 60, 700)
    page.line("Ines Duarte", 220, 700)
    page.draw.line((200, 732, 500, 732), fill="black", width=2)
    assert page.marks() == []


@pytest.mark.parametrize(
    ("colour", "angle"), [("#b02030", 0.0), ("#203090", 9.0), ("#707070", 9.0)]
)
def test_a_frame_in_colour_or_at_an_angle_is_a_stamp(
    page: Drawn, colour: str, angle: float
) -> None:
    box = page.stamp(colour, 300, 400, angle)
    [(kind, found)] = page.marks()
    assert kind is MarkKind.STAMP
    assert near(found, box)


def test_a_round_frame_is_a_stamp(page: Drawn) -> None:
    page.draw.ellipse((300, 400, 460, 560), outline="black", width=4)
    [(kind, found)] = page.marks()
    assert kind is MarkKind.STAMP
    assert near(found, (300, 400, 460, 560))


@pytest.mark.parametrize("label", ["Signature:", "Signed:", "Unterschrift:"])
def test_a_signature_is_beside_its_label(page: Drawn, label: str) -> None:
    page.line(label, 60, 700)
    page.draw.line((220, 732, 500, 732), fill="black", width=2)
    page.line("Date: 3 May", 60, 780)
    page.script("T Wren", 240, 690)
    [(kind, (x0, y0, x1, y1))] = page.marks()
    assert kind is MarkKind.SIGNATURE
    assert 230 < x0 < 260 < 300 < x1
    assert 680 < y0 < 720 < y1 < 770


def test_lines_that_look_written_or_were_hard_to_read_are_handwriting(page: Drawn) -> None:
    page.script("call the wife", 100, 400)
    page.line("what is it", 60, 500, confidence=0.6)
    kinds, boxes = zip(*page.marks(), strict=True)
    assert set(kinds) == {MarkKind.HANDWRITING}
    assert [round(box[1]) for box in boxes] == [398, 500]


def test_a_bad_scan_has_no_handwriting() -> None:
    page = Drawn()
    page.read = [RecognizedLine(one.text, one.places, one.probabilities * 0.7) for one in page.read]
    assert page.marks() == []
    assert find_marks(small_page(page.picture), [], []) == []


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_boxes_are_on_the_page_as_it_came(page: Drawn, turn: int) -> None:
    x0, y0, x1, y1 = page.stamp("#b02030", 300, 400)
    width, height = SIZE
    size = SIZE if turn in (0, 180) else SIZE[::-1]
    came = np.ascontiguousarray(np.rot90(page.picture, turn // 90))
    [mark] = page_marks(small_page(came), page.cuts, page.read, size, turn, 3)
    assert (mark.kind, mark.box.page) == (MarkKind.STAMP, 3)
    expected = {
        0: (x0, y0, x1, y1),
        90: (y0, width - x1, y1, width - x0),
        180: (width - x1, height - y1, width - x0, height - y0),
        270: (height - y1, x0, height - y0, x1),
    }[turn]
    assert near((mark.box.x0, mark.box.y0, mark.box.x1, mark.box.y1), expected)
