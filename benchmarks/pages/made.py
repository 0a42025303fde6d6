"""Pages made from a seed, of the kinds that archives hold, each with the text in reading order."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

SIZE = (1240, 1754)  # A4 at 150 dpi
_FOLDER = Path("/usr/share/fonts/truetype")
_FILES = (
    "dejavu/DejaVuSans.ttf",
    "dejavu/DejaVuSerif.ttf",
    "liberation/LiberationSans-Regular.ttf",
    "liberation/LiberationSerif-Regular.ttf",
)
_VIETNAMESE_FILES = ("dejavu/DejaVuSans.ttf", "dejavu/DejaVuSerif.ttf")
_DRUGS = ("metformin", "amlodipine", "bisoprolol", "furosemide", "amoxicillin", "warfarin")
_FINDINGS = (
    "shortness of breath on exertion",
    "pain in the left knee",
    "atrial fibrillation with a rapid ventricular response",
    "no fever, cough or night sweats",
    "mild oedema of both ankles",
    "crackles at the right base",
    "an allergy to penicillin with a rash",
)
_TESTS = ("Sodium", "Potassium", "Creatinine", "Haemoglobin", "Platelets", "Glucose", "CRP", "TSH")
_UNITS = ("mmol/L", "mg/L", "g/dL", "umol/L", "mIU/L")
_FIELDS = (
    "Name",
    "Date of birth",
    "Ward",
    "Consultant",
    "Diagnosis",
    "Allergies",
    "Diet",
    "Weight",
)
_VIETNAMESE = (
    "Bệnh nhân nhập viện vì đau ngực trái và khó thở tăng dần.",
    "Khám phổi: ran ẩm ở hai đáy phổi, không ran rít, không ran ngáy.",
    "Xét nghiệm máu: bạch cầu 14,2 G/L, tiểu cầu 210 G/L.",
    "Chẩn đoán: suy tim độ III, rung nhĩ đáp ứng thất nhanh.",
    "Người bệnh dị ứng với penicilin, nổi mẩn đỏ toàn thân.",
    "Siêu âm bụng: gan nhiễm mỡ độ II, túi mật có sỏi 8 mm.",
    "Điều trị: furosemid 40 mg tiêm tĩnh mạch chậm, theo dõi lượng nước tiểu.",
    "Hẹn tái khám sau hai tuần, mang theo kết quả xét nghiệm và đơn thuốc.",
    "Tiền sử tăng huyết áp mười năm, đái tháo đường típ 2.",
)

Gray = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class MadePage:
    """A page as the bytes of a file, with its text; ``language`` as in an OCR model file."""

    kind: str
    content: bytes
    text: str
    language: str = "en"


def fonts() -> list[str]:
    """The fonts that are there; their number changes the pages."""
    return [name for name in _FILES if (_FOLDER / name).exists()]


def made(kind: str, seed: int) -> MadePage:
    """A page of a kind."""
    return KINDS[kind](kind, np.random.default_rng([seed, *kind.encode()]))


def font(rng: np.random.Generator, size: int, vietnamese: bool = False) -> ImageFont.FreeTypeFont:
    names = [n for n in (_VIETNAMESE_FILES if vietnamese else _FILES) if (_FOLDER / n).exists()]
    if not names:
        raise SystemExit("needs the DejaVu fonts (Debian: fonts-dejavu-core)")
    return ImageFont.truetype(str(_FOLDER / rng.choice(names)), size)


def sentence(rng: np.random.Generator) -> str:
    drug, finding = rng.choice(_DRUGS), rng.choice(_FINDINGS)
    dose, days = int(rng.integers(1, 80)) * 5, int(rng.integers(2, 60))
    return str(
        rng.choice(
            [
                f"The patient has {finding}.",
                f"Continue {drug} {dose} mg once daily for {days} days.",
                f"{drug.capitalize()} {dose} mg was stopped because of {finding}.",
                f"Examination shows {finding}; review in {days} weeks.",
            ]
        )
    )


def wrapped(words: list[str], face: ImageFont.FreeTypeFont, width: int) -> list[str]:
    lines, line = [], ""
    for word in words:
        if line and face.getlength(f"{line} {word}") > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return [*lines, line] if line else lines


def _blank() -> tuple[Image.Image, ImageDraw.ImageDraw]:
    page = Image.new("L", SIZE, 255)
    return page, ImageDraw.Draw(page)


def _text_block(
    draw: ImageDraw.ImageDraw,
    rng: np.random.Generator,
    face: ImageFont.FreeTypeFont,
    left: int,
    width: int,
    rows: int,
) -> list[str]:
    words: list[str] = []
    while len(wrapped(words, face, width)) < rows:
        words += sentence(rng).split()
    lines = wrapped(words, face, width)[:rows]
    for row, line in enumerate(lines):
        draw.text((left, 120 + row * int(face.size * 1.6)), line, fill=0, font=face)
    return lines


def _letter_image(rng: np.random.Generator, size: int = 26) -> tuple[Image.Image, str]:
    page, draw = _blank()
    lines = _text_block(draw, rng, font(rng, size), 120, SIZE[0] - 240, 26)
    return page, " ".join(lines)


def _png(page: Image.Image) -> bytes:
    out = io.BytesIO()
    page.save(out, "PNG")
    return out.getvalue()


def _noisy(page: Image.Image, rng: np.random.Generator, blur: float, noise: float) -> Image.Image:
    values = cv2.GaussianBlur(np.asarray(page).astype(np.float32), (0, 0), blur)
    values = values + rng.normal(0, noise, values.shape)
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def _letter(kind: str, rng: np.random.Generator) -> MadePage:
    page, text = _letter_image(rng)
    return MadePage(kind, _png(page), text)


def _small_print(kind: str, rng: np.random.Generator) -> MadePage:
    page, text = _letter_image(rng, 16)
    return MadePage(kind, _png(_noisy(page, rng, 0.5, 6)), text)


def _two_columns(kind: str, rng: np.random.Generator) -> MadePage:
    page, draw = _blank()
    face = font(rng, 22)
    left = _text_block(draw, rng, face, 100, 490, 30)
    right = _text_block(draw, rng, face, 650, 490, 30)
    return MadePage(kind, _png(page), " ".join([*left, *right]))


def _table(kind: str, rng: np.random.Generator) -> MadePage:
    page, draw = _blank()
    face, rows = font(rng, 24), [["Test", "Result", "Unit", "Reference"]]
    for test in rng.permutation(_TESTS):
        low = int(rng.integers(1, 90))
        value = f"{rng.uniform(1, 150):.1f}"
        rows.append([str(test), value, str(rng.choice(_UNITS)), f"{low}-{low + 20}"])
    for row, cells in enumerate(rows):
        for column, cell in enumerate(cells):
            draw.text((130 + 250 * column, 212 + 60 * row), cell, fill=0, font=face)
        draw.line((110, 200 + 60 * row, 1120, 200 + 60 * row), fill=0, width=2)
    for column in range(5):
        x = 110 + min(250 * column, 1010)
        draw.line((x, 200, x, 200 + 60 * len(rows)), fill=0, width=2)
    draw.line((110, 200 + 60 * len(rows), 1120, 200 + 60 * len(rows)), fill=0, width=2)
    return MadePage(kind, _png(page), " ".join(cell for cells in rows for cell in cells))


def _form(kind: str, rng: np.random.Generator) -> MadePage:
    page, draw = _blank()
    face, parts = font(rng, 24), []
    for row, field in enumerate(rng.permutation(_FIELDS)):
        value = " ".join(sentence(rng).split()[:4])
        y = 150 + 90 * row
        draw.text((120, y), f"{field}:", fill=0, font=face)
        draw.rectangle((420, y - 14, 1120, y + 46), outline=0, width=2)
        draw.text((440, y), value, fill=0, font=face)
        parts += [f"{field}:", value]
    return MadePage(kind, _png(page), " ".join(parts))


def _fax(kind: str, rng: np.random.Generator) -> MadePage:
    page, text = _letter_image(rng)
    wide = page.resize((1728, 1169), Image.Resampling.BOX)  # 204 x 98 dpi
    values = np.asarray(wide).astype(np.float32) + rng.normal(0, 25, (1169, 1728))
    black = Image.fromarray(values > 150)
    out = io.BytesIO()
    black.save(out, "TIFF", compression="group4", dpi=(204, 98))
    return MadePage(kind, out.getvalue(), text)


def _photo(kind: str, rng: np.random.Generator) -> MadePage:
    page, text = _letter_image(rng)
    width, height = SIZE
    source = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    target = source + rng.uniform(-50, 50, (4, 2)).astype(np.float32) + 60
    size = (width + 120, height + 120)
    bent = cv2.warpPerspective(
        np.asarray(page), cv2.getPerspectiveTransform(source, target), size, borderValue=(90.0,)
    )
    light = np.linspace(rng.uniform(0.6, 0.8), 1.0, size[0], dtype=np.float32)[None, :]
    shaded = Image.fromarray(np.clip(bent * light, 0, 255).astype(np.uint8))
    out = io.BytesIO()
    _noisy(shaded, rng, 0.8, 6).save(out, "JPEG", quality=70)
    return MadePage(kind, out.getvalue(), text)


def _skewed(kind: str, rng: np.random.Generator) -> MadePage:
    page, text = _letter_image(rng)
    angle = float(rng.choice([-1, 1]) * rng.uniform(1.5, 4))
    turned = page.rotate(angle, Image.Resampling.BICUBIC, expand=True, fillcolor=255)
    return MadePage(kind, _png(_noisy(turned, rng, 0.6, 10)), text)


def _turned(kind: str, rng: np.random.Generator) -> MadePage:
    page, text = _letter_image(rng)
    turns = (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270)
    return MadePage(kind, _png(page.transpose(turns[int(rng.integers(3))])), text)


def _stamped(kind: str, rng: np.random.Generator) -> MadePage:
    page, text = _letter_image(rng)
    stamp = Image.new("L", (560, 150), 255)
    draw = ImageDraw.Draw(stamp)
    draw.rectangle((4, 4, 555, 145), outline=110, width=6)
    draw.text((60, 40), "RECEIVED", fill=110, font=font(rng, 72))
    turned = np.asarray(stamp.rotate(12, Image.Resampling.BICUBIC, expand=True, fillcolor=255))
    values = np.asarray(page).copy()
    y, x = int(rng.integers(200, 900)), int(rng.integers(100, 500))
    part = values[y : y + turned.shape[0], x : x + turned.shape[1]]
    part[:] = np.minimum(part, turned)
    return MadePage(kind, _png(Image.fromarray(values)), text)


def _vietnamese(kind: str, rng: np.random.Generator) -> MadePage:
    page, draw = _blank()
    face, lines = font(rng, 26, vietnamese=True), []
    for row in range(20):
        lines.append(str(rng.choice(_VIETNAMESE)))
        draw.text((100, 120 + 48 * row), lines[-1], fill=0, font=face)
    return MadePage(kind, _png(_noisy(page, rng, 0.5, 8)), " ".join(lines), "vi")


KINDS: Mapping[str, Callable[[str, np.random.Generator], MadePage]] = {
    "letter": _letter,
    "small print": _small_print,
    "two columns": _two_columns,
    "table": _table,
    "form": _form,
    "fax 204x98": _fax,
    "photo": _photo,
    "skewed": _skewed,
    "turned": _turned,
    "stamp": _stamped,
    "vietnamese": _vietnamese,
}
