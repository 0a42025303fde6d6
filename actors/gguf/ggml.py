"""The functions of ggml, llama.cpp's tensor library, that llama-cpp-python does not declare.

Signatures follow ggml.h, ggml-backend.h and gguf.h of llama.cpp.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from actors.arrays import Float32Array

EvalCallback = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.c_bool, ctypes.c_void_p)
"""ggml_backend_sched_eval_callback: (tensor, ask, user data)."""

_ToFloat = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)


class _TypeTraits(ctypes.Structure):
    """struct ggml_type_traits."""

    _fields_ = (
        ("type_name", ctypes.c_char_p),
        ("block_size", ctypes.c_int64),
        ("block_size_interleave", ctypes.c_int64),
        ("type_size", ctypes.c_size_t),
        ("is_quantized", ctypes.c_bool),
        ("to_float", _ToFloat),
    )


class _GgufParameters(ctypes.Structure):
    """struct gguf_init_params."""

    _fields_ = (("no_alloc", ctypes.c_bool), ("context", ctypes.c_void_p))


def _function(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    found = getattr(llama_cpp.llama_cpp._lib, name)
    found.restype, found.argtypes = result, arguments
    return found  # type: ignore[no-any-return]


_address, _text, _int64 = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int64
tensor_name = _function("ggml_get_name", _text, _address)
"""The name of a tensor, as bytes."""
_elements = _function("ggml_nelements", _int64, _address)
_data = _function("ggml_get_data_f32", _address, _address)
_type_traits = _function("ggml_get_type_traits", ctypes.POINTER(_TypeTraits), ctypes.c_int)
_open = _function("gguf_init_from_file", _address, _text, _GgufParameters)
_close = _function("gguf_free", None, _address)
_find = _function("gguf_find_tensor", _int64, _address, _text)
_data_offset = _function("gguf_get_data_offset", ctypes.c_size_t, _address)
_offset = _function("gguf_get_tensor_offset", ctypes.c_size_t, _address, _int64)
_type = _function("gguf_get_tensor_type", ctypes.c_int, _address, _int64)
_size = _function("gguf_get_tensor_size", ctypes.c_size_t, _address, _int64)


def tensor_values(tensor: int) -> Float32Array:
    """Copy the values of a float32 tensor in main memory; float32 [elements]."""
    count = int(_elements(tensor))
    source = ctypes.cast(_data(tensor), ctypes.POINTER(ctypes.c_float))
    return np.ctypeslib.as_array(source, (count,)).copy()


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where a tensor's data is in a file, and ggml's number of its type."""

    file: str
    offset: int
    size: int
    type: int


def stored_tensors(file: str, names: Iterable[bytes]) -> dict[bytes, StoredTensor]:
    """Find the tensors of these names that a GGUF file has; none if it cannot be read.

    ggml reads a header with 152,000 tokens in 0.05 s; ``actors.memory.header``, which also reads
    files on object stores, takes 0.3 s.
    """
    found: dict[bytes, StoredTensor] = {}
    gguf = _open(file.encode(), _GgufParameters(True, None))
    if not gguf:
        return found
    try:
        for name in names:
            if (index := _find(gguf, name)) >= 0:
                offset = _data_offset(gguf) + _offset(gguf, index)
                size, kind = int(_size(gguf, index)), int(_type(gguf, index))
                found[name] = StoredTensor(file, offset, size, kind)
    finally:
        _close(gguf)
    return found


def row_bytes(kind: int, width: int) -> int:
    """Return the bytes of a row of ``width`` numbers of this type."""
    traits = _type_traits(kind).contents
    return width // traits.block_size * traits.type_size  # type: ignore[no-any-return]


def dequantize(kind: int, stored: NDArray[np.uint8], into: Float32Array) -> None:
    """Write the numbers in ``stored`` [rows, bytes] to ``into`` [rows, width]; both contiguous."""
    to_float = _type_traits(kind).contents.to_float
    if to_float:
        to_float(stored.ctypes.data, into.ctypes.data, into.size)
    else:  # float32 itself
        into[:] = stored.view(np.float32)
