"""De-identified pages as columns, from where they are covered to the end of the unit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from actors.config.deidentify import Category, ReplacementPolicy
from actors.spans import Box, Failure
from pipelines.release import CoveredPages

if TYPE_CHECKING:
    from actors.deidentify.page_again import PageAgain
    from actors.deidentify.patches import Patch

COVERED = "medspan/covered_pages"
"""The column with the covered pages of a document: a struct COVERED_PAGES. Null without a picture,
and where nothing leaves."""
PAGE_TEXT = "medspan/page_text"
"""The column with what OCR read of the covered pages: a struct PAGE_AGAIN."""

COVERED_PAGES = pa.struct(
    [
        pa.field("content", pa.large_binary()),  # the pages of a unit may take more than 2 GB
        pa.field("kind", pa.string()),
        pa.field("patches", pa.string()),
        pa.field("error_type", pa.string()),
        pa.field("error_message", pa.string()),
    ]
)
PAGE_AGAIN = pa.struct([pa.field(name, pa.string()) for name in ("old", "text", "edits")])


def covered_row(made: CoveredPages | Failure) -> dict[str, Any]:
    """Covered pages, or why there are none, as a value of COVERED_PAGES."""
    if isinstance(made, Failure):
        return {"error_type": made.type, "error_message": made.message}
    patches = json.dumps([asdict(patch) for patch in made.patches])
    return {"content": made.content, "kind": made.kind, "patches": patches, "error_type": ""}


def row_patches(patches: str) -> list[Patch]:
    """The patches in a value of COVERED_PAGES."""
    from actors.deidentify.patches import Patch

    return [
        Patch(
            **one
            | {
                "boxes": tuple(Box(**box) for box in one["boxes"]),
                "category": Category(one["category"]),
                "policy": ReplacementPolicy(one["policy"]),
            }
        )
        for one in json.loads(patches)
    ]


def page_again_row(page: PageAgain) -> dict[str, Any]:
    """A PageAgain as a value of PAGE_AGAIN."""
    edits = json.dumps([asdict(edit) for edit in page.offsets.edits])
    return {"old": page.old, "text": page.text, "edits": edits}


def row_page_again(row: dict[str, Any]) -> PageAgain:
    """The reverse of ``page_again_row``."""
    from actors.deidentify.offset_map import Edit, OffsetMap
    from actors.deidentify.page_again import PageAgain

    edits: Sequence[dict[str, Any]] = json.loads(row["edits"])
    made = [
        Edit(
            **edit
            | {
                "category": Category(edit["category"]),
                "policy": ReplacementPolicy(edit["policy"]),
            }
        )
        for edit in edits
    ]
    return PageAgain(row["old"], row["text"], OffsetMap(made))
