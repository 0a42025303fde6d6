"""Fractions of a GPU that are true: chosen, checked, filled, kept to; actors that begin anew."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fsspec
import pytest
from support import tiny_onnx
from support.memory_models import Kind, Shape, sized_model, write
from support.vision_models import make_vision

from actors.config import ConfigError, GgufModel, OnnxModel, load_model
from actors.config.load import STARTERS
from actors.extractor import Extractor, Share
from actors.memory import (
    CUDA_CONTEXT,
    GgufFile,
    estimate_gguf,
    estimate_onnx,
    open_header,
    parse_gpu,
    read_onnx,
)
from pipelines.batch import recycling
from pipelines.batch.recycling import RecycledActor
from pipelines.capacity import placement
from pipelines.capacity.fractions import estimate_memory, resolve_fractions
from pipelines.capacity.nodes import Node, check_nodes
from pipelines.config import LoadedPipeline, Pipeline
from pipelines.pool import Pool
from pipelines.stages import Stage
from pipelines.worker import process_health
from pipelines.worker.process_health import RecycleLimits

SHAPE = Shape("qwen2", 1536, 28, 12, 2, 128, 8960, 151936, Kind.Q8_0, tied=True)
A10G = 24 * 10**9


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> GgufModel:
    """A model of the shape of Qwen2 1.5B, 1.6 GB of Q8_0, of which only the head is there."""
    path = write(tmp_path_factory.mktemp("gguf") / "m.gguf", SHAPE)
    return GgufModel.model_validate(
        {
            "name": "m",
            "kind": "gguf",
            "weights": {"model": str(path)},
            "context": {"n_ctx": 4096, "sequences": 16, "prefixes": 2},
            "prompt": {"format": "prose"},
        }
    )


def context(model: GgufModel, **changes: object) -> GgufModel:
    return model.model_copy(update={"context": model.context.model_copy(update=changes)})


def test_auto_is_the_least_hundredth_that_holds_the_model(model: GgufModel) -> None:
    need = estimate_memory(model)
    # 28 layers of 2 heads of 128, K and V in half precision, 18 rooms of 4,096 tokens.
    assert need.parts["KV cache"] == 18 * 4096 * 28 * 2 * 128 * 2 * 2
    assert need.parts["weights"] == pytest.approx(1.65e9, rel=0.01)
    assert need.parts["CUDA context"] == CUDA_CONTEXT
    pool, same = sized_model(Pool(num_gpus="auto"), model, lambda: A10G)
    assert pool.gpus * A10G >= need.device * 1.05 > (pool.gpus - 0.01) * A10G
    assert same == model
    # A stated memory counts instead of the cluster's.
    smaller, _ = sized_model(Pool(num_gpus="auto", gpu_memory_gb=16), model, lambda: A10G)
    assert smaller.gpus == pytest.approx(pool.gpus * 24 / 16, abs=0.011)


def test_a_fraction_that_is_too_small_is_refused_with_what_would_fit(model: GgufModel) -> None:
    with pytest.raises(ConfigError) as refused:
        sized_model(Pool(num_gpus=0.15), model, lambda: A10G)
    said = str(refused.value)
    assert said.startswith("m: num_gpus 0.15 of a GPU with 24.0 GB is 3.60 GB, but it needs ")
    assert "(weights 1.64, KV cache 2.11, compute " in said
    ways = dict(way.split(": ", 1) for way in said.split("set any of: ")[1].split("; "))
    share = 0.15 * A10G
    # Each way fits, and a little more of it does not.
    fewer = int(ways["context.sequences"])
    assert 1 <= fewer < 16
    file = GgufFile(open_header(Path(model.weights.model)))
    assert estimate_gguf(file, context(model, sequences=fewer)).device * 1.05 <= share
    assert estimate_gguf(file, context(model, sequences=fewer + 1)).device * 1.05 > share
    shorter = int(ways["context.n_ctx"])
    assert estimate_gguf(file, context(model, n_ctx=shorter)).device * 1.05 <= share
    assert estimate_gguf(file, context(model, n_ctx=shorter + 256)).device * 1.05 > share
    halved = estimate_gguf(file, context(model, type_k="q8_0", type_v="q8_0"))
    assert ("context.type_k and type_v" in ways) == (halved.device * 1.05 <= share)
    enough = float(ways["pool.num_gpus"])
    assert sized_model(Pool(num_gpus=enough), model, lambda: A10G)[0].gpus == enough
    with pytest.raises(ConfigError, match="it needs"):
        sized_model(Pool(num_gpus=enough - 0.01), model, lambda: A10G)


def test_model_larger_than_any_gpu_is_an_error(model: GgufModel) -> None:
    with pytest.raises(ConfigError, match=r"num_gpus 1 of a GPU with 1\.0 GB .*n_gpu_layers"):
        sized_model(Pool(num_gpus="auto", gpu_memory_gb=1), model, lambda: None)
    with pytest.raises(ConfigError, match="nothing smaller fits"):
        sized_model(Pool(num_gpus="auto", gpu_memory_gb=0.5), model, lambda: None)


def test_a_share_is_filled_with_sequences(model: GgufModel) -> None:
    pool = Pool(num_gpus=0.5, fill_gpu=True)
    _, filled = sized_model(pool, model, lambda: A10G)
    assert isinstance(filled, GgufModel)
    count = filled.context.sequences
    assert isinstance(count, int)
    assert 16 < count <= 64
    assert filled.context.n_ctx == 4096  # answers may depend on it
    file = GgufFile(open_header(Path(model.weights.model)))
    assert estimate_gguf(file, filled).device * 1.05 <= 0.5 * A10G
    if count < 64:
        more = context(model, sequences=count + 1)
        assert estimate_gguf(file, more).device * 1.05 > 0.5 * A10G
    with pytest.raises(ValueError, match="fill_gpu needs num_gpus as a number"):
        Pool(num_gpus="auto", fill_gpu=True)


def test_a_token_classifier_is_sized_by_its_batches() -> None:
    model = load_model("starter:token-classifier")
    assert isinstance(model, OnnxModel)
    file = read_onnx(STARTERS / "token-classifier")
    assert (file.width, file.feed, file.heads, file.longest) == (384, 1536, 12, 512)
    need = estimate_onnx(file, model)
    # Measured with onnxruntime's arena on the CPU, in MB: four windows of 256 tokens, then two of
    # 512, for which the model was not trained.
    assert need.parts["activations"] == pytest.approx(29.95e6, rel=0.1)
    wide = model.model_copy(update={"window": model.window.model_copy(update={"size": 512})})
    assert estimate_onnx(file, wide).parts["activations"] == pytest.approx(54.9e6, rel=0.1)
    pool, _ = sized_model(Pool(num_gpus="auto"), model, lambda: A10G)
    assert pool.gpus == 0.03
    with pytest.raises(ConfigError, match=r"token-classifier: num_gpus 0\.02 .*pool\.num_gpus: 0"):
        sized_model(Pool(num_gpus=0.02), model, lambda: A10G)
    _, filled = sized_model(Pool(num_gpus=0.1, fill_gpu=True), model, lambda: A10G)
    assert isinstance(filled, OnnxModel)
    assert filled.session.batch_tokens == 16384


def test_an_encoder_of_long_texts_is_planned_with_the_windows_that_it_reads(
    tmp_path: Path,
) -> None:
    """Scores of attention grow with the square of the window: 8,192 positions are not 512."""
    tokenizer = tiny_onnx.wordpiece()
    sizes: dict[str, Any] = {
        "hidden_size": 384,
        "intermediate_size": 1536,
        "num_attention_heads": 12,
    }
    table = tiny_onnx.random_table(tokenizer, 5)
    folder = tiny_onnx.save(
        tmp_path, tiny_onnx.by_token(table), tokenizer, max_position_embeddings=8192, **sizes
    )
    content = {"name": "m", "kind": "onnx", "weights": {"model": str(folder)}}
    own = OnnxModel.model_validate(content)
    chosen = OnnxModel.model_validate(content | {"window": {"size": 2048}})
    assert estimate_memory(own).parts["activations"] > 12 * 4 * 8192**2
    assert 12 * 4 * 2048**2 < estimate_memory(chosen).parts["activations"] < 12 * 4 * 2560**2
    with pytest.raises(ConfigError, match=r"window\.size: \d+") as refused:
        sized_model(Pool(num_gpus=0.1), own, lambda: A10G)
    named = re.search(r"window\.size: (\d+)", str(refused.value))
    assert named is not None
    size = int(named[1])
    assert 1024 < size < 8192
    for more, enough in ((0, True), (1, False)):
        model = OnnxModel.model_validate(content | {"window": {"size": size + more}})
        assert (estimate_memory(model).device * 1.05 <= 0.1 * A10G) is enough
    # What the tokenizer says counts as it does for the reader of documents.
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 256}')
    assert read_onnx(folder).longest == 256


def test_auto_share_needs_a_known_gpu_memory(
    model: GgufModel, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ConfigError, match=r"m: pool\.num_gpus is auto.*set pool\.gpu_memory_gb"):
        sized_model(Pool(num_gpus="auto"), model, lambda: None)
    assert sized_model(Pool(num_gpus=0.001), model, lambda: None)[0].gpus == 0.001
    assert "m: GPU memory unknown; num_gpus=0.001 was not validated" in caplog.text
    assert sized_model(Pool(), model, lambda: 1 // 0)[0].gpus == 0  # nobody is asked


def test_adapters_and_image_encoders_count_in_memory(model: GgufModel, tmp_path: Path) -> None:
    (tmp_path / "adapter.gguf").write_bytes(bytes(7_000_000))
    lora = {"model": str(tmp_path / "adapter.gguf"), "scale": 1.0}
    content = model.model_dump(mode="json")
    content["weights"] |= {"lora": [lora], "mmproj": str(make_vision(tmp_path, "qwen2vl").mmproj)}
    parts = estimate_memory(GgufModel.model_validate(content)).parts
    assert parts["adapter 1"] == 7_000_000
    assert 100_000 < parts["encoder"] < 1_000_000
    # A context of 4,096 leaves 3,072 tokens for a picture, of four patches each.
    assert parts["pictures"] > 4 * 4 * 3072 * 4 * 32


def test_a_model_on_a_store_is_sized_where_it_is(model: GgufModel, tmp_path: Path) -> None:
    small = write(tmp_path / "s.gguf", Shape("llama", 128, 2, 4, 2, 32, 256, 500))
    local = model.model_copy(
        update={"weights": model.weights.model_copy(update={"model": str(small)})}
    )
    store = fsspec.filesystem("memory")
    store.pipe_file("/models/s.gguf", small.read_bytes())
    uri = model.weights.model_copy(update={"model": "memory://models/s.gguf"})
    assert estimate_memory(model.model_copy(update={"weights": uri})) == estimate_memory(local)
    gone = model.weights.model_copy(update={"model": "memory://models/gone.gguf"})
    with pytest.raises(FileNotFoundError, match="gone"):
        estimate_memory(model.model_copy(update={"weights": gone}))


def test_gpu_is_named_with_its_memory() -> None:
    assert parse_gpu("a10g:24") == ("a10g", A10G)
    for wrong in ("a10g", "a10g:", ":24", "a10g:much", "a10g:-1"):
        with pytest.raises(ConfigError, match="write a name and its memory"):
            parse_gpu(wrong)


def _loaded(model: GgufModel, *pools: Pool) -> LoadedPipeline:
    steps = [{"model": "m", "pool": pool.model_dump()} for pool in pools]
    content = {"name": "p", "source": {"path": "in"}, "steps": steps, "sink": {"path": "out"}}
    stages = tuple(Stage(f"m{i}", model, pool) for i, pool in enumerate(pools))
    return LoadedPipeline("p", Pipeline.model_validate(content), stages)


def test_a_pipeline_is_sized_for_the_cards_of_its_cluster(
    model: GgufModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = _loaded(model, Pool(num_gpus="auto", cpu_fallback=True), Pool())
    assert [s.actors.num_gpus for s in resolve_fractions(loaded, lambda: A10G).stages] == [0.2, 0]
    monkeypatch.setattr("ray.cluster_resources", lambda: {"CPU": 4.0})
    assert [s.actors.num_gpus for s in placement.resolve_gpus(loaded.stages)] == [0, 0]
    monkeypatch.setattr("ray.cluster_resources", lambda: {"CPU": 4.0, "GPU": 1.0})
    monkeypatch.setattr(placement, "smallest_gpu", lambda: 16 * 10**9)
    assert placement.resolve_gpus(loaded.stages)[0].actors.gpus == pytest.approx(0.28, abs=0.011)


def _pool(gpus: float, actors: int) -> Pool:
    return Pool(num_gpus=gpus, min_actors=actors, max_actors=actors)


def test_actors_that_fit_no_single_node_are_rejected() -> None:
    two = [Node.of({"CPU": 4.0, "GPU": 1.0})] * 2
    check_nodes([_pool(0.5, 3), _pool(0.2, 2)], two)
    with pytest.raises(ConfigError, match=r"\(0\.6, 0\.6, 0\.6\) do not fit on 2 GPUs"):
        check_nodes([_pool(0.6, 3)], two)
    with pytest.raises(ConfigError, match="requests 6 CPUs, but the largest node has 4"):
        check_nodes([Pool(num_cpus=6)], two)
    check_nodes([Pool(num_gpus=2)], two)
    with pytest.raises(ConfigError, match="cannot span GPUs"):
        check_nodes([Pool(num_gpus=2), Pool(num_gpus=0.1)], two)


def test_more_threads_than_cores_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.extractor.cores", lambda: 2)
    with pytest.raises(ConfigError, match="3 threads requested, but this process may use only 2"):
        Extractor(load_model("starter:token-classifier"), Share(threads=3))


@pytest.fixture
def ended(ended: list[int], monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The same, at once."""
    monkeypatch.setattr(recycling, "_DRAIN_SECONDS", 0.0)
    return ended


def test_actor_is_recycled_only_when_idle(ended: list[int]) -> None:
    async def scenario() -> list[str]:
        actor = RecycledActor(RecycleLimits(documents=10), 0.0, "r", "m")
        order: list[str] = []
        release = asyncio.Event()

        async def slow() -> None:
            async with actor.call():
                await release.wait()
                order.append("slow is done")

        async def late() -> None:
            try:
                async with actor.call():
                    order.append("never")
            except SystemExit:
                order.append("ended")

        under_way = asyncio.create_task(slow())
        await asyncio.sleep(0)
        async with actor.call():
            actor.record(10)
        waiting = asyncio.create_task(late())
        for _ in range(5):
            await asyncio.sleep(0)
        assert order == []
        release.set()
        await asyncio.gather(under_way, waiting)
        return order

    assert asyncio.run(scenario()) == ["slow is done", "ended"]
    assert ended == [0]


def test_growing_actor_is_recycled(monkeypatch: pytest.MonkeyPatch, ended: list[int]) -> None:
    sizes = iter([500_000_000, 540_000_000, 620_000_000])
    monkeypatch.setattr(process_health, "main_memory_used", lambda: next(sizes))
    actor = RecycledActor(RecycleLimits(growth_mb=100), 0.0, "r", "m")
    assert not actor.limit_reached  # nothing was done yet, so nothing has grown
    actor.record(1)
    assert not actor.limit_reached
    assert actor.limit_reached
    assert RecycledActor(RecycleLimits(), 0.0, "r", "m").limit_reached is False


def test_exceeded_gpu_share_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Mapping[str, Any]] = []
    breaches: list[str] = []
    monkeypatch.setattr(process_health, "gpu_memory", lambda: 16 * 10**9)
    monkeypatch.setattr(
        process_health, "log_event", lambda event, *_, **facts: told.append({"is": event} | facts)
    )
    monkeypatch.setattr(process_health, "count_breach", breaches.append)
    used = [3_900_000_000]
    monkeypatch.setattr(process_health, "gpu_memory_used", lambda: used[0])
    actor = RecycledActor(RecycleLimits(), 0.25, "r", "m")
    actor.log_loaded(1.5, {"CUDA0 KV": 2_000_000_000})
    (loaded,) = told
    assert (loaded["took_mb"], loaded["gpu_mb"]) == ({"CUDA0 KV": 2000.0}, 3900.0)
    assert loaded["share_mb"] == 4000.0
    used[0] = 4_100_000_000
    actor.record(1)
    assert told[-1]["is"] == "GPU share exceeded"
    assert (told[-1]["gpu_mb"], told[-1]["share_mb"]) == (4100.0, 4000.0)
    actor.record(1)
    assert breaches == ["m"], "it is said again only when it is worse"
    assert (actor.held().breaches, actor.held().gpu_mb) == (1, 4100.0)
    used[0] = 4_600_000_000
    actor.record(1)
    assert breaches == ["m", "m"]
    json.dumps(told)
