"""Pools with true fractions: what each step's model needs of a card, from its file, before work."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from actors.config import ConfigError, GgufModel, GlinerModel, OnnxModel
from actors.config.ocr import OcrModel
from actors.gliner_folder import FILES as GLINER_FILES
from actors.memory import (
    GgufFile,
    Need,
    OcrFiles,
    OnnxFile,
    card_memory,
    check_gguf,
    check_ocr,
    check_onnx,
    filled_gguf,
    filled_onnx,
    fraction_for,
    gguf_need,
    is_open,
    ocr_need,
    onnx_need,
    read_gguf,
    read_gliner,
    read_ocr,
    read_onnx,
    settled_gguf,
)
from actors.weights import fetch, open_weights
from pipelines.config import LoadedPipeline
from pipelines.pool import Pool
from pipelines.stages import PooledConfig, Stage

log = logging.getLogger(__name__)
Card = Callable[[], int | None]
"""Bytes of a card of the cluster, the smallest of them; None where none can be asked."""

_ONNX_FILES = ("model.onnx", "config.json", "tokenizer_config.json")
_GB = 1e9
_ASK_SECONDS = 30.0


def sized(loaded: LoadedPipeline, card: Card) -> LoadedPipeline:
    """The pipeline with a number for every ``num_gpus: auto``, every stated fraction checked, and
    models whose sequences, context and batches are those that their share has room for, where
    their files or pools leave that open.

    Raises ConfigError, with the numbers and what would fit, where a model does not fit.
    """
    return replace(loaded, stages=tuple(sized_stage(stage, card) for stage in loaded.stages))


def sized_stage(stage: Stage, card: Card) -> Stage:
    """One stage, as ``sized``."""
    pool = stage.pool
    if pool is None or pool.num_gpus == 0:
        return stage
    config = stage.pooled
    memory = _memory(pool, stage.name, card)
    if memory is None:
        return stage
    if pool.num_gpus == "auto":
        # What the model file leaves open is as usual where a card holds that, else less.
        config = _settled(config, 1.0, memory, grow=False)
        fraction = fraction_for(need_of(config), memory)
        if fraction > 1:
            _check(config, 1.0, memory)
        return replace(stage, config=config, pool=pool.model_copy(update={"num_gpus": fraction}))
    config = _settled(config, pool.num_gpus, memory)
    _check(config, pool.num_gpus, memory)
    return replace(stage, config=_filled(config, pool.num_gpus, memory) if pool.fill else config)


def _memory(pool: Pool, name: str, card: Card) -> int | None:
    """Bytes of a card; None where none says, so that a stated fraction is not checked."""
    memory = int(pool.card_gb * _GB) if pool.card_gb is not None else card()
    if memory is None and pool.num_gpus == "auto":
        raise ConfigError(
            f"{name}: pool.num_gpus is auto, and no card of the cluster says its memory (one that "
            "is taken whole cannot be asked); set pool.card_gb, or num_gpus to a number"
        )
    if memory is None:
        # Whoever has a CPU to fall back on is told when that is what happens.
        log.log(
            logging.INFO if pool.cpu_fallback else logging.WARNING,
            "%s: no card says its memory: num_gpus %g is not checked",
            name,
            pool.num_gpus,
        )
    return memory


def on_cpu(stage: Stage) -> Stage:
    """The stage without a card, and a warning that says so: its cluster has none."""
    log.warning("no GPU in this cluster: %s runs on the CPU", stage.name)
    return replace(stage, pool=stage.actors.model_copy(update={"num_gpus": 0.0}))


def need_of(config: PooledConfig) -> Need:
    """What a stage's model needs of a card; of a remote GGUF file only the head is read."""
    if isinstance(config, OcrModel):
        return ocr_need(_ocr_files(config), config)
    if isinstance(config, GgufModel):
        return gguf_need(_gguf_file(config), config)
    return onnx_need(_onnx_file(config), config)


def smallest_card() -> int | None:
    """Bytes of the smallest card of the cluster, asked of a node of each; None without cards, where
    they are only declared, or where all are taken whole: such a card cannot be asked."""
    import ray  # here: a plan on paper needs none
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ask = ray.remote(num_cpus=0, num_gpus=0.001)(card_memory)
    places = [
        NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("GPU")
    ]
    asked = [ask.options(scheduling_strategy=place).remote() for place in places]
    if not asked:
        return None
    there, missing = ray.wait(asked, num_returns=len(asked), timeout=_ASK_SECONDS)
    for one in missing:
        ray.cancel(one)
        log.warning("a node did not say its card's memory: all of the card is taken")
    known = [size for size in ray.get(there) if size is not None]
    return min(known, default=None)


def _settled(config: PooledConfig, share: float, memory: int, grow: bool = True) -> PooledConfig:
    if not isinstance(config, GgufModel) or not is_open(config):
        return config
    return settled_gguf(_gguf_file(config), config, share, memory, grow)


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
        return filled_gguf(_gguf_file(config), config, share, memory)
    return filled_onnx(_onnx_file(config), config, share, memory)


def _ocr_files(model: OcrModel) -> OcrFiles:
    from actors.ocr import network_files  # here: rapidocr and OpenCV take a second to import

    return read_ocr(*network_files(model))


def _gguf_file(model: GgufModel) -> GgufFile:
    return read_gguf(open_weights, model)


def _onnx_file(model: OnnxModel | GlinerModel) -> OnnxFile:
    if isinstance(model, GlinerModel):
        return read_gliner(fetch(model.weights.model, None, GLINER_FILES))
    return read_onnx(fetch(model.weights.model, None, _ONNX_FILES))
