"""Which fields of made forms medspan finds, right in every character of label and value."""

from __future__ import annotations

import itertools
import time

from actors.config.ocr import load_ocr
from actors.ocr import OcrReader
from actors.pages import OcrResult, find_fields
from actors.spans import Document
from benchmarks.pages.forms import FORM_KINDS, made_form


def fields_found(each: int, seed: int, threads: int, until: float) -> dict[str, dict[str, int]]:
    """Fields by kind of form, how many of them were found, and how many found are not there. No
    page begins after ``until``."""
    counts = {kind: {"pages": 0, "fields": 0, "found": 0, "false": 0} for kind in FORM_KINDS}
    with OcrReader(load_ocr("starter:ocr"), threads=threads) as reader:
        for number, kind in itertools.product(range(each), FORM_KINDS):
            if time.monotonic() > until:
                break
            form, count = made_form(kind, seed + number), counts[kind]
            [reading] = reader.read([Document(id="form", image=form.content)])
            wanted = list(form.pairs)
            count["pages"] += 1
            count["fields"] += len(wanted)
            if not isinstance(reading, OcrResult):
                continue
            for one in find_fields(reading):
                pair = (one.name, reading.text[one.start : one.end])
                right = pair in wanted
                count["found" if right else "false"] += 1
                if right:
                    wanted.remove(pair)
    return counts
