"""GPU memory of OCR, and the fraction that follows."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from support import ROOT
from support.memory_models import sized_model

from actors.config import ConfigError
from actors.config.ocr import OcrModel, load_ocr
from actors.memory import CUDA_CONTEXT, estimate_ocr, ocr_parts, read_ocr
from actors.ocr import network_files, networks
from pipelines.capacity import placement
from pipelines.capacity.fractions import estimate_memory, resolve_fractions
from pipelines.config import LoadedPipeline, load_pipeline
from pipelines.pool import Pool

A10G = 24 * 10**9
# One inference in an arena that takes what is asked for and no more; it logs what it has taken.
ARENA = """
import sys, numpy, onnxruntime as o
o.create_and_register_allocator(
    o.OrtMemoryInfo("Cpu", o.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, o.OrtMemType.DEFAULT),
    o.OrtArenaCfg({"arena_extend_strategy": 1}))
o.set_default_logger_severity(0)
s = o.SessionOptions()
s.add_session_config_entry("session.use_env_allocators", "1")
s.intra_op_num_threads, s.log_severity_level = 1, 0
if sys.argv[3] == "plain":  # the layout of a card, which no processor blocks
    s.graph_optimization_level = o.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
x = o.InferenceSession(sys.argv[1], s, providers=["CPUExecutionProvider"])
shape = [int(n) for n in sys.argv[2].split(",")]
x.run(None, {x.get_inputs()[0].name: numpy.zeros(shape, numpy.float32)})
"""


def arena(file: Path, shape: str, layout: str) -> int:
    """Bytes that onnxruntime's arena took for one inference."""
    command = [sys.executable, "-c", ARENA, str(file), shape, layout]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(re.findall(r"Total allocated bytes: (\d+)", told.stderr)[-1])


@pytest.mark.weights
@pytest.mark.parametrize("layout", ["own", "plain"])
def test_the_estimate_holds_in_the_layout_of_any_processor(layout: str) -> None:
    """onnxruntime blocks channels by 16 with AVX-512, by 8 with AVX2, and not at all on a GPU."""
    model = load_ocr("starter:ocr")
    files = read_ocr(*network_files(model))
    detector, recognizer = network_files(model)

    def activations(side: int, columns: int) -> tuple[int, int]:
        detection = model.detection.model_copy(update={"max_side": side - 32})
        changed = model.model_copy(update={"detection": detection, "batch_pixels": columns})
        page, lines = ocr_parts(replace(files, detector=0, recognizer=0), changed)
        return page - 32 * 2**20, lines - 32 * 2**20

    page, lines = activations(960, 2048)
    _, wide = activations(960, 4096)
    for estimate, taken in (
        (page, arena(detector, "1,3,960,960", layout)),
        (lines, arena(recognizer, "4,3,48,512", layout)),
        (wide, arena(recognizer, "1,3,48,4096", layout)),
    ):
        assert taken <= estimate <= 1.6 * taken


def test_auto_is_a_fraction_that_holds_the_reader() -> None:
    model = load_ocr("starter:ocr")
    need = estimate_memory(model)
    assert need.parts["CUDA context"] == CUDA_CONTEXT
    assert 1.3e9 < need.device < 1.7e9
    pool, _ = sized_model(Pool(num_gpus="auto"), model, lambda: A10G)
    assert pool.gpus * A10G >= need.device * 1.05 > (pool.gpus - 0.01) * A10G
    with pytest.raises(ConfigError) as refused:
        sized_model(Pool(num_gpus=0.05), model, lambda: A10G)
    said = str(refused.value)
    assert "num_gpus 0.05 of a GPU with 24.0 GB is 1.20 GB, but it needs" in said
    assert f"pool.num_gpus: {pool.gpus:g}" in said
    side = int(re.findall(r"detection.max_side: (\d+)", said)[0])
    assert 320 <= side < model.detection.max_side
    detection = model.detection.model_copy(update={"max_side": side})
    smaller = model.model_copy(update={"detection": detection})
    assert sized_model(Pool(num_gpus=0.05), smaller, lambda: A10G)[0].gpus == 0.05
    with pytest.raises(ConfigError, match=r"num_gpus is auto.*set pool\.gpu_memory_gb"):
        sized_model(Pool(num_gpus="auto"), model, lambda: None)


def _loaded(pool: Pool) -> LoadedPipeline:
    loaded = load_pipeline(ROOT / "configs" / "quickstart-pages.yaml")
    reader, *networks = loaded.stages
    assert reader.reads_pictures
    return replace(loaded, stages=(replace(reader, pool=pool), *networks))


def test_a_pipeline_that_reads_pictures_is_sized(monkeypatch: pytest.MonkeyPatch) -> None:
    found = resolve_fractions(_loaded(Pool(num_gpus="auto")), lambda: A10G).stages[0]
    assert found.actors.gpus == pytest.approx(0.07, abs=0.011)
    monkeypatch.setattr("ray.cluster_resources", lambda: {"CPU": 4.0})
    fallen = placement.resolve_gpus(_loaded(Pool(num_gpus="auto", cpu_fallback=True)).stages)[0]
    assert fallen.actors.num_gpus == 0
    monkeypatch.setattr(placement, "smallest_gpu", lambda: None)
    with pytest.raises(ConfigError, match=r"set pool\.gpu_memory_gb"):
        placement.resolve_gpus(_loaded(Pool(num_gpus="auto")).stages)


def test_both_networks_together_keep_to_the_share(monkeypatch: pytest.MonkeyPatch) -> None:
    model: OcrModel = load_ocr("starter:ocr")
    assert networks._limits(model, 0.0) == [{}, {}]
    monkeypatch.setattr(networks, "gpu_memory", lambda: A10G)
    limits = networks._limits(model, 0.25)
    shares = [int(limit["gpu_mem_limit"]) for limit in limits]
    assert sum(shares) == pytest.approx(A10G / 4 - CUDA_CONTEXT, abs=2)
    parts = ocr_parts(read_ocr(*network_files(model)), model)
    assert all(share >= part for share, part in zip(shares, parts, strict=True))
    assert estimate_ocr(read_ocr(*network_files(model)), model).device == sum(parts) + CUDA_CONTEXT
    with pytest.raises(ConfigError, match="but it needs"):
        networks._limits(model, 0.01)


def test_the_limits_reach_the_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, object]] = []
    monkeypatch.setattr(networks, "gpu_memory", lambda: A10G)

    class Sees:
        def __init__(self, settings: object) -> None:
            given.append(dict(settings.engine_cfg.cuda_ep_cfg))  # type: ignore[attr-defined]
            providers = SimpleNamespace(get_providers=lambda: ["CUDAExecutionProvider"])
            self.session = SimpleNamespace(session=providers)
            self.postprocess_op = type("Op", (), {"character": ["a"]})

    monkeypatch.setattr(networks, "TextDetector", Sees)
    monkeypatch.setattr(networks, "TextRecognizer", Sees)
    networks.OcrNetworks(load_ocr("starter:ocr"), 1, 0.25)
    detector, recognizer = given
    for one, limit in zip(given, networks._limits(load_ocr("starter:ocr"), 0.25), strict=True):
        assert one["gpu_mem_limit"] == limit["gpu_mem_limit"]
        assert one["arena_extend_strategy"] == "kSameAsRequested"
        assert one["cudnn_conv_use_max_workspace"] == "0"
    assert detector["gpu_mem_limit"] != recognizer["gpu_mem_limit"]
