"""The query in docs/how-to/query-the-tables.md for a document's concepts, run over a real table."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pyarrow as pa
from deltalake import DeltaTable
from support import ROOT
from support.lake import store_rows

from actors.spans import Assertion, Code, Entity, Experiencer
from pipelines.runs.plan import RunPlan
from pipelines.runs.store import RunStore
from pipelines.tables.rows import entity_row

DOCS = ROOT / "docs/how-to/query-the-tables.md"
ASTHMA = Code("doid", "DOID:2841", "asthma", 1.0, "exact")
DRUG = Code("drugbank", "DB00331", "Metformin", 0.9, "folded")


def _entity(start: int, *codes: Code, assertion: Assertion | None = None) -> Entity:
    return Entity("L", "note", start, start + 4, codes=codes, assertion=assertion)


def test_concepts_are_grouped_by_document_and_status(tmp_path: Path) -> None:
    by_document = {
        "a": [
            _entity(0, ASTHMA, assertion=Assertion()),
            _entity(5, ASTHMA),
            _entity(10, ASTHMA, DRUG, assertion=Assertion(negated=True)),
            _entity(15),
        ],
        "b": [_entity(0, ASTHMA, assertion=Assertion(experiencer=Experiencer.FAMILY))],
    }
    rows = [
        {"doc_id": id_, "ordinal": i, "source": "file:///u"} | entity_row(entity)
        for id_, entities in by_document.items()
        for i, entity in enumerate(entities)
    ]
    store = RunStore(str(tmp_path / "out"))
    store.begin("r1", RunPlan("{}", (), pa.schema([])))
    store_rows(store, "r1", {"u": list(by_document)}, given={"entities": rows})
    query = re.search(r"<!-- concepts -->\n```sql\n(.*?)```", DOCS.read_text(), re.S)
    assert query is not None
    with duckdb.connect() as connection:
        dataset = DeltaTable(f"{store.path}/entities").to_pyarrow_dataset()
        connection.register("entities", dataset)
        found = connection.sql(query[1]).fetchall()
    plain, no = (False,) * 5, (True, *(False,) * 4)
    assert found == [
        ("a", "doid", "DOID:2841", "asthma", *plain, "patient", 2),
        ("a", "doid", "DOID:2841", "asthma", *no, "patient", 1),
        ("a", "drugbank", "DB00331", "Metformin", *no, "patient", 1),
        ("b", "doid", "DOID:2841", "asthma", *plain, "family", 1),
    ]
