"""De-identification as the last stage of a batch: its tables, its key, and that they follow what
happens to the originals."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from support.deidentify import SECRET, counterparts
from support.lake import FAILING, HashModel, Quiet, hashing, pipeline
from support.without_ray import _without_ray  # noqa: F401

from actors.config import ConfigError
from actors.config.deidentify import Category
from actors.deidentify import Deidentifier, Residue
from actors.spans import Document, Extraction, Status, spanning
from pipelines.batch.describe import describe
from pipelines.batch.graph import write_tasks
from pipelines.batch.run import RunFailedError, begin_run, drive_run
from pipelines.config import LoadedPipeline
from pipelines.deidentification import KEY
from pipelines.enrich import Pass, decide, enrich_once
from pipelines.runs import maintenance
from pipelines.runs.identity import pipeline_fingerprint
from pipelines.runs.store import RunStore
from pipelines.source.units import plan_source

pytestmark = pytest.mark.usefixtures("_without_ray")
POLICIES = {"NAME": "surrogate", "DATE": "shift", "MRN": "hash"}
TEXT = "Patient: {name}, MRN 998{n}. Mr. {last} was seen on 2024-03-05. aspirin, metformin"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, SECRET.decode())


class Lake:
    """A source of notes about two patients, and a sink."""

    def __init__(self, folder: Path) -> None:
        self.source, self.sink = folder / "in", RunStore(str(folder / "out"))
        self.source.mkdir()
        self._writes = 0

    def write(self, name: str, ids: Sequence[str], patient: int = 7, extra: str = "") -> None:
        last = ("Doe", "Miller")[patient % 2]
        rows = [
            {
                "id": id_,
                "pid": patient,
                "ward": "W4",
                "text": TEXT.format(name=f"Jonathan {last}", last=last, n=n) + extra,
            }
            for n, id_ in enumerate(ids)
        ]
        path = self.source / f"{name}.jsonl"
        path.write_text("\n".join(map(json.dumps, rows)))
        self._writes += 1
        stamp = 1_700_000_000 + self._writes  # a clock of a second's grain must not hide a change
        os.utime(path, (stamp, stamp))

    def loaded(self, section: dict[str, Any] | None = None, **more: Any) -> LoadedPipeline:
        chosen = {"policies": POLICIES, "patient_column": "pid", **(section or {})}
        return pipeline(
            str(self.source), self.sink.path, columns=("pid", "ward"), deidentify=chosen, **more
        )

    def enrich(self, section: dict[str, Any] | None = None, load: Any = None, **more: Any) -> Pass:
        found = self.loaded(section, **more)
        return enrich_once(found, Quiet(), nullcontext(), load or hashing())


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    made = Lake(tmp_path)
    made.write("a", ["a0", "a1", "a2"])
    made.write("b", ["b0", "b1"], patient=8)
    return made


def _everything_below(folder: Path) -> str:
    """All that the tables below a folder hold, and their logs."""
    logs = [file.read_text() for file in folder.rglob("_delta_log/*.json")]
    tables = [
        str(DeltaTable(str(log.parent)).to_pyarrow_table().to_pylist())
        for log in folder.rglob("_delta_log")
    ]
    names = [str(path.relative_to(folder)) for path in folder.rglob("*")]
    return "\n".join([*logs, *tables, *names])


def test_one_folder_holds_all_that_may_be_shared_and_nothing_that_may_not(lake: Lake) -> None:
    lake.enrich({"extra_columns": {"ward": "keep"}})
    found = counterparts(lake.sink)
    assert {row["status"] for row in found.values()} == {"ok"}
    assert "aspirin, metformin" in found["a0"]["text"]
    shared = _everything_below(Path(lake.sink.path) / "deidentified")
    for secret in ("Jonathan", "Doe", "Miller", "MRN 998", "2024-03-05", ".jsonl", "'a0'"):
        assert secret not in shared, secret
    assert {row["ward"] for row in found.values()} == {"W4"}
    assert "pid" not in found["a0"]


def test_entities_relations_and_sections_stand_at_their_new_places(lake: Lake) -> None:
    lake.enrich()
    row = counterparts(lake.sink)["a1"]
    assert row["text"] != row["original"]["text"]
    now = lake.sink.snapshot()
    old = [r for t in now.tables("entities") for r in t.to_pylist() if r["doc_id"] == "a1"]
    pairs = list(zip(sorted(old, key=lambda r: int(r["ordinal"])), row["entities"], strict=True))
    assert any(a["text"] == b["text"] and a["start"] != b["start"] for a, b in pairs)
    assert [a["label"] for a, _ in pairs] == [b["label"] for _, b in pairs]


def test_a_patient_has_the_same_surrogates_in_every_unit_and_run(lake: Lake) -> None:
    lake.enrich(unit_rows=1)
    lake.write("c", ["c0"])
    lake.enrich(unit_rows=1)
    found = counterparts(lake.sink)

    def head(id_: str) -> tuple[str, str]:
        return found[id_]["text"].partition(",")[0], found[id_]["patient"]

    assert head("a0") == head("a1") == head("c0")
    assert head("b0") == head("b1") != head("a0")


def test_mentions_of_names_that_the_source_knows_are_taken(lake: Lake) -> None:
    lake.write("c", ["c0"], extra=". Kim baxter agrees.")
    lake.enrich()
    assert "Kim baxter" in counterparts(lake.sink)["c0"]["text"], "no rule knows it"
    rows = [json.loads(line) for line in (lake.source / "c.jsonl").read_text().splitlines()]
    (lake.source / "c.jsonl").write_text(json.dumps(rows[0] | {"ward": "Kim Baxter"}))
    lake.enrich({"name_columns": ["ward"]})
    row = counterparts(lake.sink)["c0"]
    assert row["status"] == "ok"
    assert not {"baxter", "Kim"} & set(row["text"].replace(",", " ").split())


def test_the_key_and_the_patients_stand_nowhere_below_the_sink(lake: Lake) -> None:
    loaded = lake.loaded({"extra_columns": {"pid": "hash"}})
    run_id = begin_run(loaded, plan_source(loaded.pipeline.source))
    key = SECRET.decode()
    for file in Path(lake.sink.path).rglob("*"):
        assert not file.is_file() or key.encode() not in file.read_bytes(), file
    assert key not in lake.sink.plan(run_id).pipeline
    drive_run(lake.sink, run_id, Quiet(), hashing())
    assert key not in _everything_below(Path(lake.sink.path))
    pids = {row["pid"] for row in counterparts(lake.sink).values()}
    assert len(pids) == 2
    assert all(len(pid) == 32 for pid in pids)


def test_without_a_key_nothing_begins(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY)
    loaded = lake.loaded()
    for begin in (
        lambda: lake.enrich(),
        lambda: describe(loaded, plan_source(loaded.pipeline.source)),
    ):
        with pytest.raises(ConfigError, match=f"set {KEY} on this machine"):
            begin()
    monkeypatch.setenv(KEY, "short")
    with pytest.raises(ConfigError, match="the key has 5 bytes"):
        lake.enrich()
    assert lake.sink.open_runs() == []


def test_a_run_goes_on_with_its_own_key_only(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = lake.loaded()
    run_id = begin_run(loaded, plan_source(loaded.pipeline.source))
    monkeypatch.setenv(KEY, "another key, just as long as that")
    with pytest.raises(ConfigError, match="is not the key that the run was begun with"):
        drive_run(lake.sink, run_id, Quiet(), hashing())
    monkeypatch.setenv(KEY, SECRET.decode())
    drive_run(lake.sink, run_id, Quiet(), hashing())
    assert len(counterparts(lake.sink)) == 5


def test_a_worker_with_another_key_writes_nothing(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = lake.loaded()
    run_id = begin_run(loaded, plan_source(loaded.pipeline.source))
    monkeypatch.setattr("pipelines.batch.run.releaser_with", lambda *_: None)  # the driver is right
    monkeypatch.setenv(KEY, "another key, just as long as that")
    with pytest.raises(RunFailedError, match="is not the key that the run was begun with"):
        drive_run(lake.sink, run_id, Quiet(), hashing())


def test_another_key_or_policy_makes_what_is_live_stale(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.enrich()
    before = counterparts(lake.sink)
    assert decide(lake.loaded()).plan is None
    assert decide(lake.loaded({"doc_ids": "keep"})).changes["stale"] == 1
    monkeypatch.setenv(KEY, "another key, just as long as that")
    done = lake.enrich()
    assert done.changes["stale"] == 1
    after = counterparts(lake.sink)
    assert all(after[id_]["doc_id"] != before[id_]["doc_id"] for id_ in before)
    assert all(after[id_]["text"] != before[id_]["text"] for id_ in before)


def test_nothing_leaves_of_a_document_that_a_model_did_not_read(lake: Lake) -> None:
    lake.write("c", ["c0"], extra=f" {FAILING}")
    lake.enrich()
    row = counterparts(lake.sink)["c0"]
    assert (row["status"], row["error_type"], row["text"]) == ("failed", "Refused", None)
    assert not row["entities"]


def test_nothing_leaves_of_a_document_that_a_model_read_in_part(lake: Lake) -> None:
    class Partial(HashModel):
        def submit(self, document: Document) -> Any:
            future = super().submit(document)
            whole = future.result()
            future = type(future)()
            future.set_result(
                Extraction(
                    whole.document_id,
                    whole.model,
                    whole.fingerprint,
                    Status.TRUNCATED,
                    whole.entities,
                )
            )
            return future

    lake.enrich(load=lambda config, share: Partial(config, share, 0.0, ""))
    found = counterparts(lake.sink)
    assert {(r["status"], r["error_type"], r["text"]) for r in found.values()} == {
        ("failed", "Truncated", None)
    }


def test_residue_holds_the_text_back_and_is_counted(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leaks(*_: object) -> list[Residue]:
        return [Residue(0, 3, Category.NAME, "test")]

    monkeypatch.setattr(Deidentifier, "_rules_again", leaks)
    done = lake.enrich()
    assert done.outcome is not None
    assert done.outcome.tally.deidentified == {"residue": 5}
    row = counterparts(lake.sink)["a0"]
    assert (row["status"], row["text"]) == ("residue", None)
    assert row["residue"] == [{"category": "NAME", "by": "test"}]
    assert row["pair"]["residue"] == [{"start": 0, "end": 3, "category": "NAME", "by": "test"}]
    assert row["counts"]
    lake.enrich({"residue": "allow"})
    row = counterparts(lake.sink)["a0"]
    assert row["status"] == "residue"
    assert row["text"] is not None


def test_a_document_that_cannot_be_deidentified_fails_alone(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Deidentifier.apply

    def apply(self: Deidentifier, text: str, *rest: Any) -> Any:
        if "MRN 9981" in text:
            raise RecursionError(text)
        return real(self, text, *rest)

    monkeypatch.setattr(Deidentifier, "apply", apply)
    lake.enrich()
    found = counterparts(lake.sink)
    assert {id_ for id_, row in found.items() if row["status"] == "failed"} == {"a1", "b1"}
    assert found["a1"]["error_type"] == "RecursionError"
    assert found["a1"]["original"]["status"] == "ok"


def test_deleted_changed_and_moved_documents_leave_the_deidentified_tables_too(lake: Lake) -> None:
    lake.enrich()
    (lake.source / "b.jsonl").unlink()
    lake.write("a", ["a0", "a2"], extra=" and rest")
    lake.write("c", ["b1"], patient=8)
    lake.enrich()
    assert counterparts(lake.sink).keys() == {"a0", "a2", "b1"}


def test_a_document_that_moved_from_a_kept_file_has_one_counterpart(lake: Lake) -> None:
    """Files that are gone keep their rows, but for a document that is in a new file now."""
    keep = {"enrich": {"deleted": "keep"}}
    lake.enrich(**keep)
    (lake.source / "a.jsonl").unlink()
    lake.write("c", ["a1"], extra=" and rest")
    lake.enrich(**keep)
    found = counterparts(lake.sink)
    assert found.keys() == {"a0", "a1", "a2", "b0", "b1"}
    assert found["a1"]["text"].endswith(" and rest")


def test_a_patient_who_was_corrected_gets_new_surrogates_without_a_model(lake: Lake) -> None:
    lake.enrich()
    before = counterparts(lake.sink)
    lake.write("b", ["b0", "b1"], patient=10)  # the same words: both numbers are even
    done = lake.enrich()
    assert done.outcome is not None
    assert done.outcome.tally.carried["ok"] == done.outcome.tally.total
    after = counterparts(lake.sink)
    assert after["b0"]["patient"] != before["b0"]["patient"]
    assert after["b0"]["text"] != before["b0"]["text"]
    assert after["a0"]["text"] == before["a0"]["text"]


def test_a_lake_that_was_never_deidentified_can_begin_to_be(lake: Lake) -> None:
    plain = pipeline(str(lake.source), lake.sink.path, columns=("pid", "ward"))
    enrich_once(plain, Quiet(), nullcontext(), hashing())
    assert "reidentification" not in lake.sink.snapshot().names
    assert not (Path(lake.sink.path) / "deidentified").exists()
    lake.enrich()
    assert len(counterparts(lake.sink)) == 5
    enrich_once(plain, Quiet(), nullcontext(), hashing())  # and the stage may go again
    now = lake.sink.snapshot()
    assert sum(table.num_rows for table in now.tables("deidentified/documents")) == 0
    assert sum(table.num_rows for table in now.tables("documents")) == 5


def test_joining_and_removing_files_includes_the_deidentified_tables(lake: Lake) -> None:
    lake.enrich()
    lake.write("a", ["a0"])
    lake.enrich()
    before = counterparts(lake.sink)
    done = maintenance.compact_sink(lake.sink)
    assert done.after["deidentified/documents"] == 1
    assert counterparts(lake.sink) == before
    later = timedelta(0)
    waste = maintenance.vacuum_sink(lake.sink, later, remove=True)
    tables = {file.rpartition("/r")[0] for file in waste.files}
    assert {"documents", "deidentified/documents", "reidentification"} <= tables
    assert counterparts(lake.sink) == before


def test_ids_are_kept_by_policy_but_never_a_files_path(lake: Lake) -> None:
    lake.enrich({"doc_ids": "keep"})
    found = counterparts(lake.sink)
    assert all(row["doc_id"] == id_ for id_, row in found.items())
    (lake.source / "d.jsonl").write_text(json.dumps({"text": "aspirin", "pid": 1, "ward": "W"}))
    lake.enrich({"doc_ids": "keep"})
    (derived,) = counterparts(lake.sink).keys() - found.keys()
    assert derived.endswith("d.jsonl#0")
    assert "jsonl" not in counterparts(lake.sink)[derived]["doc_id"]


def test_plain_files_have_the_deidentified_tables_too(lake: Lake) -> None:
    loaded = lake.loaded({"extra_columns": {"ward": "hash"}})
    sink = loaded.pipeline.sink.model_copy(update={"format": "parquet"})
    pipe = loaded.pipeline.model_copy(update={"sink": sink})
    loaded = replace(loaded, pipeline=pipe)
    run_id = begin_run(loaded, plan_source(loaded.pipeline.source))
    drive_run(lake.sink, run_id, Quiet(), hashing())
    rows = pl.read_parquet(f"{lake.sink.path}/deidentified/documents/*/*.parquet")
    assert len(rows) == 5
    assert rows["ward"].str.len_chars().unique().to_list() == [32]
    assert not rows["text"].str.contains("Jonathan").any()


def test_every_cpu_of_a_cluster_deidentifies(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: True)
    monkeypatch.setattr("ray.cluster_resources", lambda: {"CPU": 64.0})
    assert write_tasks(lake.loaded()) == 64
    assert write_tasks(pipeline(str(lake.source), lake.sink.path)) == 4


def test_columns_that_are_not_read_or_are_no_ids_are_refused(lake: Lake) -> None:
    with pytest.raises(ValueError, match=r"deidentify\.patient_column: mrn is not in"):
        lake.loaded({"patient_column": "mrn"})
    with pytest.raises(ValueError, match=r"deidentify\.extra_columns: age is not in"):
        lake.loaded({"extra_columns": {"age": "keep"}})
    for file in lake.source.iterdir():
        file.unlink()
    table = pa.table({"id": ["a"], "text": [""], "pid": [[1]], "ward": ["W4"]})
    pq.write_table(table, lake.source / "a.parquet")
    with pytest.raises(ConfigError, match=r"pid is list.*, which cannot be an id"):
        lake.enrich()


class SecondReader(HashModel):
    """Reads as HashModel. In a de-identified text it also finds what is in ``said``, by label;
    ``answer`` is the status of these texts."""

    said: Mapping[str, str] = {}
    answer = Status.OK

    def submit(self, document: Document) -> Future[Extraction]:
        found = super().submit(document).result()
        text = document.text or ""
        if "[MRN:" in text:
            more = [
                spanning(text, text.index(word), text.index(word) + len(word), label, model="m")
                for word, label in self.said.items()
            ]
            found = replace(found, entities=(*found.entities, *more), status=self.answer)
        future: Future[Extraction] = Future()
        future.set_result(found)
        return future


def _reader(said: Mapping[str, str], answer: Status = Status.OK) -> Any:
    kind = type("Reader", (SecondReader,), {"said": said, "answer": answer})
    return partial(kind, seconds=0.0, forgive="")


def test_entities_in_the_deidentified_text_are_residue(lake: Lake) -> None:
    done = lake.enrich(load=_reader({"metformin": "PATIENT"}))
    found = counterparts(lake.sink)
    assert {(row["status"], row["text"]) for row in found.values()} == {("residue", None)}
    residue = found["a0"]["pair"]["residue"]
    original = found["a0"]["original"]["text"]
    assert [(original[r["start"] : r["end"]], r["category"]) for r in residue] == [
        ("metformin", "NAME")
    ]
    assert done.outcome is not None
    assert done.outcome.tally.deidentified["residue"] == 5


def test_surrogates_masks_and_other_labels_are_no_residue(lake: Lake) -> None:
    lake.enrich(load=_reader({"[MRN:": "MEDICALRECORD", "aspirin": "DRUG", "Mr": "DOCTOR"}))
    assert {row["status"] for row in counterparts(lake.sink).values()} == {"ok"}


def test_carried_documents_are_looked_at_again(lake: Lake) -> None:
    lake.enrich({"second_look": "rules"}, load=_reader({"aspirin": "PATIENT"}))
    assert {row["status"] for row in counterparts(lake.sink).values()} == {"ok"}
    lake.write("c", ["c0"])
    done = lake.enrich(load=_reader({"aspirin": "PATIENT"}), enrich={"on_model_change": "keep"})
    assert done.outcome is not None
    assert done.outcome.tally.total == 1, "what was kept stays as it was released"
    lake.write("b", ["b0", "b1"], patient=10)
    done = lake.enrich(load=_reader({"aspirin": "PATIENT"}))
    found = counterparts(lake.sink)
    assert {found[id_]["status"] for id_ in ("b0", "b1", "c0")} == {"residue"}


def test_nothing_leaves_of_a_text_that_a_model_could_not_read_again(lake: Lake) -> None:
    lake.enrich(load=_reader({}, Status.TRUNCATED))
    rows = list(counterparts(lake.sink).values())
    assert {(r["status"], r["error_type"], r["text"]) for r in rows} == {
        ("failed", "Truncated", None)
    }


def test_the_second_look_is_a_stage_of_each_model(lake: Lake) -> None:
    with_models, rules = lake.loaded(), lake.loaded({"second_look": "rules"})
    assert [stage.second_look for stage in with_models.stages] == [False, False, True]
    assert [stage.second_look for stage in rules.stages] == [False, False]
    assert len(with_models.models) == 1
    assert pipeline_fingerprint(with_models) != pipeline_fingerprint(rules)
    again = LoadedPipeline.from_json(with_models.as_json())
    assert again.stages == with_models.stages
