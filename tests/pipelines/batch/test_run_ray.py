"""Runs over real Ray: every document comes out once, whatever happens on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest
import ray
from deltalake import DeltaTable
from deltalake.schema import PrimitiveType
from support import ROOT, TWO_CORES

from actors.config import ConfigError, load_model
from actors.config.merge import Merge
from pipelines.batch.run import RunFailedError, begin_run, drive_run
from pipelines.config import LoadedPipeline, Pipeline, Sink, Source, Step, load_pipeline
from pipelines.pool import Pool
from pipelines.ray_cluster import cluster
from pipelines.runs.results import Result, read_results
from pipelines.runs.store import RunStore
from pipelines.runs.tally import Tally
from pipelines.source.units import plan_source
from pipelines.stages import Stage
from pipelines.tables.unit_files import done_units

pytestmark = [pytest.mark.ray, pytest.mark.weights, pytest.mark.timeout(600)]
SENTENCE = (
    "Bệnh nhân: insulin glargine 10 units once daily for 12 weeks (n = {i}), type 2 diabetes."
)


@pytest.fixture(scope="module", autouse=True)
def _ray() -> Iterator[None]:
    with cluster(num_gpus=1):
        yield


class Quiet:
    """Progress that only remembers."""

    def working(self, documents: float, steps: int) -> None:
        pass

    def update(self, tally: Tally, documents: int) -> None:
        self.tally, self.documents = tally, documents


class Interrupt:
    """Progress that interrupts once a unit is done, as Ctrl-C does."""

    def working(self, documents: float, steps: int) -> None:
        pass

    def update(self, tally: Tally, documents: int) -> None:
        if tally.total:
            raise KeyboardInterrupt


def _lake(folder: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "notes.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def _rows(count: int) -> list[dict[str, object]]:
    return [{"id": f"d{i}", "text": SENTENCE.format(i=i), "ward": "w"} for i in range(count)]


def _pipeline(
    source: Path, sink: Path, pool: Pool | None = None, failure_rate: float = 1.0, steps: int = 1
) -> LoadedPipeline:
    """The starter model once, or twice under two names."""
    starter = load_model("starter:token-classifier")
    models = tuple(
        starter.model_copy(update={"name": f"{starter.name}{i or ''}"}) for i in range(steps)
    )
    pool = pool or Pool(num_cpus=0.5)
    pipeline = Pipeline(
        name="test",
        source=Source(path=(str(source),), id="id", extra_columns=("ward",), unit_rows=4),
        steps=tuple(Step(model="starter:token-classifier", pool=pool) for _ in models),
        merge=Merge(overlaps="longest"),
        sink=Sink(path=str(sink)),
        max_failure_rate=failure_rate,
    )
    stages = tuple(Stage(model.name, model, pool) for model in models)
    return LoadedPipeline("test.yaml", pipeline, stages)


def _run(loaded: LoadedPipeline) -> tuple[RunStore, str]:
    run_id = begin_run(loaded, plan_source(loaded.pipeline.source))
    sink = RunStore(loaded.pipeline.sink.path)
    drive_run(sink, run_id, Quiet())
    return sink, run_id


def _facts(sink: RunStore, run_id: str) -> list[Result]:
    """All that a run says, but for times, in the order of ids."""
    return sorted(read_results(sink.snapshot(run_id), run_id), key=lambda result: result.doc_id)


def test_every_row_comes_out_and_bad_ones_have_a_status(tmp_path: Path) -> None:
    bad: list[dict[str, object]] = [
        {"id": "null", "text": None},
        {"id": "number", "text": 5},
        {"id": "empty", "text": ""},
        {"id": "surrogate", "text": "x \ud800"},
    ]
    source = _lake(tmp_path / "lake", [*_rows(6), *bad])
    sink, run_id = _run(_pipeline(source, tmp_path / "out"))
    facts = {fact.doc_id: fact for fact in _facts(sink, run_id)}
    assert set(facts) == {f"d{i}" for i in range(6)} | {str(row["id"]) for row in bad}
    assert {
        str(row["id"]): (facts[str(row["id"])].status, facts[str(row["id"])].error_type)
        for row in bad
    } == {
        "null": ("failed", "MissingText"),
        "number": ("failed", "WrongType"),
        "empty": ("ok", ""),
        "surrogate": ("failed", "InvalidUTF8"),
    }
    for fact in (facts[f"d{i}"] for i in range(6)):
        assert {"Drug", "DoseValue"} <= {entity.label for entity in fact.entities}
        assert all((fact.text or "")[e.start : e.end] == e.text for e in fact.entities)
    counts = sink.marker(run_id)["counts"]
    assert counts["documents"] == {"ok": 7, "failed": 3}
    assert counts["failures"] == {"MissingText": 1, "WrongType": 1, "InvalidUTF8": 1}


def test_notes_of_the_same_text_are_answered_once(tmp_path: Path) -> None:
    rows = _rows(3)
    copied = [row | {"id": f"{row['id']}-{again}"} for again in range(4) for row in rows]
    loaded = _pipeline(_lake(tmp_path / "lake", copied), tmp_path / "out")
    sink, run_id = _run(loaded)
    facts = _facts(sink, run_id)
    assert [fact.doc_id for fact in facts] == sorted(str(row["id"]) for row in copied)
    assert len({(fact.text, str(fact.entities)) for fact in facts}) == 3
    steps = pl.scan_delta(sink.folder.uri("documents")).collect()["steps"].to_list()
    assert sorted(step["copied"] for (step,) in steps) == [False] * 3 + [True] * 9
    assert all((step["prompt_tokens"] == 0) == step["copied"] for (step,) in steps)
    assert list(sink.marker(run_id)["counts"]["copied"].values()) == [9]


def test_an_interrupted_run_is_invisible_and_resumes_to_the_same(tmp_path: Path) -> None:
    source = _lake(tmp_path / "lake", _rows(24))
    whole, whole_id = _run(_pipeline(source, tmp_path / "whole"))
    loaded = _pipeline(source, tmp_path / "broken")
    run_id = begin_run(loaded, plan_source(loaded.pipeline.source))
    sink = RunStore(loaded.pipeline.sink.path)
    with pytest.raises(KeyboardInterrupt):
        drive_run(sink, run_id, Interrupt())
    assert sink.committed() == []
    assert done_units(sink.folder, run_id)
    quiet = Quiet()
    drive_run(sink, run_id, quiet)
    assert (quiet.tally.total, quiet.documents) == (24, 24)
    assert _facts(sink, run_id) == _facts(whole, whole_id)
    assert sink.marker(run_id)["counts"]["entities"] == whole.marker(whole_id)["counts"]["entities"]


@TWO_CORES
def test_two_steps_agree_and_their_entities_are_merged(tmp_path: Path) -> None:
    source = _lake(tmp_path / "lake", _rows(5))
    sink, run_id = _run(_pipeline(source, tmp_path / "out", steps=2, pool=Pool(num_cpus=0.5)))
    one, one_id = _run(_pipeline(source, tmp_path / "one"))
    both, single = _facts(sink, run_id), _facts(one, one_id)
    for merged, alone in zip(both, single, strict=True):
        assert [(e.start, e.end, e.label) for e in merged.entities] == [
            (e.start, e.end, e.label) for e in alone.entities
        ]
        assert all(e.attributes["agreement"].count(",") == 1 for e in merged.entities)


def test_a_run_that_goes_wrong_is_ended(tmp_path: Path) -> None:
    rows = [{"id": f"d{i}", "text": None if i % 2 else "x"} for i in range(40)]
    loaded = _pipeline(_lake(tmp_path / "lake", rows), tmp_path / "out", failure_rate=0.2)
    with pytest.raises(RunFailedError, match=r"max_failure_rate = 0\.2: MissingText"):
        _run(loaded)
    assert RunStore(str(tmp_path / "out")).committed() == []


def test_ids_twice_over_a_run_fail_their_later_rows(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [*_rows(9), {"id": "d0", "text": "again"}]
    sink, run_id = _run(_pipeline(_lake(tmp_path / "lake", rows), tmp_path / "out"))
    facts = {fact.doc_id: fact for fact in _facts(sink, run_id)}
    assert len(facts) == 10
    assert facts["d0"].status == "ok"
    assert sorted(fact.status for fact in facts.values()) == ["failed", *["ok"] * 9]


def test_the_tables_open_in_what_people_use(tmp_path: Path) -> None:
    loaded = _pipeline(_lake(tmp_path / "lake", _rows(9)), tmp_path / "out")
    _run(loaded)
    sink, run_id = _run(loaded)  # the rows of the first run are no longer there
    documents, entities = f"{sink.path}/documents", f"{sink.path}/entities"
    polars = pl.scan_delta(documents).collect()
    assert (polars.height, set(polars["run_id"])) == (9, {run_id})
    found = DeltaTable(entities).to_pyarrow_table()
    assert found.num_rows == polars["entity_count"].sum()
    assert found["doc_id"].to_pylist()
    table = DeltaTable(documents)
    assert isinstance(table.to_pandas(), pd.DataFrame)
    assert len(table.to_pandas()) == 9
    with duckdb.connect() as connection:
        connection.register("opened", table.to_pyarrow_dataset())
        (counted,) = connection.sql(
            "SELECT count(*), sum(entity_count) FROM opened WHERE status = 'ok'"
        ).fetchall()
    assert counted == (9, found.num_rows)
    fields = {field.name: field for field in table.schema().fields}
    assert all("comment" in field.metadata for name, field in fields.items() if name != "ward")
    assert fields["ward"].type == PrimitiveType("string")
    (file, *_) = table.file_uris()
    assert pq.ParquetFile(file).metadata.row_group(0).column(0).compression == "ZSTD"
    units = pl.scan_delta(f"{sink.path}/units").filter(pl.col("unit").is_not_null()).collect()
    assert units["documents"].sum() == 9


def test_a_pool_that_never_fits_is_refused_at_once(tmp_path: Path) -> None:
    source = _lake(tmp_path / "lake", _rows(2))
    with pytest.raises(ConfigError, match="need 2 GPUs and the cluster has 1"):
        _run(_pipeline(source, tmp_path / "a", Pool(num_cpus=0.5, num_gpus=2.0)))
    with pytest.raises(ConfigError, match="need 512 CPUs"):
        _run(_pipeline(source, tmp_path / "b", Pool(num_cpus=512)))


def test_a_fraction_of_a_gpu_reaches_ray(tmp_path: Path) -> None:
    """The GPU here is logical: Ray gives the fraction away, and the model falls back to the CPU."""
    source = _lake(tmp_path / "lake", _rows(40))
    free: list[float] = []

    class Watch(Quiet):
        def working(self, documents: float, steps: int) -> None:
            pass

        def update(self, tally: Tally, documents: int) -> None:
            free.append(ray.available_resources().get("GPU", 0.0))

    pool = Pool(num_cpus=0.5, num_gpus=0.25, cpu_fallback=True)
    loaded = _pipeline(source, tmp_path / "out", pool)
    run_id = begin_run(loaded, plan_source(loaded.pipeline.source))
    drive_run(RunStore(loaded.pipeline.sink.path), run_id, Watch())
    assert 0.75 in free


def test_the_quickstart_does_what_the_readme_shows(tmp_path: Path) -> None:
    loaded = load_pipeline(ROOT / "configs/quickstart.yaml")
    pipeline = loaded.pipeline.model_copy(update={"sink": Sink(path=str(tmp_path / "out"))})
    sink, run_id = _run(LoadedPipeline(loaded.path, pipeline, loaded.stages))
    facts = _facts(sink, run_id)
    assert len(facts) == 66
    assert {fact.status for fact in facts} == {"ok"}
