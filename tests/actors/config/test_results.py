"""A committed run read back: entities, sections and relations of every document."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.lake import store_rows

from actors.spans import Relation, Section, spanning
from pipelines.cli.evaluate import _stored
from pipelines.runs.plan import RunPlan
from pipelines.runs.results import read_results
from pipelines.runs.store import RunStore
from pipelines.tables.rows import entity_row, relation_row, section_row

TEXT = "note a"
ENTITIES = (spanning(TEXT, 0, 4, "Drug"), spanning(TEXT, 5, 6, "Strength"))
RELATION = Relation(0, 1, "strength", 0.5, "line", {"value": "5"})
SECTION = Section("plan", 0, 6, 4, "18776-5")


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    of = {"doc_id": "a", "source": "file:///u"}
    # Rows in another order than the entities': a Parquet file promises none.
    entities: list[dict[str, Any]] = [of | {"ordinal": i} | entity_row(ENTITIES[i]) for i in (1, 0)]
    given = {
        "documents": [{"sections": [section_row(SECTION)]}],
        "entities": entities,
        "relations": [of | relation_row(RELATION)],
    }
    store = RunStore(str(tmp_path / "out"))
    store.begin("r1", RunPlan("{}", (), pa.schema([])))
    store_rows(store, "r1", {"u": ["a", "b"]}, given=given)
    return store


def test_a_document_combines_all_tables(store: RunStore) -> None:
    a, b = read_results(store.snapshot("r1"), "r1")
    assert (a.entities, a.relations, a.sections) == (ENTITIES, (RELATION,), (SECTION,))
    assert (b.doc_id, b.entities, b.relations) == ("b", (), ())


def test_a_stored_run_is_scored_with_its_relations(store: RunStore) -> None:
    a, b = _stored(store.path, "live")
    assert (a.entities, a.relations) == (ENTITIES, (RELATION,))
    assert b.relations == ()
