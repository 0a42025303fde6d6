"""Configurations of de-identification that several tests share, and its tables read back."""

from __future__ import annotations

from typing import Any

from actors.config.deidentify import (
    MARKS,
    Category,
    Deidentify,
    DeidentifyLanguage,
    ReplacementPolicy,
)
from pipelines.runs.store import RunStore
from pipelines.tables.snapshot import TableName

SECRET = b"a secret of tests, not of anybody"


def everything(*languages: DeidentifyLanguage) -> Deidentify:
    """Every category is masked."""
    return Deidentify(preset="strict", languages=languages or ("en",), countries=("US", "ES", "DE"))


def surrogates(*languages: DeidentifyLanguage, **more: object) -> Deidentify:
    """Surrogates where they are possible, dates shifted."""
    policies = dict.fromkeys(
        set(Category) - MARKS - {Category.DEMOGRAPHIC}, ReplacementPolicy.SURROGATE
    ) | {
        Category.DATE: ReplacementPolicy.SHIFT,
        Category.AGE: ReplacementPolicy.GENERALISE,
    }
    return Deidentify.model_validate(
        {"policies": policies, "languages": languages or ("en",), **more}
    )


def counterparts(store: RunStore, run_id: str | None = None) -> dict[str, dict[str, Any]]:
    """The live rows of ``deidentified/documents`` by the original's id, each with its ``entities``
    and ``relations``, and the ``pair`` and ``original`` rows.

    Asserts that the tables belong together: one counterpart a live document, no row of another, and
    offsets that hold in the new text and, by the edits, in the old one.
    """
    now = store.snapshot(run_id)

    def rows(name: TableName) -> list[dict[str, Any]]:
        return [row for table in now.tables(name) for row in table.to_pylist()]

    originals = {row["doc_id"]: row for row in rows("documents")}
    released = {row["doc_id"]: row for row in rows("deidentified/documents")}
    pairs = {row["doc_id"]: row for row in rows("reidentification")}
    assert originals.keys() == pairs.keys()
    ids = [pair["deidentified_id"] for pair in pairs.values()]
    assert released.keys() == set(ids)
    assert len(released) == len(rows("deidentified/documents")) == len(ids)
    entities: dict[str, list[dict[str, Any]]] = {id_: [] for id_ in released}
    for row in rows("deidentified/entities"):
        entities[row["doc_id"]].append(row)
    relations: dict[str, list[dict[str, Any]]] = {id_: [] for id_ in released}
    for row in rows("deidentified/relations"):
        relations[row["doc_id"]].append(row)
    found = {}
    for id_, pair in pairs.items():
        new, old = released[pair["deidentified_id"]], originals[id_]
        assert (new["run_id"], new["unit"]) == (old["run_id"], old["unit"])
        of_it = sorted(entities[new["doc_id"]], key=lambda row: int(row["ordinal"]))
        assert len(of_it) == new["entity_count"]
        _check_text(new, old, of_it, pair["edits"])
        more = {"entities": of_it, "relations": relations[new["doc_id"]]}
        found[id_] = new | more | {"pair": pair, "original": old}
    return found


def _check_text(
    new: dict[str, Any],
    old: dict[str, Any],
    entities: list[dict[str, Any]],
    edits: list[dict[str, Any]],
) -> None:
    if new["text"] is None:
        assert not [*entities, *new["replaced"], *new["sections"]]
        return
    parts, at = [], 0
    for edit, place in zip(edits, new["replaced"], strict=True):
        assert (place["start"], place["end"]) == (edit["new_start"], edit["new_end"])
        parts += [old["text"][at : edit["start"]], new["text"][edit["new_start"] : edit["new_end"]]]
        at = edit["end"]
    assert "".join([*parts, old["text"][at:]]) == new["text"]
    for entity in entities:
        if entity["start"] is not None:
            assert new["text"][entity["start"] : entity["end"]] == entity["text"]
