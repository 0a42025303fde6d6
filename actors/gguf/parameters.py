"""llama.cpp's own parameters by their names in the binding, from ``context.llama_cpp``."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import llama_cpp

from actors.config import ConfigError

_ENUMS: dict[str, dict[str, int]] = {
    "split_mode": {
        "none": llama_cpp.LLAMA_SPLIT_MODE_NONE,
        "layer": llama_cpp.LLAMA_SPLIT_MODE_LAYER,
        "row": llama_cpp.LLAMA_SPLIT_MODE_ROW,
    },
    "rope_scaling_type": {
        "none": llama_cpp.LLAMA_ROPE_SCALING_TYPE_NONE,
        "linear": llama_cpp.LLAMA_ROPE_SCALING_TYPE_LINEAR,
        "yarn": llama_cpp.LLAMA_ROPE_SCALING_TYPE_YARN,
    },
}
_NUMBERS = (ctypes.c_bool, ctypes.c_float, ctypes.c_int32, ctypes.c_uint32, ctypes.c_int)
_SPLIT = "tensor_split"
# Set by a key of `context` or of the pool, or decided by medspan.
_ELSEWHERE = {
    *("n_ctx", "n_seq_max", "kv_unified", "n_batch", "n_ubatch", "n_outputs_max", "embeddings"),
    *("n_threads", "n_threads_batch", "flash_attn_type", "type_k", "type_v", "offload_kqv"),
    *("swa_full", "no_perf", "n_gpu_layers", "load_mode", "use_mmap", "use_mlock", "vocab_only"),
    *("use_extra_bufts", "check_tensors", "no_alloc", "n_rs_seq", "n_outputs_max_per_seq"),
    *("ctx_type", "pooling_type", "attention_type", "lazy_mode", "load_mtp", "defrag_thold"),
}


def check_parameters(model: str, given: Mapping[str, Any]) -> None:
    """Raise ConfigError for a parameter that llama.cpp lacks, or a value of the wrong type."""
    known = {*_fields(llama_cpp.llama_context_params), *_fields(llama_cpp.llama_model_params)}
    for name, value in given.items():
        where = f"model {model}: context.llama_cpp.{name}"
        if name not in known:
            suggestions = get_close_matches(name, known, 1)
            hint = f"; did you mean {suggestions[0]}?" if suggestions else ""
            raise ConfigError(f"{where}: unknown llama.cpp parameter{hint}")
        if name in _ENUMS:
            if value not in _ENUMS[name]:
                raise ConfigError(f"{where}: must be one of {', '.join(_ENUMS[name])}")
        elif name == _SPLIT:
            if not isinstance(value, list | tuple):
                raise ConfigError(f"{where}: must be a list of numbers, one per GPU")
        elif isinstance(value, str | list | tuple):
            raise ConfigError(f"{where}: must be a number, true or false")


def apply_parameters(params: Any, given: Mapping[str, Any]) -> list[Any]:
    """Set the given parameters that exist on ``params``, a context's or a model's.

    The result must stay alive as long as ``params`` is used.
    """
    kept: list[Any] = []
    fields = _fields(type(params))
    for name, value in given.items():
        if name not in fields:
            continue
        if name in _ENUMS:
            setattr(params, name, _ENUMS[name][value])
        elif name == _SPLIT:
            count = llama_cpp.llama_max_devices()
            split = (ctypes.c_float * count)(*[*value, *[0.0] * count][:count])
            params.tensor_split = split
            kept.append(split)
        else:
            setattr(params, name, value)
    return kept


def _fields(struct: Any) -> set[str]:
    return {
        name
        for name, kind, *_ in struct._fields_
        if name not in _ELSEWHERE and (kind in _NUMBERS or name == _SPLIT)
    }
