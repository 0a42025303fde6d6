"""Bar codes on pages: found where they were drawn, with what they say, and nothing else."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image
from support.bar_codes import CONTENTS, DrawnCode, page_with_codes
from support.images import dicom

from actors.pages import DamagedFile, DecodeLimits, Picture
from actors.pages.bar_codes import find_bar_codes, page_bar_codes
from actors.spans import MarkKind

_KINDS = tuple(CONTENTS)


def _spread(**more: object) -> list[DrawnCode]:
    """A code of every kind, apart from one another."""
    return [
        DrawnCode(kind, (450 if at % 2 else 1200, 300 + at // 2 * 560), **more)  # type: ignore[arg-type]
        for at, kind in enumerate(_KINDS)
    ]


def _missed(codes: Sequence[DrawnCode], noise: float = 0.0) -> set[str]:
    """The kinds of codes whose middle is in no mark; asserts that nothing else was found."""
    picture, places = page_with_codes(codes, noise=noise)
    marks = find_bar_codes(picture)
    missed = set()
    for code, (x0, y0, x1, y1) in zip(codes, places, strict=True):
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
        over = [m for m in marks if m.box.x0 < x < m.box.x1 and m.box.y0 < y < m.box.y1]
        if not over:
            missed.add(code.kind)
            continue
        assert CONTENTS[code.kind] in over[0].content.split("\n")
        marks = [one for one in marks if one not in over]
    assert marks == []
    return missed


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"turn": 5},
        {"turn": 90},
        {"turn": 180},
        {"turn": 24},
        {"turn": 45},
        {"module": 2.0},
        {"module": 5.0},
        {"ink": 150, "paper": 215},
    ],
    ids=str,
)
def test_codes_are_found_turned_small_and_faint(more: dict[str, float]) -> None:
    assert _missed(_spread(**more)) == set()


def test_noise_hides_no_code() -> None:
    assert _missed(_spread(), noise=20) == set()


def test_all_of_a_code_is_in_its_box() -> None:
    picture, places = page_with_codes([DrawnCode(kind, (800, 600)) for kind in ["QRCode"]])
    (mark,) = find_bar_codes(picture, 3)
    (x0, y0, x1, y1) = places[0]
    dark = np.argwhere(picture[y0:y1, x0:x1, 0] < 128) + np.array([y0, x0])
    assert (mark.kind, mark.box.page) == (MarkKind.BARCODE, 3)
    assert mark.box.y0 <= dark[:, 0].min() <= dark[:, 0].max() < mark.box.y1 + 1
    assert mark.box.x0 <= dark[:, 1].min() <= dark[:, 1].max() < mark.box.x1 + 1


def test_print_is_no_code() -> None:
    picture, _ = page_with_codes([])
    assert find_bar_codes(picture) == []


def _file(form: str, *pictures: Picture) -> bytes:
    out = io.BytesIO()
    first, *rest = [Image.fromarray(one) for one in pictures]
    more = {"save_all": True, "append_images": rest} if rest else {}
    first.save(out, form, **more, **({"resolution": 200} if form == "PDF" else {}))
    return out.getvalue()


@pytest.mark.parametrize("form", ["PDF", "TIFF"])
def test_every_page_of_a_file_is_searched(form: str) -> None:
    size = (600, 400)
    first, _ = page_with_codes([DrawnCode("Code128", (300, 200), 2)], text=False, size=size)
    second, _ = page_with_codes([], size=size)
    third, _ = page_with_codes([DrawnCode("DataMatrix", (300, 200))], text=False, size=size)
    found = [*page_bar_codes(_file(form, first, second, third), DecodeLimits())]
    assert [(one.box.page, one.content) for one in found] == [
        (0, CONTENTS["Code128"]),
        (2, CONTENTS["DataMatrix"]),
    ]


def test_frames_of_dicom_are_searched() -> None:
    picture, _ = page_with_codes([DrawnCode("QRCode", (150, 150))], text=False, size=(300, 300))
    (found,) = page_bar_codes(dicom(picture[:, :, 0].astype(np.uint16)), DecodeLimits())
    assert found.content == CONTENTS["QRCode"]


def test_a_damaged_file_is_an_error() -> None:
    picture, _ = page_with_codes([], size=(600, 400))
    with pytest.raises(DamagedFile):
        list(page_bar_codes(_file("PNG", picture)[:200], DecodeLimits()))
