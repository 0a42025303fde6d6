"""Fractions of a card: which one a model needs, what fits in one, and what would fit in less."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from actors.config import ConfigError, GgufModel, GlinerModel, OnnxModel
from actors.memory.need import GgufFile, Need, OnnxFile, gguf_need, longest_window, onnx_need

RESERVE = 1.05
"""More than the plan, for what no plan sees: fragments, a driver's whims."""

MOST_SEQUENCES = 64
"""Sequences that a share is filled with at most: more do little for a step's speed."""
_MOST_BATCH_TOKENS = 16_384
_STEP = 256  # llama.cpp's contexts are multiples of it
_GB = 1e9


def card_bytes(text: str) -> tuple[str, int]:
    """Name and bytes of a card such as ``a10g:24`` (GB of 10^9 bytes); raises ConfigError."""
    name, _, size = text.partition(":")
    try:
        amount = float(size)
    except ValueError:
        amount = 0.0
    if not name or not 0 < amount < 10_000:
        raise ConfigError(f"{text!r} names no card: write a name and its memory, such as a10g:24")
    return name, int(amount * _GB)


def fraction_for(need: Need, card: int) -> float:
    """The least fraction, in hundredths, of a card of so many bytes; over 1 where one is not
    enough."""
    return math.ceil(need.device * RESERVE / card * 100 - 1e-9) / 100


def fits(need: Need, room: float) -> bool:
    """Whether it fits into so many bytes, with the reserve."""
    return need.device * RESERVE <= room


def check_gguf(name: str, file: GgufFile, model: GgufModel, share: float, card: int) -> None:
    """Raise ConfigError, with the numbers and with what would fit, where the share is too small."""
    if not fits(gguf_need(file, model), share * card):
        raise refuse(name, file, model, share, card)


def refuse(name: str, file: GgufFile, model: GgufModel, share: float, card: int) -> ConfigError:
    """The error of a share that is too small: the numbers, and what would fit."""
    ways = list(_smaller(file, model, share * card))
    return refusal(name, gguf_need(file, model), share, card, ways)


def check_onnx(
    name: str, file: OnnxFile, model: OnnxModel | GlinerModel, share: float, card: int
) -> None:
    """As ``check_gguf``, for a token classifier or a GLiNER model."""
    need = onnx_need(file, model)
    if fits(need, share * card):
        return

    def batches(tokens: int) -> OnnxModel | GlinerModel:
        session = model.session.model_copy(update={"batch_tokens": tokens})
        return model.model_copy(update={"session": session})

    least = largest(
        64,
        model.session.batch_tokens,
        lambda tokens: fits(onnx_need(file, batches(tokens)), share * card),
    )
    ways = [f"session.batch_tokens: {least}"] if least else []

    def window(tokens: int) -> bool:
        shorter = model.window.model_copy(update={"size": tokens})
        return fits(onnx_need(file, model.model_copy(update={"window": shorter})), share * card)

    # Where a single window is more than a batch, smaller batches change nothing.
    if size := largest(model.session.batch_tokens, longest_window(file, model), window):
        ways.append(f"window.size: {size}")
    raise refusal(name, need, share, card, ways)


def filled_gguf(file: GgufFile, model: GgufModel, share: float, card: int) -> GgufModel:
    """The model with as many sequences as its share has room for, at least those of its file.

    The context stays: what a document's answer is may depend on it, and not on its neighbours.
    """
    least = model.context.slots
    best = largest(
        least,
        max(least, MOST_SEQUENCES),
        lambda count: fits(gguf_need(file, with_context(model, sequences=count)), share * card),
    )
    return with_context(model, sequences=best) if best else model


def filled_onnx(
    file: OnnxFile, model: OnnxModel | GlinerModel, share: float, card: int
) -> OnnxModel | GlinerModel:
    """The model with the largest batches that its share has room for, doubling its file's."""
    tokens = model.session.batch_tokens
    best = model
    while tokens < _MOST_BATCH_TOKENS:
        tokens *= 2
        session = model.session.model_copy(update={"batch_tokens": tokens})
        larger = model.model_copy(update={"session": session})
        if not fits(onnx_need(file, larger), share * card):
            break
        best = larger
    return best


def with_context(model: GgufModel, **changes: object) -> GgufModel:
    """The model with another context."""
    context = model.context.model_copy(update=changes)
    return model.model_copy(update={"context": context})


def _smaller(file: GgufFile, model: GgufModel, room: float) -> Iterator[str]:
    """Single changes of a model file that make it fit, dearest to the user last."""
    context = model.context

    def fit(**changes: object) -> bool:
        return fits(gguf_need(file, with_context(model, **changes)), room)

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
        yield f"context.n_gpu_layers: {count} (the others on the CPU: slow)"


def largest(low: int, high: int, good: Callable[[int], bool]) -> int:
    """The largest number from ``low`` to ``high`` that is good, 0 where none is; what is good
    stays so for smaller numbers."""
    if low > high or not good(low):
        return 0
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if good(middle) else (low, middle - 1)
    return low


def refusal(name: str, need: Need, share: float, card: int, ways: list[str]) -> ConfigError:
    """The error of a share that is too small for a need; ``ways``: changes that would fit."""
    parts = ", ".join(f"{part} {size / _GB:.2f}" for part, size in need.parts.items())
    fraction = fraction_for(need, card)
    if fraction <= 1:
        ways.insert(0, f"pool.num_gpus: {fraction:g}")
    means = f"; any one of these would do: {'; '.join(ways)}" if ways else "; nothing smaller fits"
    return ConfigError(
        f"{name}: num_gpus {share:g} of a card of {card / _GB:.1f} GB is {share * card / _GB:.2f} "
        f"GB, and it needs {need.device * RESERVE / _GB:.2f} GB ({parts}, reserve "
        f"{need.device * (RESERVE - 1) / _GB:.2f}){means}"
    )
