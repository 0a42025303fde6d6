"""Make the project's pages with their gold text, entities and boxes.

    python recipes/pages/build.py            # writes configs/samples/pages/ and its gold

Needs the fonts that canvas.py names (Debian: fonts-dejavu-core fonts-liberation
fonts-dkg-handwriting fonts-breip). Seeds are fixed; the bytes depend on the versions of Pillow
and FreeType, so what is committed is not compared with a new build.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import cv2
import numpy as np
from canvas import Paper, Word
from contents import (
    discharge,
    form,
    handwritten,
    lab_table,
    prescription,
    referral,
    two_columns,
)
from numpy.typing import NDArray
from PIL import Image

OUT = Path(__file__).resolve().parents[2] / "configs" / "samples"
Pixels = NDArray[np.uint8]


def pixels(paper: Paper) -> Pixels:
    return np.asarray(paper.image)


def moved(
    paper: Paper,
    picture: Pixels,
    matrix: NDArray[np.float64],
    size: tuple[int, int],
    ground: int = 255,
) -> Pixels:
    """The picture under a projection, and the words with it."""
    for word in paper.words:
        word.corners = cv2.perspectiveTransform(word.corners[None], matrix)[0]
    warped = cv2.warpPerspective(
        picture, matrix, size, flags=cv2.INTER_AREA, borderValue=(ground,) * 3
    )
    return np.asarray(warped, np.uint8)


def photographed(paper: Paper, seed: int) -> Pixels:
    """Held in front of a camera: perspective, uneven light, a shadow, a little blur and noise."""
    random = np.random.default_rng(seed)
    w, h = paper.width, paper.height
    corners = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32)
    there = (
        corners * 0.92
        + np.array([w * 0.04, h * 0.04])
        + random.uniform(-0.025, 0.025, (4, 2)) * (w, h)
    )
    picture = moved(
        paper,
        pixels(paper),
        cv2.getPerspectiveTransform(corners, there.astype(np.float32)),
        (w, h),
        96,
    )
    y, x = np.mgrid[0:h, 0:w]
    light = 0.9 - 0.25 * np.hypot(x / w - 0.3, y / h - 0.25)
    shadow = 1 - 0.3 / (1 + np.exp(-(x + 0.6 * y - 0.95 * h) / 25))
    lit = picture * (light * shadow)[:, :, None] * np.array([1.0, 0.98, 0.94])
    lit = cv2.GaussianBlur(lit, (0, 0), 0.7) + random.normal(0, 4, lit.shape)
    return np.clip(lit, 0, 255).astype(np.uint8)


def turned(paper: Paper, picture: Pixels, degrees: int) -> Pixels:
    """Turned clockwise by a multiple of 90 degrees, as a page lies wrongly in a scanner."""
    h, w = picture.shape[:2]
    matrix = {
        90: [[0, -1, h], [1, 0, 0], [0, 0, 1]],
        180: [[-1, 0, w], [0, -1, h], [0, 0, 1]],
    }[degrees]
    for word in paper.words:
        word.corners = cv2.perspectiveTransform(word.corners[None], np.array(matrix, np.float64))[0]
    return np.ascontiguousarray(np.rot90(picture, -degrees // 90))


def scanned(paper: Paper, seed: int, degrees: float, speckle: float) -> Pixels:
    """Laid askew in a scanner with dust on its glass."""
    random = np.random.default_rng(seed)
    w, h = paper.width, paper.height
    matrix = np.vstack([cv2.getRotationMatrix2D((w / 2, h / 2), degrees, 0.97), [0, 0, 1]])
    picture = moved(paper, pixels(paper), matrix, (w, h)).astype(np.float64)
    picture = (
        cv2.GaussianBlur(picture, (0, 0), 0.6) + random.normal(0, 9, picture.shape[:2])[:, :, None]
    )
    dust = random.random(picture.shape[:2])
    picture[dust < speckle] = 40
    picture[dust > 1 - speckle] = 250
    return np.clip(picture, 0, 255).astype(np.uint8)


def encoded(picture: Pixels, form: str, **options: object) -> bytes:
    image = Image.fromarray(picture)
    if form == "PNG":
        image = image.convert("L").quantize(32)
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def gold(name: str, papers: list[Paper]) -> dict[str, object]:
    """Return the gold of a document with these pages."""
    text, entities = "", []
    for page, paper in enumerate(papers):
        if page:
            text += "\n\n"
        base = len(text)
        text += paper.text
        for entity in paper.entities:
            words = [w for w in paper.words if w.start < entity.end and w.end > entity.start]
            boxes = []
            for line in sorted({w.line for w in words}):
                corners = np.concatenate(
                    [_part(w, entity.start, entity.end) for w in words if w.line == line]
                )
                low, high = corners.min(axis=0), corners.max(axis=0)
                boxes.append(
                    {
                        "page": page,
                        **dict(
                            zip(
                                ("x0", "y0", "x1", "y1"),
                                [round(float(v), 1) for v in (*low, *high)],
                                strict=True,
                            )
                        ),
                    }
                )
            start, end = base + entity.start, base + entity.end
            entities.append(
                {
                    "start": start,
                    "end": end,
                    "label": entity.label,
                    "text": text[start:end],
                    "boxes": boxes,
                }
            )
    return {"id": name, "text": text, "entities": entities}


def _part(word: Word, start: int, end: int) -> NDArray[np.float64]:
    """The part of a word's place that an entity covers, by its characters."""
    length = word.end - word.start
    low = max(start - word.start, 0) / length
    high = min(end - word.start, length) / length
    a, b, c, d = word.corners
    return np.array([a + (b - a) * low, a + (b - a) * high, d + (c - d) * high, d + (c - d) * low])


def pdf(papers: list[Paper], scan: Pixels) -> bytes:
    """Return a PDF: the first page has a text layer, the second is a scan at 200 dpi."""
    import pypdfium2 as pdfium
    import pypdfium2.raw as raw

    document = pdfium.PdfDocument.new()
    scale = 72 / 200
    first = papers[0]
    page = document.new_page(first.width * scale, first.height * scale)
    font = raw.FPDFText_LoadStandardFont(document, b"Times-Roman")
    for word in first.words:
        item = raw.FPDFPageObj_CreateTextObj(document, font, 26 * scale)
        text = first.text[word.start : word.end].encode("utf-16-le") + b"\0\0"
        buffer = (raw.FPDF_WCHAR * (len(text) // 2)).from_buffer_copy(text)
        raw.FPDFText_SetText(item, buffer)
        raw.FPDFPageObj_Transform(
            item, 1, 0, 0, 1, word.corners[0][0] * scale, (first.height - word.baseline) * scale
        )
        raw.FPDFPage_InsertObject(page, item)
    page.gen_content()
    h, w = scan.shape[:2]
    second = document.new_page(w * scale, h * scale)
    image = pdfium.PdfImage.new(document)
    image.load_jpeg(io.BytesIO(encoded(scan, "JPEG", quality=70)), inline=True)
    image.set_matrix(pdfium.PdfMatrix().scale(w * scale, h * scale))
    second.insert_obj(image)
    second.gen_content()
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()


def main() -> None:
    folder = OUT / "pages"
    folder.mkdir(parents=True, exist_ok=True)
    made: list[tuple[str, bytes, list[Paper]]] = []

    paper = prescription()
    made.append(
        ("prescription-photo.jpg", encoded(photographed(paper, 1), "JPEG", quality=72), [paper])
    )
    paper = handwritten()
    made.append(("handwritten.png", encoded(pixels(paper), "PNG", optimize=True), [paper]))
    paper = form()
    made.append(("form.webp", encoded(scanned(paper, 2, 0.6, 0.0), "WEBP", quality=55), [paper]))
    paper = lab_table()
    made.append(("lab-table.png", encoded(pixels(paper), "PNG", optimize=True), [paper]))
    paper = two_columns()
    made.append(("two-columns.png", encoded(pixels(paper), "PNG", optimize=True), [paper]))
    paper = discharge()
    picture = turned(paper, scanned(paper, 3, 0, 0.0005), 90)
    made.append(("discharge-sideways.jpg", encoded(picture, "JPEG", quality=60), [paper]))
    paper = prescription()
    picture = turned(paper, scanned(paper, 4, -1.5, 0.002), 180)
    made.append(("prescription-upside-down.jpg", encoded(picture, "JPEG", quality=60), [paper]))
    papers = [referral(0), referral(1)]
    frames = [
        Image.fromarray(scanned(p, 5 + i, 0.8 - 2 * i, 0.001))
        .convert("L")
        .point(lambda v: 255 * (v > 150))
        .convert("1")
        for i, p in enumerate(papers)
    ]
    file = io.BytesIO()
    frames[0].save(
        file, "TIFF", save_all=True, append_images=frames[1:], compression="group4", dpi=(120, 120)
    )
    made.append(("referral-fax.tiff", file.getvalue(), papers))
    papers = [referral(0), discharge()]
    scan = scanned(papers[1], 7, 1.0, 0.0002)
    made.append(("letter-and-scan.pdf", pdf(papers, scan), papers))

    with (OUT / "pages-gold.jsonl").open("w", encoding="utf-8") as lines:
        for name, content, papers in made:
            (folder / name).write_bytes(content)
            lines.write(json.dumps(gold(name, papers), ensure_ascii=False) + "\n")
    total = sum(len(content) for _, content, _ in made)
    print(f"{len(made)} files, {total / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
