"""The HTML report of de-identified documents: what stands in place of what, by category.

It is independent of storage: the caller supplies the counts and the Counterparts. It shows the
original's words, so it is as confidential as the originals.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.markup.colours import RED, Look, looks
from pipelines.markup.reader_page import Item, LegendEntry, Reader, Reading, render_page, save
from pipelines.report import sample
from pipelines.runs.counterparts import Counterpart

_LEFT = "residue"
_STATUSES = ("ok", "residue", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeidentifiedRun:
    """Counts of a run: documents by status, identifiers by category and policy, and residue by
    category."""

    name: str
    run_id: str
    documents: Mapping[str, int]
    replaced: Mapping[tuple[str, str], int]
    residue: Mapping[str, int]


def render_deidentified(
    about: DeidentifiedRun, documents: Iterable[Counterpart], *, limit: int = 200
) -> str:
    """Render the report. ``documents`` is consumed once and sampled down to ``limit``."""
    chosen = sample(documents, limit, lambda document: document.status != "ok")
    counts = Counter[str]()
    for (category, _), count in about.replaced.items():
        counts[category] += count
    look = looks(counts)
    # Each mark has a tag of its own: what was there before.
    keys = [
        LegendEntry(name, look[name], count, tagged=False) for name, count in counts.most_common()
    ]
    if about.residue:
        left = sum(about.residue.values())
        keys.append(LegendEntry(_LEFT, Look(RED, "dashed"), left, tagged=False))
    number = {key.name: i for i, key in enumerate(keys)}
    total = sum(about.documents.values())
    policies = sorted({policy for _, policy in about.replaced})
    statuses = Counter(document.status for document in chosen)
    return render_page(
        "deidentified.html",
        Reader(keys, [_reading(one, number) for one in chosen], ("edit", "edits")),
        about=about,
        total=total,
        edits=counts.total(),
        policies=policies,
        rows=[
            (number[name], name, count, [about.replaced.get((name, p), 0) for p in policies])
            for name, count in counts.most_common()
        ],
        sampled=len(chosen) < total,
        statuses=[(status, statuses[status]) for status in _STATUSES if statuses[status]],
        scored=False,
        plain_status="ok",
        key_word="category",
        empty="The run has no de-identified documents.",
    )


def write_deidentified(
    path: str, about: DeidentifiedRun, documents: Iterable[Counterpart], *, limit: int = 200
) -> None:
    """Render a report to a path or any fsspec URL."""
    save(path, render_deidentified(about, documents, limit=limit))


def _reading(document: Counterpart, number: Mapping[str, int]) -> Reading:
    """The new text, with what stood there before; of a document without one the original."""
    old, text = document.original or "", document.text
    items = []
    for edit in document.edits:
        start, end = edit["start"], edit["end"]
        if text is None:
            items.append(_item(edit, start, end, number))
        else:
            before = old[start:end]
            items.append(_item(edit, edit["new_start"], edit["new_end"], number, before))
    for found in document.residue if text is None else ():
        if found["start"] is None:
            continue  # it was read on a covered page
        facts = (("category", found["category"]), ("found by", found["by"]))
        place = found["start"], found["end"]
        items.append(Item(number[_LEFT], "", *place, tag=_LEFT, facts=facts))
    shown = old if text is None else text
    return Reading(document.doc_id, document.status, shown, items, tuple(_notices(document)))


def _item(
    edit: Mapping[str, Any], start: int, end: int, number: Mapping[str, int], before: str = ""
) -> Item:
    category, policy = edit["category"], edit["policy"]
    facts = [("policy", policy)] if not before else [("before", before), ("policy", policy)]
    tag = f"{category} ← {before}" if before else category
    return Item(number[category], "", start, end, tag=tag, facts=tuple(facts))


def _notices(document: Counterpart) -> Iterator[tuple[str, str]]:
    below = "Below is the original."
    if document.status == "failed":
        yield "bad", f"Nothing leaves of this document: {document.error_type}. {below}"
    elif document.text is None:
        found = "The second look found an identifier, and nothing leaves of this document."
        yield "bad", f"{found} {below}"
    elif document.residue:
        yield "warn", "The second look found an identifier, and the configuration lets it pass."
    on_page = [one for one in document.residue if one["start"] is None]
    if on_page:
        found = ", ".join(sorted({f"{one['category']} by {one['by']}" for one in on_page}))
        yield "warn", f"Read on the covered page: {found}."
