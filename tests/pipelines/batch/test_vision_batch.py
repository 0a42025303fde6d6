"""Vision models in a pipeline: a step sees the picture, with what OCR read of it or alone."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from support.images import encoded, written
from support.vision_models import VisionFiles, make_vision, picture

from actors.config import ConfigError
from actors.config.merge import Merge
from pipelines.batch.describe import check_source
from pipelines.batch.extract_actor import ExtractActor
from pipelines.batch.finish import finish_unit
from pipelines.batch.ocr_actor import OcrActor
from pipelines.batch.stage_actor import StageWork
from pipelines.batch.unit_row import pack, unpack
from pipelines.config import load_pipeline
from pipelines.runs.carry import content_hash
from pipelines.source.read import read_units
from pipelines.source.units import plan_source
from pipelines.storage import Storage

pytestmark = pytest.mark.weights
LINE = "Metformin 500 mg daily"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> VisionFiles:
    return make_vision(tmp_path_factory.mktemp("vision"), "qwen25vl")


@pytest.fixture
def lake(tmp_path: Path, files: VisionFiles) -> Path:
    """A pipeline over a page, a file that is no picture, and a model that sees."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(encoded(written(LINE)))
    (tmp_path / "in" / "b.png").write_bytes(b"no picture")
    model = {
        "name": "vlm",
        "kind": "gguf",
        "weights": {"model": str(files.model), "mmproj": str(files.mmproj)},
        "context": {"n_ctx": 1024, "sequences": 2},
        "prompt": {"format": "prose", "instruction": "Summarise.", "check": True},
        "sampling": {"n_predict": 24, "repeat_penalty": 1.18, "repeat_last_n": 256},
    }
    (tmp_path / "vlm.yaml").write_text(yaml.safe_dump(model))
    return tmp_path


def pipeline(lake: Path, ocr: bool, *more: str, **source: object) -> Path:
    content: dict[str, Any] = {
        "name": "seen",
        "source": {"path": "in/", **source},
        "steps": [{"model": "vlm.yaml"}, *({"model": name} for name in more)],
        "sink": {"path": "out/"},
    }
    if ocr:
        content["ocr"] = {"model": "starter:ocr"}
    path = lake / "pipeline.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def run(lake: Path, path: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The tables' rows, as the actors make them one after the other."""
    loaded = load_pipeline(path)
    plan = plan_source(loaded.pipeline.source)
    check_source(loaded, plan)
    (table,) = read_units(plan.units, loaded.pipeline.source, plan.keep)
    block = pack("u", table)
    for index, stage in enumerate(loaded.stages):
        actor = OcrActor if stage.reads_pictures else ExtractActor
        work = StageWork(index, stage, str(lake / "out"), "r", 3, Storage(), loaded.sees_pictures)
        block = asyncio.run(actor(work)(block))
    _, table = unpack(block)
    rows, _ = finish_unit(table, Merge(), datetime.now(UTC))
    assert "image" not in rows.documents.schema.names
    return rows.entities.to_pylist(), rows.documents.to_pylist()


def test_a_vision_step_sees_the_picture_and_is_held_against_what_was_read(lake: Path) -> None:
    entities, documents = run(lake, pipeline(lake, ocr=True))
    seen, bad = documents
    assert (seen["status"], seen["text"]) == ("truncated", LINE)
    vlm = seen["steps"][1]
    assert vlm["completion"]
    assert vlm["prompt_tokens"] > 50, "the picture is in the prompt"
    assert not any("not checked" in problem for problem in vlm["problems"])
    assert (bad["status"], bad["error_type"]) == ("failed", "UnknownFormat")
    for entity in entities:
        assert entity["start"] is None or entity["boxes"]


def test_pictures_alone_are_enough_for_vision_models(lake: Path) -> None:
    _, documents = run(lake, pipeline(lake, ocr=False))
    seen, bad = documents
    assert seen["text"] is None
    assert seen["steps"][0]["completion"]
    assert any("not checked" in problem for problem in seen["steps"][0]["problems"])
    assert seen["content_hash"] == content_hash(encoded(written(LINE)))
    assert (bad["status"], bad["error_type"]) == ("failed", "UnknownFormat")


def test_a_column_of_pictures_with_prompts(lake: Path) -> None:
    rows = {"id": ["x", "y"], "scan": [picture(1), picture(1)], "ask": ["What is it?", None]}
    pq.write_table(pa.table(rows), lake / "in" / "scans.parquet")
    for name in ("a.png", "b.png"):
        (lake / "in" / name).unlink()
    _, documents = run(lake, pipeline(lake, False, id="id", image="scan", prompt="ask"))
    one, other = (document["steps"][0]["completion"] for document in documents)
    assert one != other
    assert json.dumps(documents, default=str)


def test_models_that_see_nothing_still_need_a_reader(lake: Path) -> None:
    loaded = load_pipeline(pipeline(lake, False, "starter:token-classifier"))
    with pytest.raises(ConfigError, match="vision models alone need none"):
        check_source(loaded, plan_source(loaded.pipeline.source))
    with pytest.raises(ConfigError, match="every step is a vision model"):
        load_pipeline(pipeline(lake, False, "starter:token-classifier", image="scan"))
