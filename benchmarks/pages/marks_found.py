"""Which stamps, signatures and handwriting of made pages medspan finds."""

from __future__ import annotations

import itertools
import time

from actors.config.ocr import load_ocr
from actors.ocr import OcrReader
from actors.pages import OcrResult
from actors.spans import Document, MarkKind, PageMark
from benchmarks.pages.marked import MARKED_KINDS, UNSEEN_KINDS, marked_page


def marks_found(each: int, seed: int, threads: int, until: float) -> dict[str, dict[str, int]]:
    """Marks on made pages by kind, how many of them were found, and how many found are none."""
    parts = [kind.value for kind in MarkKind] + [f"{kind} (unseen)" for kind in UNSEEN_KINDS]
    counts = {part: {"marks": 0, "found": 0, "false": 0} for part in parts}
    pages = 0
    with OcrReader(load_ocr("starter:ocr"), threads=threads) as reader:
        for number, kind in itertools.product(range(each), MARKED_KINDS):
            if time.monotonic() > until:
                break
            pages += 1
            page = marked_page(kind, seed + number)
            [reading] = reader.read([Document(id="page", image=page.content)])
            found = list(reading.marks) if isinstance(reading, OcrResult) else []
            for mark in page.marks:
                part = f"{kind} (unseen)" if kind in UNSEEN_KINDS else mark.kind.value
                counts[part]["marks"] += 1
                match = next((one for one in found if _is_same(one, mark)), None)
                if match is not None:
                    found.remove(match)
                    counts[part]["found"] += 1
            for one in found:
                counts[one.kind]["false"] += 1
    return counts | {"all": {"pages": pages}}


def _is_same(a: PageMark, b: PageMark) -> bool:
    width = min(a.box.x1, b.box.x1) - max(a.box.x0, b.box.x0)
    height = min(a.box.y1, b.box.y1) - max(a.box.y0, b.box.y0)
    areas = [(m.box.x1 - m.box.x0) * (m.box.y1 - m.box.y0) for m in (a, b)]
    shared = max(0.0, width) * max(0.0, height)
    return a.kind is b.kind and shared > 0.5 * (sum(areas) - shared)
