"""Small PDFs: text at places, pictures, form fields, annotations, fonts that say other letters."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from PIL import Image, ImageDraw, ImageFont

from support.pages_bombs import pdf, stream

WIDE, HIGH = 612, 792
HELVETICA = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
_PAGE = 3  # its number among the objects


@dataclass(slots=True)
class PdfPage:
    """A PDF of one page, made up of what is drawn on it. Places are in points, y upwards."""

    size: tuple[int, int] = (WIDE, HIGH)
    keys: bytes = b""
    _drawn: list[bytes] = field(default_factory=list)
    _more: list[bytes] = field(default_factory=list)
    _fonts: dict[bytes, int] = field(default_factory=dict)
    _pictures: list[int] = field(default_factory=list)
    _annotations: list[int] = field(default_factory=list)
    _fields: list[int] = field(default_factory=list)

    def add(self, content: bytes) -> int:
        """Add an object and return its number."""
        self._more.append(content)
        return _PAGE + 1 + len(self._more)  # after the page comes its content

    def draw(self, operators: str) -> PdfPage:
        """Add operators to the content."""
        self._drawn.append(operators.encode("latin-1"))
        return self

    def text(
        self,
        lines: str | Sequence[str],
        x: float,
        y: float,
        points: float = 12,
        *,
        operators: str = "",
        matrix: str = "1 0 0 1",
        font: bytes = HELVETICA,
    ) -> PdfPage:
        """Lines of text, the first at (x, y); ``operators`` come before them, e.g. a colour."""
        if font not in self._fonts:
            self._fonts[font] = self.add(font)
        name = f"/F{self._fonts[font]}"
        shown = [lines] if isinstance(lines, str) else lines
        escaped = ["".join(f"\\{ord(c):03o}" for c in line) for line in shown]
        body = " T* ".join(f"({line}) Tj" for line in escaped)
        head = f"q {operators} BT {name} {points} Tf {1.2 * points:g} TL"
        return self.draw(f"{head} {matrix} {x} {y} Tm {body} ET Q")

    def picture(self, image: Image.Image, place: Sequence[float]) -> PdfPage:
        """An image at x0, y0, x1, y1."""
        keys = (
            f"/Type/XObject/Subtype/Image/Width {image.width}/Height {image.height}"
            "/ColorSpace/DeviceGray/BitsPerComponent 8/Filter/FlateDecode"
        )
        packed = zlib.compress(image.convert("L").tobytes())
        number = self.add(stream(packed, keys.encode()))
        self._pictures.append(number)
        x0, y0, x1, y1 = place
        return self.draw(f"q {x1 - x0} 0 0 {y1 - y0} {x0} {y0} cm /I{number} Do Q")

    def annotation(self, kind: str, place: Sequence[float], keys: str = "") -> PdfPage:
        """An annotation, e.g. FreeText with /Contents."""
        number = self.add(
            f"<</Type/Annot/Subtype/{kind}/Rect[{_numbers(place)}]/P {_PAGE} 0 R {keys}>>".encode()
        )
        self._annotations.append(number)
        return self

    def form_field(self, kind: str, name: str, place: Sequence[float], keys: str = "") -> PdfPage:
        """A form field (Tx, Ch, Btn) with its widget."""
        look = "/DA(/Helv 12 Tf 0 g)"
        self.annotation("Widget", place, f"/F 4/FT/{kind}/T({name}){look}{keys}")
        self._fields.append(self._annotations[-1])
        return self

    def button(self, name: str, place: Sequence[float], on: bool, flags: int = 0) -> PdfPage:
        """A check box, or a radio button by its flags."""
        empty = self.add(stream(b"", b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]"))
        state = "Yes" if on else "Off"
        looks = f"/AP<</N<</Yes {empty} 0 R/Off {empty} 0 R>>>>"
        keys = f"/Ff {flags}/V/{state}/AS/{state}{looks}"
        return self.form_field("Btn", name, place, keys)

    def save(self) -> bytes:
        """The file."""
        fonts = b"".join(b"/F%d %d 0 R" % (n, n) for n in self._fonts.values())
        pictures = b"".join(b"/I%d %d 0 R" % (n, n) for n in self._pictures)
        form = b""
        if self._fields:
            helvetica = self.add(HELVETICA)
            form = b"/AcroForm<</Fields[%s]/DR<</Font<</Helv %d 0 R>>>>>>" % (
                _references(self._fields),
                helvetica,
            )
        page = (
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 %d %d]/Contents 4 0 R%s"
            b"/Resources<</Font<<%s>>/XObject<<%s>>>>/Annots[%s]>>"
        ) % (*self.size, self.keys, fonts, pictures, _references(self._annotations))
        catalog = b"<</Type/Catalog/Pages 2 0 R%s>>" % form
        pages = b"<</Type/Pages/Kids[3 0 R]/Count 1>>"
        return pdf([catalog, pages, page, stream(b"\n".join(self._drawn)), *self._more])


def _references(numbers: Sequence[int]) -> bytes:
    return b" ".join(b"%d 0 R" % number for number in numbers)


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in values)


def scanned(
    lines: Sequence[str], size: tuple[int, int] = (1700, 2200), top: int = 600, points: int = 56
) -> Image.Image:
    """A scan: lines of text on white paper, in pixels of 200 dpi."""
    image = Image.new("L", size, 255)
    pen, face = ImageDraw.Draw(image), ImageFont.load_default(points)
    for number, line in enumerate(lines):
        pen.text((points * 2, top + number * 2 * points), line, fill=0, font=face)
    return image


def shifted_font(page: PdfPage, shift: int = 1, private: bool = False) -> bytes:
    """Return Helvetica with a wrong map to Unicode: shifted letters, or private use codes. A font
    object for ``PdfPage.text``."""
    first = 0xE021 if private else 0x21 + shift
    number = page.add(
        stream(
            b"/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /X def "
            b"1 begincodespacerange <00> <FF> endcodespacerange "
            b"1 beginbfrange <21> <7E> <%04X> endbfrange endcmap end end" % first
        )
    )
    return b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/ToUnicode %d 0 R>>" % number
