"""A model that only hashes, and small lakes for it: what survives does not depend on the model."""

from __future__ import annotations

import json
import os
import re
import sys
import time
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pyarrow as pa
import ray

from actors.config import ModelConfig, load_model
from actors.config.ocr import load_ocr
from actors.extractor import Share
from actors.spans import Assertion, Document, Extraction, Failure, Status, Usage, spanning
from pipelines.batch.stage_actor import Load
from pipelines.config import LoadedPipeline, Pipeline, Sink, Source, Step
from pipelines.pool import Pool
from pipelines.runs.plan import RunPlan
from pipelines.runs.profile import Profile, profile
from pipelines.runs.store import RunStore
from pipelines.runs.tally import Tally
from pipelines.source.units import Slice
from pipelines.stages import UNPOOLED, Stage, second_looks
from pipelines.tables.commit import Change, commit
from pipelines.tables.ledger import LiveUnit
from pipelines.tables.rows import entity_row
from pipelines.tables.schema import DOCUMENTS, ENTITIES, RELATIONS
from pipelines.tables.snapshot import Snapshot
from pipelines.tables.unit_files import write_unit_tables

POISON = "the-text-that-ends-its-process"
FAILING = "the-text-that-fails"
_WORD = re.compile(r"\w+")
# Workers of Ray do not have this folder on their path.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


class HashModel:
    """Entities follow from the words' hashes. POISON ends the process; FAILING fails until the
    file ``forgive`` exists."""

    fingerprint = "hash"

    def __init__(self, config: ModelConfig, share: Share, seconds: float, forgive: str) -> None:
        self._name = config.name
        self._seconds = seconds
        self._forgive = forgive

    def submit(self, document: Document) -> Future[Extraction]:
        """Answer at once, after ``seconds``."""
        text = document.text or ""
        if POISON in text:
            os._exit(1)
        if self._seconds:  # even a sleep of nothing takes 0.1 ms
            time.sleep(self._seconds)
        future: Future[Extraction] = Future()
        failing = FAILING in text and not (self._forgive and Path(self._forgive).exists())
        entities = tuple(
            spanning(text, match.start(), match.end(), f"L{found % 5}", model=self._name)
            for match in _WORD.finditer(text)
            if (found := zlib.crc32(match.group().encode())) % 3 == 0
        )
        future.set_result(
            Extraction(
                document_id=document.id,
                model=self._name,
                fingerprint=self.fingerprint,
                status=Status.FAILED if failing else Status.OK,
                failure=Failure("Refused", "was told to") if failing else None,
                entities=() if failing else entities,
                usage=Usage(prompt_tokens=len(text) // 4, seconds=self._seconds),
            )
        )
        return future


def hashing(seconds: float = 0.0, forgive: str = "") -> Load:
    """A loader of HashModel, for ``drive_run``."""
    return partial(HashModel, seconds=seconds, forgive=forgive)


class SlowModel:
    """Answers each document of a unit by its turn, ``seconds`` after the one before, and does not
    keep its caller waiting for that."""

    fingerprint = "slow"

    def __init__(self, config: ModelConfig, share: Share, seconds: float) -> None:
        self._name = config.name
        self._seconds = seconds
        self._thread = ThreadPoolExecutor(1)

    def submit(self, document: Document) -> Future[Extraction]:
        """Queue a document."""
        return self._thread.submit(self._read, document)

    def _read(self, document: Document) -> Extraction:
        time.sleep(self._seconds)
        return Extraction(document_id=document.id, model=self._name, fingerprint=self.fingerprint)


def slow(seconds: float) -> Load:
    """A loader of SlowModel."""
    return partial(SlowModel, seconds=seconds)


def never(config: ModelConfig, share: Share) -> HashModel:
    """A model that takes an hour to load."""
    time.sleep(3600)
    raise AssertionError


def pipeline(
    source: str,
    sink: str,
    unit_rows: int = 8,
    ids: bool = True,
    actors: int = 1,
    columns: tuple[str, ...] = (),
    **more: object,
) -> LoadedPipeline:
    """Return a pipeline of one step, configured as the starter model; its weights are not loaded.
    ``columns``: extra columns of the source. ``more``: further sections."""
    model = load_model("starter:token-classifier")
    pool = Pool(min_actors=actors, max_actors=actors, num_cpus=0.5)
    made = Pipeline.model_validate(
        {
            "name": "test",
            "source": Source(
                path=source,
                id="id" if ids else None,
                unit_rows=unit_rows,
                extra_columns=columns,
            ),
            "steps": (Step(model="starter:token-classifier", pool=pool),),
            "sink": Sink(path=sink),
            **more,
        }
    )
    sections = ((kind, getattr(made, kind)) for kind in UNPOOLED)
    unpooled = (Stage(kind, section, None) for kind, section in sections if section is not None)
    reader: tuple[Stage, ...] = ()
    if made.ocr is not None:
        ocr = load_ocr(made.ocr.model)
        reader = (Stage(ocr.name, ocr, made.ocr.pool),)
    stages = (*reader, Stage(model.name, model, pool), *unpooled)
    return LoadedPipeline("test", made, (*stages, *second_looks(stages)))


def with_pool(loaded: LoadedPipeline, **changes: object) -> LoadedPipeline:
    """The pipeline with other settings for every pool."""
    return replace(
        loaded,
        stages=tuple(
            replace(stage, pool=stage.actors.model_copy(update=changes)) for stage in loaded.stages
        ),
    )


def write_rows(path: Path, ids: Sequence[str], extra: str = "") -> None:
    """A JSONL file of one document an id."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = ({"id": i, "text": f"note {i}: aspirin, metformin {extra}and rest"} for i in ids)
    path.write_text("\n".join(json.dumps(row) for row in rows))


Row = tuple[str, str, tuple[tuple[str, int, int], ...]]


def rows_of(sink: RunStore | str, run_id: str | None = None) -> dict[str, Row]:
    """Return the live documents: status, error type and entities by id. A duplicate id is an error,
    and so is an entity without a document."""
    now = (RunStore(sink) if isinstance(sink, str) else sink).snapshot(run_id)
    found: dict[str, list[tuple[str, int, int]]] = {}
    for table in now.tables("entities", ["doc_id", "label", "start", "end"]):
        for row in table.to_pylist():
            found.setdefault(row["doc_id"], []).append((row["label"], row["start"], row["end"]))
    rows: dict[str, Row] = {}
    for table in now.tables("documents", ["doc_id", "status", "error_type", "entity_count"]):
        for row in table.to_pylist():
            entities = tuple(found.pop(row["doc_id"], ()))
            assert row["doc_id"] not in rows
            assert len(entities) == row["entity_count"]
            rows[row["doc_id"]] = (row["status"], row["error_type"], entities)
    assert not found
    return rows


def store_rows(
    store: RunStore,
    run_id: str,
    units: Mapping[str, Sequence[str]],
    *replaces: tuple[str, str],
    given: Mapping[str, Sequence[Mapping[str, object]]] | None = None,
    facts: Mapping[str, object] | None = None,
) -> None:
    """Commit a run of units with documents of these ids and an entity each; no model, no source.

    ``given``: rows of entities and relations in place of these; of documents what each of them has
    further, or one row for all. ``facts``: what the run says of itself further.
    """
    rows = given or {}
    given_documents = list(rows.get("documents", ()))
    done = {}
    found = Profile()
    for unit, ids in units.items():
        documents = [
            {"doc_id": i, "source": f"file:///{unit}", "source_row": n, "status": "ok"}
            | {"error_type": "", "text": f"note {i}", "entity_count": 1, "content_hash": i}
            | dict(given_documents[n % len(given_documents)] if given_documents else {})
            for n, i in enumerate(ids)
        ]
        entities = [
            {"doc_id": i, "ordinal": 0, "label": "L", "text": "note", "start": 0, "end": 4}
            | {"grounding": "exact", "model": "m", "source": f"file:///{unit}"}
            for i in ids
        ]
        tables = {
            "documents": pa.Table.from_pylist(documents, schema=DOCUMENTS),
            "entities": pa.Table.from_pylist(list(rows.get("entities", entities)), schema=ENTITIES),
            "relations": pa.Table.from_pylist(list(rows.get("relations", ())), schema=RELATIONS),
        }
        done[unit] = write_unit_tables(store.folder, run_id, unit, tables)
        found.update(profile(tables["documents"], tables["entities"]))

    def change(snapshot: Snapshot) -> Change:
        made = [
            LiveUnit(
                run_id,
                unit,
                "identity",
                len(ids),
                0,
                (Slice(f"file:///{unit}", "v", "jsonl", 0, len(ids)),),
                snapshot.ledger.number + 1,
                len(ids),
            )
            for unit, ids in units.items()
        ]
        live = [one for one in snapshot.units if one.key not in replaces] + made
        total = sum(len(ids) for ids in units.values())
        counts = {"documents": {"ok": total}, "entities": {"L": total}, "failures": {}}
        return Change(
            files=tuple(file for one in done.values() for file in one.files),
            units=tuple(made),
            replaced=frozenset(replaces),
            moved={},
            identity="identity",
            empty=(),
            facts={
                "counts": counts,
                "profile": found.as_dict(),
                "current": {"documents": sum(one.documents for one in live)},
                "committed_at": datetime.now(UTC).isoformat(),
                **(facts or {}),
            },
        )

    commit(store.tables, run_id, change)


def store_gold(path: str, gold: Path) -> None:
    """Commit a run that found the gold of a JSONL file: documents with these texts and entities,
    each with a score and the status "present"."""
    rows = [json.loads(line) for line in gold.read_text(encoding="utf-8").splitlines()]
    store = RunStore(path)
    store.begin("r1", RunPlan("{}", (), pa.schema([])))
    documents, entities = [], []
    for row in rows:
        of = {"doc_id": row["id"], "source": "file:///gold"}
        facts = {"finished_at": datetime.now(UTC), "steps": []}
        documents.append(facts | {"text": row["text"], "entity_count": len(row["entities"])})
        for number, one in enumerate(row["entities"]):
            entity = spanning(
                *(row["text"], one["start"], one["end"], one["label"]),
                score=round(0.5 + number / (2 * len(row["entities"])), 3),
                model="m",
                assertion=Assertion(),
            )
            entities.append(of | {"ordinal": number} | entity_row(entity))
    ids = [row["id"] for row in rows]
    store_rows(store, "r1", {"u": ids}, given={"documents": documents, "entities": entities})


class Quiet:
    """Progress that nobody looks at."""

    def working(self, documents: float, steps: int) -> None:
        """Nothing."""

    def update(self, tally: Tally, documents: int) -> None:
        """Nothing."""
