"""Calibration: measure each model on a sample of the source, on this machine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from actors.config import ConfigError
from actors.extractor import Extractor, Share
from actors.memory import gpu_memory
from actors.spans import Document
from pipelines.config import LoadedPipeline
from pipelines.source.read import read_units
from pipelines.source.units import plan_source

_WARM = 2


@dataclass(frozen=True, slots=True)
class MeasuredRates:
    """Measured documents/s of one actor of each model, for documents of the planned length.

    ``tokens_per_document``: sample mean by each model's tokenizer. ``where``: hardware used.
    """

    documents: int
    rates: dict[str, float]
    tokens_per_document: dict[str, float]
    where: str


def measure_rates(
    loaded: LoadedPipeline, tokens_per_document: float, documents: int
) -> MeasuredRates:
    """Process a few documents of the source with one actor of each model, one model at a time.

    Time is assumed proportional to length: the sample's documents/s are scaled by its tokens per
    document over the planned ones. Raises ConfigError if the source has too few texts.
    """
    sample = _sample(loaded, documents + _WARM)
    memory = gpu_memory()
    rates, lengths = {}, {}
    for stage in loaded.models:
        gpu = stage.actors.gpus if memory else 0.0
        share = Share(stage.actors.threads, gpu, stage.actors.cpu_fallback)
        with Extractor(stage.model, share) as extractor:
            extractor.extract(sample[:_WARM])
            started = time.perf_counter()
            found = extractor.extract(sample[_WARM:])
            seconds = time.perf_counter() - started
        tokens = sum(one.usage.prompt_tokens for one in found)
        if not tokens:
            raise ConfigError(f"{stage.name}: the sample has no tokens, so it cannot be calibrated")
        lengths[stage.name] = tokens / len(found)
        rates[stage.name] = tokens / seconds / tokens_per_document
    where = "the GPU" if memory else "the CPUs"
    return MeasuredRates(len(sample) - _WARM, rates, lengths, where)


def _sample(loaded: LoadedPipeline, count: int) -> Sequence[Document]:
    source = loaded.pipeline.source
    plan = plan_source(source)
    found: list[Document] = []
    for table in read_units(plan.units, source, plan.keep):
        for row in table.select(["doc_id", "text", "prompt"]).to_pylist():
            if row["text"]:
                found.append(Document(id=row["doc_id"], text=row["text"], prompt=row["prompt"]))
        if len(found) >= count:
            break
    if len(found) <= _WARM:
        raise ConfigError(
            f"{loaded.path}: source has only {len(found)} documents with text, too few to calibrate"
        )
    return found[:count]
