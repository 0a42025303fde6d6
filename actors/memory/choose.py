"""Sequences and context of a language model where its file leaves them to its share of a card."""

from __future__ import annotations

from collections.abc import Callable

from actors.config import GgufModel
from actors.config.gguf import USUAL_LENGTH
from actors.memory.fraction import MOST_SEQUENCES, fits, largest, refuse, with_context
from actors.memory.need import GgufFile, gguf_need

LEAST_LENGTH = 2048
"""A context that ``n_ctx: auto`` does not go below: instructions, some text and its answer."""
_STEP = 256  # llama.cpp's contexts are multiples of it


def is_open(model: GgufModel) -> bool:
    """Whether the model file leaves sequences or context to the share."""
    return "auto" in (model.context.n_ctx, model.context.sequences)


def usual_gguf(file: GgufFile, model: GgufModel) -> GgufModel:
    """The model with a number for each auto where no share decides: the usual one, or the model's
    own context where that is shorter."""
    length = model.context.length
    if model.context.n_ctx == "auto":
        length = min(length, _longest(file, model))
    return with_context(model, n_ctx=length, sequences=model.context.slots)


def settled_gguf(
    file: GgufFile, model: GgufModel, share: float, card: int, grow: bool = True
) -> GgufModel:
    """The model with a number for each auto, such that it fits into a share of a card.

    Where the usual numbers do not fit, first fewer sequences (answers do not depend on them), then
    a shorter context. Where they do and may ``grow``: as many sequences as there is room for, then
    a longer context, up to the model's own. Raises ConfigError, with the numbers and what would
    fit, where the least of both does not. A model without auto comes back as it is, unchecked.
    """
    if not is_open(model):
        return model
    room = share * card
    usual = usual_gguf(file, model)
    most = _longest(file, model)
    least = min(LEAST_LENGTH, usual.context.length)
    if _fits(file, usual, room):
        return _grown(file, model, usual, most, room) if grow else usual
    slots = usual.context.slots
    if model.context.sequences == "auto":
        if found := largest(1, slots, _by(file, usual, room, "sequences")):
            return with_context(usual, sequences=found)
        usual = with_context(usual, sequences=1)
    if model.context.n_ctx == "auto":
        by_steps = _by(file, usual, room, "n_ctx", _STEP)
        if found := largest(-(-least // _STEP), usual.context.length // _STEP, by_steps):
            return with_context(usual, n_ctx=found * _STEP)
        usual = with_context(usual, n_ctx=least)
        if _fits(file, usual, room):
            return usual
    raise refuse(model.name, file, usual, share, card)


def _grown(file: GgufFile, model: GgufModel, usual: GgufModel, most: int, room: float) -> GgufModel:
    found = usual
    if model.context.sequences == "auto":
        count = largest(found.context.slots, MOST_SEQUENCES, _by(file, found, room, "sequences"))
        found = with_context(found, sequences=max(count, found.context.slots))
    if model.context.n_ctx == "auto":
        least = found.context.length
        steps = largest(-(-least // _STEP), most // _STEP, _by(file, found, room, "n_ctx", _STEP))
        found = with_context(found, n_ctx=max(steps * _STEP, least))
    return found


def _by(
    file: GgufFile, model: GgufModel, room: float, name: str, unit: int = 1
) -> Callable[[int], bool]:
    """Whether the model fits with so many (units) of one thing."""
    return lambda count: _fits(file, with_context(model, **{name: count * unit}), room)


def _fits(file: GgufFile, model: GgufModel, room: float) -> bool:
    return fits(gguf_need(file, model), room)


def _longest(file: GgufFile, model: GgufModel) -> int:
    """Tokens that the model was trained for, and that a common room of KV cells could hold."""
    own = file.header.number("context_length") or USUAL_LENGTH
    return max(64, min(own, model.context.kv_tokens or own))
