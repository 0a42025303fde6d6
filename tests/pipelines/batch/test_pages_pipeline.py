"""Pictures through a pipeline: files and columns, units, the reading pool, boxes in the tables."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from support import TWO_CORES
from support.images import encoded, written
from typer.testing import CliRunner

from actors.config import ConfigError
from actors.config.merge import Merge
from actors.config.ocr import load_ocr
from actors.memory import memory_by_place
from actors.pages import OcrResult, PageSize, Word
from actors.spans import Box, Extraction, MarkKind, PageMark, spanning
from pipelines.batch.describe import check_source
from pipelines.batch.finish import finish_unit
from pipelines.batch.ocr_actor import OcrActor
from pipelines.batch.ocr_rows import reading_row, row_reading
from pipelines.batch.recycling import RecycledActor
from pipelines.batch.run import begin_run, drive_run
from pipelines.batch.stage_actor import StageWork, stage_column
from pipelines.batch.unit_row import pack, unpack
from pipelines.cli.app import app
from pipelines.config import LoadedPipeline, Source, load_pipeline
from pipelines.pool import Pool
from pipelines.ray_cluster import cluster
from pipelines.runs.carry import content_hash
from pipelines.runs.store import RunStore
from pipelines.runs.tally import Tally
from pipelines.source.read import read_units
from pipelines.source.units import plan_source
from pipelines.stages import Stage
from pipelines.storage import Storage
from pipelines.tables.rows import extraction_row
from pipelines.tables.schema import EXTRACTION

LINE = "Metformin 500 mg daily"


def picture(text: str = LINE) -> bytes:
    return encoded(written(text))


def pipeline(folder: Path, **source: object) -> Path:
    path = folder / "pipeline.yaml"
    content: dict[str, Any] = {
        "name": "pages",
        "source": {"path": "in/", **source},
        "ocr": {"model": "starter:ocr"},
        "steps": [{"model": "starter:token-classifier"}],
        "sink": {"path": "out/"},
    }
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """A folder of a picture, a PDF that is none, and something to pass over."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(picture())
    (tmp_path / "in" / "b.pdf").write_bytes(b"not a PDF")
    (tmp_path / "in" / "c.md").write_text("not a document")
    return tmp_path


def test_a_handful_of_pictures_is_a_unit(lake: Path) -> None:
    (lake / "in" / "d.JPG").write_bytes(picture())
    plan = plan_source(Source(path=str(lake / "in"), unit_images=2))
    assert [unit.rows for unit in plan.units] == [2, 1]
    assert {file.format for file in plan.files} == {"image"}


def test_pictures_in_a_parquet_column_are_units_too(tmp_path: Path) -> None:
    path = tmp_path / "scans.parquet"
    pq.write_table(pa.table({"id": ["a", "b", "c"], "scan": [b"1", None, b"3"]}), path)
    source = Source(path=str(path), id="id", image="scan", unit_images=2)
    plan = plan_source(source)
    assert [unit.rows for unit in plan.units] == [2, 1]
    first, second = read_units(plan.units, source, plan.keep)
    assert first["image"].to_pylist() == [b"1", None]
    assert first["error_type"].to_pylist() == ["", "MissingImage"]
    assert second["doc_id"].to_pylist() == ["c"]
    with pytest.raises(ConfigError, match="not binary"):
        plan_source(Source(path=str(path), image="id"))


def test_a_picture_needs_a_reader(lake: Path) -> None:
    loaded = load_pipeline(pipeline(lake))
    plan = plan_source(loaded.pipeline.source)
    check_source(loaded, plan)
    blind = LoadedPipeline(loaded.path, loaded.pipeline, loaded.models)
    with pytest.raises(ConfigError, match=r"a\.png is an image or PDF"):
        check_source(blind, plan)
    path = pipeline(lake, image="scan")
    path.write_text(path.read_text().replace("ocr:\n  model: starter:ocr\n", ""))
    with pytest.raises(ConfigError, match=r"source\.image needs an `ocr` section"):
        load_pipeline(path)


def test_a_run_s_plan_keeps_the_reader(lake: Path) -> None:
    loaded = load_pipeline(pipeline(lake))
    assert [stage.kind for stage in loaded.stages] == ["ocr", "onnx"]
    assert LoadedPipeline.from_json(loaded.as_json()) == loaded


def test_a_reading_survives_the_table() -> None:
    reading = OcrResult(
        "ab cd",
        (Word(0, 2, Box(0, 1, 2, 3, 4), 0.5), Word(3, 5, Box(1, 5, 6, 7, 8), None, 90, "drug")),
        (PageSize(10, 20, 90), PageSize(30, 40)),
        marks=(PageMark(MarkKind.STAMP, Box(1, 3, 4, 5, 6)),),
    )
    assert row_reading(reading_row(reading), reading.text) == reading


@pytest.mark.weights
def test_a_unit_is_read_and_its_entities_get_places(
    lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Source(path=str(lake / "in"))
    plan = plan_source(source)
    (table,) = read_units(plan.units, source, plan.keep)
    born: list[Mapping[str, int]] = []
    monkeypatch.setattr(
        RecycledActor, "log_loaded", lambda self, seconds, memory_used: born.append(memory_used)
    )
    stage = Stage("ocr", load_ocr("starter:ocr"), Pool())
    actor = OcrActor(StageWork(0, stage, str(lake / "out"), "r", 3, Storage()))
    assert [set(memory_used) for memory_used in born] == [set(memory_by_place())]
    unit, table = unpack(asyncio.run(actor(pack("u", table))))
    assert unit == "u"
    assert "image" not in table.schema.names
    assert table["text"].to_pylist() == [LINE, None]
    assert table["error_type"].to_pylist() == ["", "UnknownFormat"]
    found = Extraction("a", "m", "f", entities=(spanning(LINE, 0, 9, "Drug", model="m"),))
    step = pa.array([extraction_row(found), None], EXTRACTION)
    rows, tally = finish_unit(
        table.append_column(stage_column(1), step), Merge(), datetime.now(UTC)
    )
    (entity,) = rows.entities.to_pylist()
    (box,) = entity["boxes"]
    assert (entity["text"], box["page"]) == ("Metformin", 0)
    assert 15 < box["x0"] < 30
    assert 150 < box["x1"] < 200
    assert entity["ocr_confidence"] > 0.8
    read, failed = rows.documents.to_pylist()
    assert read["text"] == LINE
    assert (read["pages"], read["page_sizes"]) == (1, [{"width": 480, "height": 80, "turn": 0}])
    assert read["tables"] == []
    assert [one["model"] for one in read["steps"]] == ["ocr", "m"]
    assert read["content_hash"] == content_hash(picture())
    assert (failed["status"], failed["error_type"], failed["pages"]) == (
        "failed",
        "UnknownFormat",
        None,
    )
    assert dict(tally.documents) == {"ok": 1, "failed": 1}


class _Quiet:
    def working(self, documents: float, steps: int) -> None:
        pass

    def update(self, tally: Tally, documents: int) -> None:
        """Say nothing."""


@TWO_CORES
@pytest.mark.ray
@pytest.mark.weights
def test_a_folder_of_pictures_becomes_two_tables(lake: Path) -> None:
    loaded = load_pipeline(pipeline(lake))
    plan = plan_source(loaded.pipeline.source)
    run_id = begin_run(loaded, plan)
    sink = RunStore(loaded.pipeline.sink.path)
    with cluster():
        outcome = drive_run(sink, run_id, _Quiet())
    assert dict(outcome.tally.documents) == {"ok": 1, "failed": 1}
    (entities,) = sink.snapshot().tables("entities")
    drugs = [row for row in entities.to_pylist() if row["label"] == "Drug"]
    assert [row["text"] for row in drugs] == ["Metformin"]
    assert len(drugs[0]["boxes"]) == 1


@pytest.mark.weights
def test_extract_reads_a_picture(lake: Path) -> None:
    result = CliRunner().invoke(app, ["extract", "-f", str(lake / "in" / "a.png"), "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["text"] == LINE
    drug = next(entity for entity in found["entities"] if entity["label"] == "Drug")
    assert drug["boxes"]
    assert drug["text"] == "Metformin"
    broken = CliRunner().invoke(app, ["extract", "-f", str(lake / "in" / "b.pdf")])
    assert broken.exit_code == 0  # not a PDF by its content: read as the text that it is
