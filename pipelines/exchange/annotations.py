"""Annotated documents of any format as JSONL: examples of a guideline, texts for training."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from pipelines.evaluate import GoldDocument
from pipelines.evaluate.statements import ATTRIBUTES


def few(documents: Iterable[GoldDocument], n: int) -> list[GoldDocument]:
    """``n`` documents that show every label in little text, as a prompt wants its examples.

    Each next one has the most labels that none before it has; of equals the shortest is taken.
    Once every label is shown, or nothing new is, labels count anew.
    """
    left = sorted(documents, key=lambda one: (len(one.text), one.id))
    chosen: list[GoldDocument] = []
    shown: set[str] = set()
    while left and len(chosen) < n:
        best = max(left, key=lambda one: len(labels(one) - shown))
        if not labels(best) - shown and shown:
            shown.clear()
            continue
        chosen.append(best)
        left.remove(best)
        shown |= labels(best)
    return chosen


def labels(document: GoldDocument) -> set[str]:
    """The labels of a document's entities."""
    return {one.label for one in document.entities}


def as_line(document: GoldDocument) -> bytes:
    """A document as a line of JSONL, as ``load_gold`` reads it; offsets are code points."""
    text = document.text
    row: dict[str, Any] = {
        "id": document.id,
        "text": text,
        "entities": [
            {"start": e.start, "end": e.end, "label": e.label, "text": text[e.start : e.end]}
            for e in document.entities
        ],
    }
    status, relations = document.statements.status, document.statements.relations
    if status is not None:
        row["status"] = [
            {
                "start": one.start,
                "end": one.end,
                "label": one.label,
                "attributes": [name for name in ATTRIBUTES if name in one.attributes],
                "experiencer": _experiencer(one.attributes),
            }
            for one in status
        ]
    if relations is not None:
        row["relations"] = [
            {"type": one.type, "head": list(one.head), "tail": list(one.tail)} for one in relations
        ]
    return json.dumps(row, ensure_ascii=False).encode() + b"\n"


def _experiencer(attributes: Iterable[str]) -> str:
    others: Sequence[str] = sorted(set(attributes) - set(ATTRIBUTES))
    return others[0] if others else "patient"
