"""Initialise llama.cpp once, and keep only those of its log lines that cannot quote a document."""

from __future__ import annotations

import ctypes
import logging
import re
import threading
from collections import deque
from dataclasses import dataclass
from importlib.metadata import version

import llama_cpp

from actors.config import ConfigError

_log = logging.getLogger(__name__)
_ERROR = 4  # GGML_LOG_LEVEL_ERROR
_lines: deque[str] = deque(maxlen=20)
_BUFFER = re.compile(rb"(\S+)\s+(model|KV|RS|compute|output) buffer size\s*=\s*([\d.]+) MiB")
_lock = threading.Lock()
_started = False


@dataclass(frozen=True, slots=True)
class Buffer:
    """A buffer that llama.cpp reports as allocated: place, purpose and size."""

    place: str
    kind: str
    size: int

    @property
    def on_gpu(self) -> bool:
        """True for GPU memory; a GPU's ``_Host`` buffers are pinned main memory."""
        return not self.place.startswith("CPU") and not self.place.endswith("_Host")


# Bounded: image encoders also report buffers, which nothing reads.
_buffers: deque[Buffer] = deque(maxlen=256)


@llama_cpp.llama_log_callback  # type: ignore[untyped-decorator, unused-ignore]
def capture(level: int, text: bytes, _: ctypes.c_void_p) -> None:
    """Log callback of llama.cpp and its parts: keeps errors and buffer sizes, drops the rest."""
    if level == _ERROR:
        _lines.append(text.decode("utf-8", "replace").strip())
    elif (found := _BUFFER.search(text)) is not None:
        size = round(float(found[3]) * 2**20)
        _buffers.append(Buffer(found[1].decode(), found[2].decode(), size))


def start() -> None:
    """Initialise llama.cpp and silence its log. Idempotent."""
    global _started
    with _lock:
        if not _started:
            llama_cpp.llama_backend_init()
            llama_cpp.llama_log_set(capture, ctypes.c_void_p(0))
            _started = True


def usable_share(model: str, gpu: float | None, cpu_fallback: bool) -> float | None:
    """Return the GPU share that llama.cpp can use: ``gpu``, or 0 if it cannot use a GPU.

    Raises ConfigError, with the command that fixes it, if ``gpu`` is a share and no CPU fallback is
    allowed.
    """
    if not gpu or llama_cpp.llama_supports_gpu_offload():
        return gpu
    if b"CUDA" in llama_cpp.llama_print_system_info():
        problem = (
            "llama.cpp finds no GPU: check that nvidia-smi lists one for this process and that its "
            "driver is recent enough"
        )
    else:
        # pip may have cached a build without GPU support, regardless of CMAKE_ARGS
        problem = (
            'llama.cpp was built without GPU support: CMAKE_ARGS="-DGGML_CUDA=on" pip install '
            "--force-reinstall --no-deps --no-cache-dir --no-binary llama-cpp-python "
            f"llama-cpp-python=={version('llama-cpp-python')}"
        )
    if not cpu_fallback:
        raise ConfigError(
            f"model {model} has num_gpus {gpu:g} but would run on the CPU: {problem}; or set "
            "pool.cpu_fallback to accept that"
        )
    _log.warning("model %s runs on the CPU: %s", model, problem)
    return 0.0


def loading_errors() -> str:
    """Return and clear llama.cpp's error lines. Only for errors of loading a model, when no
    document has been seen; later lines are never read and drop out of the buffer."""
    text = "; ".join(_lines)
    _lines.clear()
    return text


def buffers() -> tuple[Buffer, ...]:
    """Return and clear the buffers that llama.cpp reported; sizes are rounded to 10 kB."""
    found = tuple(_buffers)
    _buffers.clear()
    return found
