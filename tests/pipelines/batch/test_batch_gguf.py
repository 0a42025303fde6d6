"""GGUF models in the batch step and on the command line: units share an engine's slots, and a lost
model ends its process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest
from support.gguf_models import make
from typer.testing import CliRunner

from actors import Extractor
from actors.config import load_model
from actors.engine.runner import Block, Logits
from actors.gguf import GenerativeBackend
from pipelines.batch.extract_actor import ExtractActor
from pipelines.batch.stage_actor import StageWork, stage_column
from pipelines.batch.unit_row import pack, unpack
from pipelines.cli.app import app
from pipelines.pool import Pool
from pipelines.stages import Stage
from pipelines.storage import Storage

pytestmark = pytest.mark.weights
NOTE = "The patient takes metformin 500 mg daily; severe chest pain since March. Visit {}."


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model file with four sequences."""
    make(tmp_path / "tiny.gguf", "qwen2", seed=3)
    path = tmp_path / "tiny.yaml"
    path.write_text(
        "name: tiny\n"
        "kind: gguf\n"
        "weights: {model: tiny.gguf}\n"
        "context: {n_ctx: 1024, sequences: 4, flash_attn: 'off'}\n"
        "prompt: {format: entity-list, max_items: 4, guideline: {name: g, labels: {DRUG: {}}}}\n"
        "sampling: {n_predict: 100}\n"
    )
    return path


@contextmanager
def _opened(model: Path, sink: Path) -> Iterator[ExtractActor]:
    stage = Stage("tiny", load_model(model), Pool())
    made = ExtractActor(StageWork(0, stage, str(sink), "run", 2, Storage()))
    yield made
    _extractor(made).close()


@pytest.fixture
def actor(model: Path, tmp_path: Path) -> Iterator[ExtractActor]:
    with _opened(model, tmp_path / "sink") as made:
        yield made


def _extractor(actor: ExtractActor) -> Extractor:
    assert isinstance(actor._model, Extractor)
    return actor._model


def _unit(number: int, size: int = 2) -> pa.Table:
    ids = [f"{number}-{i}" for i in range(size)]
    nothing = pa.nulls(size, pa.string())
    table = pa.table(
        {
            "doc_id": ids,
            "text": [NOTE.format(i) for i in ids],
            "prompt": nothing,
            "prior": nothing,
            "error_type": nothing,
        }
    )
    return pack(f"unit-{number}", table)


def _said(blocks: Sequence[pa.Table]) -> dict[str, list[tuple[str, int, int]]]:
    column = stage_column(0)
    return {
        row["doc_id"]: [(e["label"], e["start"], e["end"]) for e in row[column]["entities"]]
        for block in blocks
        for row in unpack(block)[1].to_pylist()
    }


def test_units_in_flight_share_the_slots_of_one_engine(
    actor: ExtractActor, model: Path, tmp_path: Path
) -> None:
    units = [_unit(number) for number in range(3)]

    async def one_by_one(actor: ExtractActor) -> list[pa.Table]:
        return [await actor(unit) for unit in units]

    async def together() -> list[pa.Table]:
        return await asyncio.gather(*(actor(unit) for unit in units))

    # Another actor: the same one would copy its first answers.
    with _opened(model, tmp_path / "alone") as other:
        alone = _said(asyncio.run(one_by_one(other)))
    backend = _extractor(actor)._backend
    assert isinstance(backend, GenerativeBackend)
    runner, seen = backend.engine._runner, [0]
    decode = runner.decode

    def watched(blocks: Sequence[Block]) -> Sequence[Logits]:
        seen.append(len({block.sequence for block in blocks}))
        return decode(blocks)

    runner.decode = watched  # type: ignore[method-assign]
    assert _said(asyncio.run(together())) == alone
    assert len(alone) == 6
    assert any(alone.values())
    # Two documents a unit: only several units fill four slots.
    assert max(seen) >= 4


def test_a_lost_model_ends_the_process_so_that_ray_starts_another(
    actor: ExtractActor, ended: list[int], tmp_path: Path
) -> None:
    backend = _extractor(actor)._backend
    assert isinstance(backend, GenerativeBackend)

    def broken(blocks: Sequence[Block]) -> Sequence[Logits]:
        raise RuntimeError("llama_decode returned -3")

    backend.engine._runner.decode = broken  # type: ignore[method-assign]
    with pytest.raises(SystemExit):
        asyncio.run(_call(actor, _unit(0)))
    assert ended == [1]
    # What it was doing is written down for whoever does it again.
    assert [*(tmp_path / "sink").rglob("attempts/unit-0.0.json")]


async def _call(actor: ExtractActor, unit: pa.Table) -> pa.Table:
    return await actor(unit)


def test_extract_on_the_command_line_takes_any_gguf_model(model: Path) -> None:
    text = NOTE.format(1)
    result = CliRunner().invoke(app, ["extract", "-m", str(model), "--json", text])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert [step["model"] for step in told["steps"]] == ["tiny"]
    assert told["entities"]
    for entity in told["entities"]:
        assert text[entity["start"] : entity["end"]] == entity["text"]
        assert 0 <= entity["score"] <= 1
