"""GPU fractions: what a model needs, what fits in a share, and what would fit in less."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from actors.config import ConfigError, GgufModel, GlinerModel, OnnxModel
from actors.memory.estimate import (
    GgufFile,
    MemoryEstimate,
    OnnxFile,
    estimate_gguf,
    estimate_onnx,
    longest_window,
)

RESERVE = 1.05
"""Headroom over the estimate, for fragmentation and driver overhead."""

MOST_SEQUENCES = 64
"""Maximum sequences to fill a share with: more barely improve a step's throughput."""
_MOST_BATCH_TOKENS = 16_384
_STEP = 256  # llama.cpp's contexts are multiples of it
_GB = 1e9


def parse_gpu(text: str) -> tuple[str, int]:
    """Parse a GPU such as ``a10g:24`` (GB of 10^9 bytes) to name and bytes; raises ConfigError."""
    name, _, size = text.partition(":")
    try:
        amount = float(size)
    except ValueError:
        amount = 0.0
    if not name or not 0 < amount < 10_000:
        raise ConfigError(
            f"invalid GPU {text!r}: write a name and its memory in GB, such as a10g:24"
        )
    return name, int(amount * _GB)


def fraction_for(need: MemoryEstimate, gpu_total: int) -> float:
    """Return the smallest fraction, in hundredths, of a GPU with this many bytes; over 1 if one GPU
    is not enough."""
    return math.ceil(need.device * RESERVE / gpu_total * 100 - 1e-9) / 100


def fits(need: MemoryEstimate, budget: float) -> bool:
    """Return True if the estimate fits into this many bytes, with headroom."""
    return need.device * RESERVE <= budget


def check_gguf(name: str, file: GgufFile, model: GgufModel, share: float, gpu_total: int) -> None:
    """Raise ConfigError, with the numbers and what would fit, if the share is too small."""
    if not fits(estimate_gguf(file, model), share * gpu_total):
        raise refuse(name, file, model, share, gpu_total)


def refuse(
    name: str, file: GgufFile, model: GgufModel, share: float, gpu_total: int
) -> ConfigError:
    """Build the error for a share that is too small: the numbers, and settings that would fit."""
    ways = list(_smaller(file, model, share * gpu_total))
    return refusal(name, estimate_gguf(file, model), share, gpu_total, ways)


def check_onnx(
    name: str, file: OnnxFile, model: OnnxModel | GlinerModel, share: float, gpu_total: int
) -> None:
    """Like ``check_gguf``, for a token classifier or a GLiNER model."""
    need = estimate_onnx(file, model)
    if fits(need, share * gpu_total):
        return

    def batches(tokens: int) -> OnnxModel | GlinerModel:
        session = model.session.model_copy(update={"batch_tokens": tokens})
        return model.model_copy(update={"session": session})

    minimum = largest(
        64,
        model.session.batch_tokens,
        lambda tokens: fits(estimate_onnx(file, batches(tokens)), share * gpu_total),
    )
    ways = [f"session.batch_tokens: {minimum}"] if minimum else []

    def window(tokens: int) -> bool:
        shorter = model.window.model_copy(update={"size": tokens})
        return fits(
            estimate_onnx(file, model.model_copy(update={"window": shorter})), share * gpu_total
        )

    # If a single window exceeds a batch, smaller batches change nothing.
    if size := largest(model.session.batch_tokens, longest_window(file, model), window):
        ways.append(f"window.size: {size}")
    raise refusal(name, need, share, gpu_total, ways)


def fill_gguf(file: GgufFile, model: GgufModel, share: float, gpu_total: int) -> GgufModel:
    """Raise the number of sequences to what fits in the share, but never lower it.

    The context stays: a document's answer may depend on it, but not on its neighbours.
    """
    minimum = model.context.slots
    filled = largest(
        minimum,
        max(minimum, MOST_SEQUENCES),
        lambda count: fits(
            estimate_gguf(file, with_context(model, sequences=count)), share * gpu_total
        ),
    )
    return with_context(model, sequences=filled) if filled else model


def fill_onnx(
    file: OnnxFile, model: OnnxModel | GlinerModel, share: float, gpu_total: int
) -> OnnxModel | GlinerModel:
    """Return the model with the largest batches that fit in its share, doubling its file's."""
    tokens = model.session.batch_tokens
    filled = model
    while tokens < _MOST_BATCH_TOKENS:
        tokens *= 2
        session = model.session.model_copy(update={"batch_tokens": tokens})
        larger = model.model_copy(update={"session": session})
        if not fits(estimate_onnx(file, larger), share * gpu_total):
            break
        filled = larger
    return filled


def with_context(model: GgufModel, **changes: object) -> GgufModel:
    """Return the model with changed context settings."""
    context = model.context.model_copy(update=changes)
    return model.model_copy(update={"context": context})


def _smaller(file: GgufFile, model: GgufModel, budget: float) -> Iterator[str]:
    """Yield single changes to a model file that make it fit, most costly to the user last."""
    context = model.context

    def fit(**changes: object) -> bool:
        return fits(estimate_gguf(file, with_context(model, **changes)), budget)

    if count := largest(1, context.slots, lambda n: fit(sequences=n)):
        yield f"context.sequences: {count}"
    if context.type_k == "f16" and fit(type_k="q8_0", type_v="q8_0"):
        yield "context.type_k and type_v: q8_0"
    if context.swa_full and fit(swa_full=False):
        yield "context.swa_full: false"
    if blocks := largest(1, context.length // _STEP, lambda n: fit(n_ctx=n * _STEP)):
        yield f"context.n_ctx: {blocks * _STEP}"
    layers = file.header.number("block_count")
    if count := largest(1, layers, lambda n: fit(n_gpu_layers=n)):
        yield f"context.n_gpu_layers: {count} (the rest on the CPU: slow)"


def largest(low: int, high: int, good: Callable[[int], bool]) -> int:
    """Return the largest number from ``low`` to ``high`` that is good, or 0; if a number is good,
    all smaller ones are."""
    if low > high or not good(low):
        return 0
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if good(middle) else (low, middle - 1)
    return low


def refusal(
    name: str, need: MemoryEstimate, share: float, gpu_total: int, ways: list[str]
) -> ConfigError:
    """Build the error for a share that is too small; ``ways``: changes that would fit."""
    parts = ", ".join(f"{part} {size / _GB:.2f}" for part, size in need.parts.items())
    fraction = fraction_for(need, gpu_total)
    if fraction <= 1:
        ways.insert(0, f"pool.num_gpus: {fraction:g}")
    means = f"; to make it fit, set any of: {'; '.join(ways)}" if ways else "; nothing smaller fits"
    return ConfigError(
        f"{name}: num_gpus {share:g} of a GPU with {gpu_total / _GB:.1f} GB is "
        f"{share * gpu_total / _GB:.2f} GB, but it needs "
        f"{need.device * RESERVE / _GB:.2f} GB ({parts}, reserve "
        f"{need.device * (RESERVE - 1) / _GB:.2f}){means}"
    )
