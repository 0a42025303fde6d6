"""Resolve ``auto`` sequences and context of a language model within its GPU share."""

from __future__ import annotations

from collections.abc import Callable

from actors.config import GgufModel
from actors.config.gguf import DEFAULT_LENGTH
from actors.memory.estimate import GgufFile, estimate_gguf
from actors.memory.fraction import MOST_SEQUENCES, fits, largest, refuse, with_context

LEAST_LENGTH = 2048
"""Minimum context for ``n_ctx: auto``: space for instructions, some text and its answer."""
_STEP = 256  # llama.cpp's contexts are multiples of it


def has_auto_context(model: GgufModel) -> bool:
    """Return True if the model file leaves sequences or context to the GPU share."""
    return "auto" in (model.context.n_ctx, model.context.sequences)


def with_default_context(file: GgufFile, model: GgufModel) -> GgufModel:
    """Resolve each auto without a GPU share: the default, or the model's own context if that is
    shorter."""
    length = model.context.length
    if model.context.n_ctx == "auto":
        length = min(length, _longest(file, model))
    return with_context(model, n_ctx=length, sequences=model.context.slots)


def resolve_gguf_context(
    file: GgufFile, model: GgufModel, share: float, gpu_total: int, grow: bool = True
) -> GgufModel:
    """Resolve each auto such that the model fits into a GPU share.

    If the defaults do not fit, first reduce sequences (answers do not depend on them), then the
    context. If they fit and ``grow`` is set: as many sequences as fit, then a longer context, up to
    the model's own. Raises ConfigError, with the numbers and the settings that would fit, if the
    minimum of both does not fit. A model without auto is returned as is, unchecked.
    """
    if not has_auto_context(model):
        return model
    budget = share * gpu_total
    default = with_default_context(file, model)
    maximum = _longest(file, model)
    minimum = min(LEAST_LENGTH, default.context.length)
    if _fits(file, default, budget):
        return _grow(file, model, default, maximum, budget) if grow else default
    slots = default.context.slots
    if model.context.sequences == "auto":
        if found := largest(1, slots, _fits_with(file, default, budget, "sequences")):
            return with_context(default, sequences=found)
        default = with_context(default, sequences=1)
    if model.context.n_ctx == "auto":
        by_steps = _fits_with(file, default, budget, "n_ctx", _STEP)
        if found := largest(-(-minimum // _STEP), default.context.length // _STEP, by_steps):
            return with_context(default, n_ctx=found * _STEP)
        default = with_context(default, n_ctx=minimum)
        if _fits(file, default, budget):
            return default
    raise refuse(model.name, file, default, share, gpu_total)


def _grow(
    file: GgufFile, model: GgufModel, default: GgufModel, maximum: int, budget: float
) -> GgufModel:
    found = default
    if model.context.sequences == "auto":
        count = largest(
            found.context.slots, MOST_SEQUENCES, _fits_with(file, found, budget, "sequences")
        )
        found = with_context(found, sequences=max(count, found.context.slots))
    if model.context.n_ctx == "auto":
        minimum = found.context.length
        steps = largest(
            -(-minimum // _STEP), maximum // _STEP, _fits_with(file, found, budget, "n_ctx", _STEP)
        )
        found = with_context(found, n_ctx=max(steps * _STEP, minimum))
    return found


def _fits_with(
    file: GgufFile, model: GgufModel, budget: float, name: str, unit: int = 1
) -> Callable[[int], bool]:
    """Return a predicate: does the model fit with this many units of one setting?"""
    return lambda count: _fits(file, with_context(model, **{name: count * unit}), budget)


def _fits(file: GgufFile, model: GgufModel, budget: float) -> bool:
    return fits(estimate_gguf(file, model), budget)


def _longest(file: GgufFile, model: GgufModel) -> int:
    """Return the tokens that the model was trained for and a unified KV cache can hold."""
    own = file.header.number("context_length") or DEFAULT_LENGTH
    return max(64, min(own, model.context.kv_tokens or own))
