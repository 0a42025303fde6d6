"""Resolve GPU fractions: the memory each stage's model needs, computed from its file."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from actors.config import ConfigError, GgufModel, GlinerModel, OnnxModel
from actors.config.ocr import OcrModel
from actors.memory import (
    GgufFile,
    MemoryEstimate,
    OcrNetworkFiles,
    OnnxFile,
    check_gguf,
    check_ocr,
    check_onnx,
    estimate_gguf,
    estimate_ocr,
    estimate_onnx,
    fill_gguf,
    fill_onnx,
    fraction_for,
    gpu_memory,
    has_auto_context,
    ocr_main_memory,
    read_gguf,
    read_gliner,
    read_ocr,
    read_onnx,
    resolve_gguf_context,
)
from actors.weights import fetch_model, open_weights
from pipelines.config import LoadedPipeline
from pipelines.pool import Pool
from pipelines.stages import PooledConfig, Stage

log = logging.getLogger(__name__)
GpuMemory = Callable[[], int | None]
"""Memory in bytes of the cluster's smallest GPU; None if it is unknown."""

_GB = 1e9
_ASK_SECONDS = 30.0


def resolve_fractions(loaded: LoadedPipeline, gpu_memory: GpuMemory) -> LoadedPipeline:
    """Resolve every ``num_gpus: auto``, check every explicit fraction, and resolve automatic
    sequence counts, context sizes and batch sizes to fit the share.

    Raises ConfigError, with the numbers and what would fit, if a model does not fit.
    """
    return replace(
        loaded, stages=tuple(resolve_fraction(stage, gpu_memory) for stage in loaded.stages)
    )


def resolve_fraction(stage: Stage, gpu_memory: GpuMemory) -> Stage:
    """Resolve one stage, as ``resolve_fractions``."""
    pool = stage.pool
    if pool is None or pool.num_gpus == 0:
        return stage
    config = stage.pooled
    memory = _memory(pool, stage.name, gpu_memory)
    if memory is None:
        return stage
    if pool.num_gpus == "auto":
        # Automatic sizes get their defaults if a GPU can hold them, else smaller values.
        config = _resolve_auto(config, 1.0, memory, grow=False)
        fraction = fraction_for(estimate_memory(config), memory)
        if fraction > 1:
            _check(config, 1.0, memory)
        return replace(stage, config=config, pool=pool.model_copy(update={"num_gpus": fraction}))
    config = _resolve_auto(config, pool.num_gpus, memory)
    _check(config, pool.num_gpus, memory)
    return replace(
        stage, config=_filled(config, pool.num_gpus, memory) if pool.fill_gpu else config
    )


def _memory(pool: Pool, name: str, gpu_memory: GpuMemory) -> int | None:
    """GPU memory in bytes; None if unknown, in which case an explicit fraction is not checked."""
    memory = int(pool.gpu_memory_gb * _GB) if pool.gpu_memory_gb is not None else gpu_memory()
    if memory is None and pool.num_gpus == "auto":
        raise ConfigError(
            f"{name}: pool.num_gpus is auto, but the GPU memory of the cluster is unknown (a fully "
            "allocated GPU cannot be queried); set pool.gpu_memory_gb, or num_gpus to a number"
        )
    if memory is None:
        # With a CPU fallback, the warning comes when the fallback happens.
        log.log(
            logging.INFO if pool.cpu_fallback else logging.WARNING,
            "%s: GPU memory unknown; num_gpus=%g was not validated",
            name,
            pool.num_gpus,
        )
    return memory


def on_cpu(stage: Stage) -> Stage:
    """Move the stage to the CPU and log a warning, since the cluster has no GPU."""
    log.warning("no GPU in this cluster: %s runs on the CPU", stage.name)
    return replace(stage, pool=stage.actors.model_copy(update={"num_gpus": 0.0}))


def estimate_memory(config: PooledConfig) -> MemoryEstimate:
    """The GPU memory of a stage's model; of a remote GGUF file only the header is read."""
    if isinstance(config, OcrModel):
        return estimate_ocr(_ocr_files(config), config)
    if isinstance(config, GgufModel):
        return estimate_gguf(_gguf_file(config), config)
    return estimate_onnx(_onnx_file(config), config)


def main_memory(config: PooledConfig, pool: Pool) -> dict[str, int] | None:
    """The most main memory of an actor that decodes pages, in bytes by purpose; None for others."""
    if not isinstance(config, OcrModel):
        return None
    return ocr_main_memory(_ocr_files(config), config, pool.threads, pool.gpus > 0)


def smallest_gpu() -> int | None:
    """Memory in bytes of the cluster's smallest GPU, queried on every GPU node.

    None if there are no GPUs, if they are only logical, or if all are fully allocated and cannot
    be queried.
    """
    import ray  # imported here: `medspan plan` does not need it
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ask = ray.remote(num_cpus=0, num_gpus=0.001)(gpu_memory)
    places = [
        NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("GPU")
    ]
    queries = [ask.options(scheduling_strategy=place).remote() for place in places]
    if not queries:
        return None
    there, missing = ray.wait(queries, num_returns=len(queries), timeout=_ASK_SECONDS)
    for one in missing:
        ray.cancel(one)
        log.warning("a node did not report its GPU memory: the GPU is fully allocated")
    known = [size for size in ray.get(there) if size is not None]
    return min(known, default=None)


def _resolve_auto(
    config: PooledConfig, share: float, memory: int, grow: bool = True
) -> PooledConfig:
    if not isinstance(config, GgufModel) or not has_auto_context(config):
        return config
    return resolve_gguf_context(_gguf_file(config), config, share, memory, grow)


def _check(config: PooledConfig, share: float, memory: int) -> None:
    if isinstance(config, OcrModel):
        check_ocr(_ocr_files(config), config, share, memory)
    elif isinstance(config, GgufModel):
        check_gguf(config.name, _gguf_file(config), config, share, memory)
    else:
        check_onnx(config.name, _onnx_file(config), config, share, memory)


def _filled(config: PooledConfig, share: float, memory: int) -> PooledConfig:
    if isinstance(config, OcrModel):
        return config
    if isinstance(config, GgufModel):
        return fill_gguf(_gguf_file(config), config, share, memory)
    return fill_onnx(_onnx_file(config), config, share, memory)


def _ocr_files(model: OcrModel) -> OcrNetworkFiles:
    from actors.ocr import network_files  # imported here: rapidocr and OpenCV take a second

    return read_ocr(*network_files(model))


def _gguf_file(model: GgufModel) -> GgufFile:
    return read_gguf(open_weights, model)


def _onnx_file(model: OnnxModel | GlinerModel) -> OnnxFile:
    read = read_gliner if isinstance(model, GlinerModel) else read_onnx
    return read(fetch_model(model), model.weights.file)
