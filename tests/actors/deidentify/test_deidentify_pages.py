from __future__ import annotations

import io
import re
import weakref
from base64 import b64decode
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo
from support.deidentify import SECRET

from actors.config.deidentify import MARKS, Category, Deidentify, ReplacementPolicy
from actors.deidentify import Deidentified, Deidentifier, Edit, OffsetMap
from actors.deidentify.page_again import page_again
from actors.deidentify.page_marks import taken_marks
from actors.deidentify.page_redaction import burnt
from actors.deidentify.patches import Patch, patches_of
from actors.deidentify.picture_files import picture_file
from actors.pages import DecodeLimits, OcrResult, PageError, PageSize, Word, open_pages
from actors.spans import Annotations, Box, Document, MarkKind, PageMark

# Three frames of 96 x 64 pixels, orange, blue and green, as pillow-heif writes them: nothing that
# is installed here encodes.
_HEIC = b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAbJtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAA"
    "AAAAAAAAAEZpbG9jAAAAAERAAAMAAQAAAAAB1gABAAAAAAAAABsAAgAAAAAB8QABAAAAAAAAABsAAwAAAAACDAABAAAA"
    "AAAAABoAAABNaWluZgAAAAAAAwAAABVpbmZlAgAAAAABAABodmMxAAAAABVpbmZlAgAAAAACAABodmMxAAAAABVpbmZl"
    "AgAAAAADAABodmMxAAAAAA5waXRtAAAAAAABAAAA5GlwcnAAAAC3aXBjbwAAAHhodmNDAQNwAAAAkAAAAAAAHvAA/P34"
    "+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQArQgEBA3AAAAMAkAAAAwAAAwAeoDCBBZbqSSmubgIa"
    "DAgAAAMAyAAAAwAIQGIAAQAHRAHBcrAiQAAAABNjb2xybmNseAABAA0ABoAAAAAUaXNwZQAAAAAAAABgAAAAQAAAABBw"
    "aXhpAAAAAAMICAgAAAAlaXBtYQAAAAAAAAADAAEEgQIDBAACBIECAwQAAwSBAgMEAAAAWG1kYXQAAAAXKAGvGYD3fIU3"
    "/9VJ/79cv9JBXitCs8AAAAAXKAGvGYD3fIU3//fX8R79dv9JBXitCs8AAAAWKAGvGYD3fIU3/2yX/opO/lAV4rQrPA=="
)
_BOX = Box(0, 30.0, 10.0, 60.0, 20.0)


def patch(
    *boxes: Box,
    new: str = "Kim",
    policy: ReplacementPolicy = ReplacementPolicy.SURROGATE,
    turn: int = 0,
) -> Patch:
    readable = policy is ReplacementPolicy.SURROGATE
    return Patch(boxes, "Doe", new, Category.NAME, policy, readable, turn)


def page(colour: str = "red") -> Image.Image:
    """White, with something of a colour in the box."""
    image = Image.new("RGB", (100, 50), "white")
    ImageDraw.Draw(image).rectangle((30, 10, 59, 19), fill=colour)
    return image


def encoded(image: Image.Image, kind: str, **more: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **more)
    return out.getvalue()


def read(content: bytes, limits: DecodeLimits | None = None) -> list[np.ndarray]:
    return [p.picture for p in open_pages(content, limits) if p.picture is not None]


def laid_out(text: str, size: int = 20) -> OcrResult:
    """A page with a line of a text's words, ten pixels a letter."""
    words, line, left = [], 0, 0
    for match in re.finditer(r"(?P<end>\n)|\S+", text):
        if match["end"]:
            line, left = line + 1, match.end()
            continue
        x0, x1 = 10.0 * (match.start() - left), 10.0 * (match.end() - left)
        y0 = 2.0 * size * line + 5
        box = Box(0, x0, y0, x1, y0 + size)
        words.append(Word(match.start(), match.end(), box, None))
    return OcrResult(text, tuple(words), (PageSize(1000, 400),))


def test_patches_are_whole_words() -> None:
    reading = laid_out("John Smith's is")
    offsets = OffsetMap(
        [
            Edit(0, 4, 0, 3, Category.NAME, ReplacementPolicy.SURROGATE),
            Edit(5, 10, 4, 7, Category.NAME, ReplacementPolicy.SURROGATE),
        ]
    )
    one, two = patches_of(reading, "Kim Lee's is", offsets)
    assert (one.old, one.new, one.boxes) == ("John", "Kim", (reading.words[0].box,))
    assert (two.old, two.new, two.boxes) == ("Smith's", "Lee's", (reading.words[1].box,))
    assert one.readable
    assert patches_of(reading, "John Smith's is", OffsetMap([])) == []


def test_edits_that_share_a_word_share_a_patch_and_no_real_value_is_in_it() -> None:
    reading = laid_out("Doe/998877 is")
    offsets = OffsetMap(
        [
            Edit(0, 3, 0, 3, Category.NAME, ReplacementPolicy.SURROGATE),
            Edit(4, 10, 4, 9, Category.MRN, ReplacementPolicy.MASK),
        ]
    )
    (one,) = patches_of(reading, "Kim/[MRN] is", offsets)
    assert (one.old, one.new, one.readable) == ("Doe/998877", "Kim/[MRN]", False)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP", "GIF"])
def test_a_picture_is_black_in_the_box_and_as_it_was_elsewhere(kind: str) -> None:
    content = encoded(page(), kind, **({"lossless": True} if kind == "WEBP" else {}))
    out, name = burnt(content, [patch(_BOX)])
    assert name == "png"
    before, after = read(content)[0], read(out)[0]
    assert not after[8:22, 28:62].any()
    assert (after[:7] == before[:7]).all()
    assert (after[24:] == before[24:]).all()
    assert (after[:, 66:] == before[:, 66:]).all()


def test_metadata_is_gone() -> None:
    info = PngInfo()
    info.add_text("Author", "Jane Doe")
    exif = Image.Exif()
    exif[0x013B] = "Jane Doe"
    for content in (
        encoded(page(), "PNG", pnginfo=info, exif=exif),
        encoded(page(), "JPEG", exif=exif, comment=b"Jane Doe"),
        encoded(page(), "TIFF", description="Jane Doe"),
    ):
        assert b"Jane Doe" in content
        out, _ = burnt(content, [])
        assert b"Jane Doe" not in out


def test_a_turned_photograph_is_burnt_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the viewer turns it by 90 degrees
    content = encoded(page().rotate(90, expand=True), "PNG", exif=exif)
    out, _ = burnt(content, [patch(_BOX)])
    after = read(out)[0]
    assert after.shape == (50, 100, 3)
    assert not after[8:22, 28:62].any()


def test_every_page_of_a_tiff_stays_a_page() -> None:
    content = encoded(page(), "TIFF", save_all=True, append_images=[page("blue"), page("green")])
    out, name = burnt(content, [patch(Box(1, 30, 10, 60, 20))])
    assert name == "tiff"
    first, second, third = read(out)
    assert (first == read(content)[0]).all()
    assert not second[8:22, 28:62].any()
    assert (third == read(content)[2]).all()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF", "HEIF"])
def test_every_frame_of_a_picture_stays_as_a_page_of_a_tiff(kind: str) -> None:
    more = {"lossless": True} if kind == "WEBP" else {}
    frames = [page("blue"), page("green")]
    if kind == "HEIF":
        pytest.importorskip("pi_heif")
        content = _HEIC
    else:
        content = encoded(page(), kind, save_all=True, append_images=frames, **more)
    before = read(content)
    assert len(before) == 3
    out, name = burnt(content, [patch(Box(n, 30, 10, 60, 20)) for n in (0, 2)])
    assert name == "tiff"
    after = read(out)
    assert len(after) == 3
    assert not after[0][8:22, 28:62].any()
    assert (after[1] == before[1]).all()
    assert not after[2][8:22, 28:62].any()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF", "HEIF", "TIFF", "PDF"])
def test_every_frame_is_covered(kind: str) -> None:
    if kind == "HEIF":
        pytest.importorskip("pi_heif")
        content = _HEIC
    else:
        content = encoded(page(), kind, save_all=True, append_images=[page("blue"), page("green")])
    limits = DecodeLimits(dpi=72)
    out, name = burnt(content, [patch(*(Box(n, 30, 10, 60, 20) for n in range(3)))], limits=limits)
    assert name == ("pdf" if kind == "PDF" else "tiff")
    pages = read(out, limits)
    assert len(pages) == 3
    for after in pages:
        assert after[8:22, 28:62].max() < 40  # the pages of a PDF are JPEG
        assert after[30:].max() > 100


@pytest.mark.parametrize("kind", ["pdf", "tiff", None])
def test_a_page_is_written_before_the_next_is_drawn(kind: str | None) -> None:
    drawn: list[weakref.ref[Image.Image]] = []

    def pages() -> Iterator[Image.Image]:
        for number in range(20):
            image = Image.new("RGB", (40, 30), (10 * number, 0, 0))
            drawn.append(weakref.ref(image))
            assert sum(one() is not None for one in drawn) <= 4  # with the first two
            yield image
            del image

    out, _ = picture_file(pages(), kind, 100)
    assert len(read(out, DecodeLimits(dpi=100))) == 20


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_surrogates_are_printed_in_place(turn: int) -> None:
    box = Box(0, 30, 40, 130, 60) if turn in (0, 180) else Box(0, 30, 40, 50, 140)
    content = encoded(Image.new("RGB", (160, 160), "gray"), "PNG")
    out, _ = burnt(content, [patch(box, new="Henry Key", turn=turn)], printed=True)
    (after,) = read(out)
    inside = after[int(box.y0) : int(box.y1), int(box.x0) : int(box.x1)]
    assert inside.max() == 255
    assert 0.02 < (inside < 100).mean() < 0.5, "letters on paper"
    ink = np.argwhere(inside[:, :, 0] < 100)
    spread = ink.max(axis=0) - ink.min(axis=0)
    assert (spread[1] > spread[0]) == (turn in (0, 180)), "along the longer side"
    assert (after[:30] == 128).all()


@pytest.mark.parametrize(
    ("box", "new", "policy"),
    [
        (_BOX, "[NAME]", ReplacementPolicy.MASK),
        (_BOX, "Bartholomew Montgomery-Featherstone of Wherever", ReplacementPolicy.SURROGATE),
        (_BOX, "中村", ReplacementPolicy.SURROGATE),
        (_BOX, " ", ReplacementPolicy.SURROGATE),
    ],
)
def test_illegible_replacement_leaves_the_box_black(
    box: Box, new: str, policy: ReplacementPolicy
) -> None:
    out, _ = burnt(encoded(page(), "PNG"), [patch(box, new=new, policy=policy)], printed=True)
    assert not read(out)[0][8:22, 28:62].any()


class TestSecondLook:
    TEXT = "Patient: Jane Doe\nDr. Brown sees hypertension\nMRN 998877 today"

    def _seen(self, covered: str, printed: bool = False) -> set[tuple[str, str]]:
        """The residue where OCR reads ``covered`` after the patches: the words stand where they
        stood, and those that were covered are left out of it as spaces."""
        reading = laid_out(self.TEXT)
        policies = dict.fromkeys((Category.NAME, Category.MRN), ReplacementPolicy.SURROGATE)
        config = Deidentify(preset="strict", policies=policies if printed else {})
        deidentifier = Deidentifier(config, SECRET)
        done = deidentifier.apply(self.TEXT, Annotations(), "p")
        assert done.text is not None
        patches = patches_of(reading, done.text, done.map)
        again = page_again(laid_out(covered), patches, printed)
        for edit in again.offsets.edits:
            assert again.old[: edit.start].count("\n") == again.text[: edit.new_start].count("\n")
        found = deidentifier.page_residue(self.TEXT, done.map.edits, again, ())
        return {(again.text[one.start : one.end].strip(), one.by) for one in found}

    def test_a_page_with_black_boxes_is_clean(self) -> None:
        assert self._seen("Patient:\nDr.       sees hypertension\nMRN        today") == set()

    def test_a_word_that_its_box_missed_is_found(self) -> None:
        text = "Patient:\nDr.       sees hypertension\nMRN        today\nDoe and 998877"
        assert {found for found, _ in self._seen(text)} == {"Doe", "998877"}

    def test_identifier_newly_read_by_ocr_is_residue(self) -> None:
        text = "Patient:\nDr.       sees hypertension\nMRN        today\nbob@example.org"
        assert self._seen(text) == {("bob@example.org", "email")}

    def test_printed_words_are_the_replacement(self) -> None:
        text = "Patient: Kim  Lee\nDr. Henry sees hypertension\nMRN 123456 today"
        assert self._seen(text, printed=True) == set()

    @pytest.mark.parametrize("printed", [True, False])
    def test_words_that_can_still_be_read_are_not(self, printed: bool) -> None:
        left = {found for found, _ in self._seen(self.TEXT, printed)}
        assert left >= {"Jane Doe", "Brown", "998877"}


def test_a_pdf_becomes_pictures_without_text_or_metadata() -> None:
    content = _text_pdf(b"Jane Doe 12345")
    limits = DecodeLimits(dpi=100)
    out, name = burnt(content, [], limits=limits)
    assert name == "pdf"
    (before,) = open_pages(content, limits)
    assert before.strips  # it had a text layer
    (after,) = open_pages(out, limits)
    assert not after.strips
    assert after.picture is not None
    assert (after.picture < 128).any()  # what was seen is seen
    assert abs(after.width - before.width) <= 1
    assert b"Jane" not in out
    assert b"Secret Title" in content
    assert b"Secret Title" not in out
    assert b"CreationDate" not in out
    box = Box(0, 0, 0, before.width, before.height)
    (burnt_page,) = read(burnt(content, [patch(box)], limits=limits)[0], limits)
    assert burnt_page.max() < 40


def test_cancelled_work_ends_after_the_page_in_progress() -> None:
    content = encoded(page(), "TIFF", save_all=True, append_images=[page("blue"), page("green")])
    polled: list[bool] = []

    def cancelled() -> bool:
        polled.append(len(polled) > 0)
        return polled[-1]

    pages = 0  # a slow decoder is asked before its first page
    with suppress(PageError):
        pages = len(read(burnt(content, [], cancelled=cancelled)[0]))
    assert pages < 3


def test_a_box_on_no_page_and_a_file_of_no_kind_are_errors() -> None:
    with pytest.raises(ValueError, match="pages: 1"):
        burnt(encoded(page(), "PNG"), [patch(Box(1, 0, 0, 1, 1))])
    with pytest.raises(Exception, match="not an image"):
        burnt(b"no picture", [])


def _text_pdf(words: bytes) -> bytes:
    """A PDF of one page with a text layer and a title."""
    stream = b"BT /F1 24 Tf 20 100 Td (" + words * 8 + b") Tj ET"
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 900 200]/Contents 4 0 R"
        b"/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(stream), stream),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        b"<</Title(Secret Title)>>",
    ]
    out = b"%PDF-1.4\n"
    places = []
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    at = len(out)
    out += b"xref\n0 7\n0000000000 65535 f \n" + table
    return out + b"trailer<</Size 7/Root 1 0 R/Info 6 0 R>>\nstartxref\n%d\n%%%%EOF" % at


class TestMarks:
    TEXT = "Patient: Jane Doe\nSigned: Jn Dxe\nTake daily with food"

    def _read(self) -> OcrResult:
        """The second line's last words are a signature, all of the third is written by hand; an
        empty stamp, a bar code."""
        reading = laid_out(self.TEXT)
        words = {self.TEXT[word.start : word.end]: word.box for word in reading.words}

        def around(first: str, last: str) -> Box:
            return Box(0, words[first].x0, words[first].y0, words[last].x1, words[last].y1)

        marks = (
            PageMark(MarkKind.SIGNATURE, around("Jn", "Dxe")),
            PageMark(MarkKind.HANDWRITING, around("Take", "food")),
            PageMark(MarkKind.STAMP, Box(0, 600, 200, 700, 300)),
            PageMark(MarkKind.BARCODE, Box(0, 600, 400, 700, 450), "Doe"),
        )
        return replace(reading, marks=marks)

    def _done(self, config: Deidentify) -> tuple[Deidentified, list[Patch]]:
        reading = self._read()
        marks = taken_marks(reading, config)
        done = Deidentifier(config).apply(self.TEXT, Annotations(), "p", marks=marks)
        assert done.text is not None
        return done, patches_of(reading, done.text, done.map, marks)

    def test_they_are_covered_and_their_words_masked(self) -> None:
        for preset in ("strict", "safe_harbour"):
            done, patches = self._done(Deidentify.model_validate({"preset": preset}))
            assert done.text == "Patient: [NAME]\nSigned: [SIGNATURE]\n[HANDWRITING]"
            mask = ReplacementPolicy.MASK
            assert done.counts == dict.fromkeys([(c, mask) for c in (Category.NAME, *MARKS)], 1)
            assert [one.boxes[0] for one in patches[-4:]] == [m.box for m in self._read().marks]
            assert not any(one.readable for one in patches)

    def test_a_limited_data_set_keeps_handwriting_and_policies_keep_what_they_say(self) -> None:
        done, _ = self._done(Deidentify(preset="limited"))
        assert done.text is not None
        assert done.text.endswith("[SIGNATURE]\nTake daily with food")
        keep = dict.fromkeys(MARKS, ReplacementPolicy.KEEP)
        done, patches = self._done(Deidentify(policies=keep))
        assert done.text is not None
        assert done.text.endswith("\nTake daily with food")
        assert {one.category for one in patches} == {Category.NAME}

    def test_words_that_are_written_may_be_printed_elsewhere(self) -> None:
        config = Deidentify(preset="strict")
        done, patches = self._done(config)
        covered = laid_out("Patient:\nSigned:\nTake daily with food")
        again = page_again(covered, patches, printed=False)
        found = Deidentifier(config).page_residue(self.TEXT, done.map.edits, again, ())
        assert found == ()

    @pytest.mark.parametrize("policy", ["surrogate", "hash", "same_length", "shift"])
    def test_they_are_masked_or_kept(self, policy: str) -> None:
        with pytest.raises(ValueError, match="does not apply to it"):
            Deidentify.model_validate({"policies": {"STAMP": policy}})

    def test_what_a_code_says_is_taken_in_the_text_too(self) -> None:
        text = "44711\nSmurf came. 4471 mg, 2024-A, 12"
        code = PageMark(MarkKind.BARCODE, Box(0, 600, 400, 700, 450), "44711|2024-A|12|SMURF^JOHN")
        reading = replace(laid_out(text), marks=(code,))

        def done(**policies: str) -> str | None:
            config = Deidentify.model_validate({"preset": "strict", "policies": policies})
            marks = taken_marks(reading, config)
            return Deidentifier(config).apply(text, Annotations(), "p", marks=marks).text

        assert done() == "[ID]\n[NAME] came. 4471 mg, [ID], 12"
        assert done(ID="keep") == "44711\n[NAME] came. 4471 mg, [DATE]-A, 12"
        assert done(BARCODE="keep") == "44711\nSmurf came. 4471 mg, [ID], 12"

    def test_words_outside_part_the_runs(self) -> None:
        reading = laid_out("one two\nthree four")
        left = PageMark(MarkKind.STAMP, Box(0, 0, 0, 50, 100))
        (mark,) = taken_marks(replace(reading, marks=(left,)), Deidentify())
        assert [reading.text[start:end] for start, end in mark.spans] == ["one", "three"]
        elsewhere = PageMark(MarkKind.STAMP, Box(1, 0, 0, 50, 100))
        (mark,) = taken_marks(replace(reading, marks=(elsewhere,)), Deidentify())
        assert mark.spans == ()


@pytest.mark.weights
def test_a_real_stamp_and_the_words_beside_signature_are_covered() -> None:
    from actors.config.ocr import load_ocr
    from actors.ocr import OcrReader

    font, ink = ImageFont.load_default(34), (20, 30, 160)
    scan = Image.new("RGB", (1200, 900), "white")
    draw = ImageDraw.Draw(scan)
    for at, line in enumerate(("The patient has pain in the left knee.", "Continue metformin")):
        draw.text((80, 60 + 60 * at), line, fill="black", font=font)
    draw.text((80, 300), "Signature:", fill="black", font=font)
    draw.text((290, 300), "Jn Dxemann", fill=ink, font=font)
    stamp = Image.new("L", (330, 150), 0)
    inside = ImageDraw.Draw(stamp)
    inside.rectangle((2, 2, 327, 147), outline=255, width=5)
    inside.text((60, 50), "Dr. WEBER", fill=255, font=font)
    scan.paste((200, 20, 20), (700, 500), stamp.rotate(12, expand=True))
    content, config = encoded(scan, "PNG"), Deidentify()
    with OcrReader(load_ocr("starter:ocr")) as reader:
        (reading,) = reader.read([Document("scan", image=content)])
    assert isinstance(reading, OcrResult)
    marks = taken_marks(reading, config)
    assert [mark.category for mark in marks] == [Category.STAMP]
    done = Deidentifier(config).apply(reading.text, Annotations(), "p", marks=marks)
    assert done.text is not None
    out, _ = burnt(content, patches_of(reading, done.text, done.map, marks))
    (before,), (after,) = read(content), read(out)

    def coloured(picture: np.ndarray) -> int:
        return int((np.ptp(picture.astype(int), axis=2) > 60).sum())

    assert coloured(before) > 1000
    assert coloured(after) == 0
    assert (after == before)[:250].all(), "print stays"
