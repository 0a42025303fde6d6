"""llama.cpp as a library: started once, its log kept to what cannot hold a document."""

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
    """A buffer that llama.cpp says to have taken: where, what for, and how large."""

    place: str
    kind: str
    size: int

    @property
    def on_card(self) -> bool:
        """Whether it is in a card's memory; a card's ``_Host`` buffers are pinned main memory."""
        return not self.place.startswith("CPU") and not self.place.endswith("_Host")


# Encoders of pictures speak of theirs later, and nobody asks for those.
_buffers: deque[Buffer] = deque(maxlen=256)


@llama_cpp.llama_log_callback  # type: ignore[untyped-decorator, unused-ignore]
def capture(level: int, text: bytes, _: ctypes.c_void_p) -> None:
    """Where llama.cpp and its parts log to: errors are kept, all else is dropped."""
    if level == _ERROR:
        _lines.append(text.decode("utf-8", "replace").strip())
    elif (found := _BUFFER.search(text)) is not None:
        size = round(float(found[3]) * 2**20)
        _buffers.append(Buffer(found[1].decode(), found[2].decode(), size))


def start() -> None:
    """Initialise llama.cpp and silence its log; further calls do nothing."""
    global _started
    with _lock:
        if not _started:
            llama_cpp.llama_backend_init()
            llama_cpp.llama_log_set(capture, ctypes.c_void_p(0))
            _started = True


def usable_share(model: str, gpu: float | None, cpu_fallback: bool) -> float | None:
    """The share of a card that llama.cpp can use: ``gpu``, or none where it can use no card.

    Raises ConfigError, with the command that mends it, where ``gpu`` is a share and the CPU may not
    take its place.
    """
    if not gpu or llama_cpp.llama_supports_gpu_offload():
        return gpu
    if b"CUDA" in llama_cpp.llama_print_system_info():
        problem = (
            "llama.cpp sees no card: check that nvidia-smi shows it to this process and that its "
            "driver is new enough"
        )
    else:
        # pip may have a build without GPU support in its cache, whatever CMAKE_ARGS says
        problem = (
            'llama.cpp was built without GPU support: CMAKE_ARGS="-DGGML_CUDA=on" pip install '
            "--force-reinstall --no-deps --no-cache-dir --no-binary llama-cpp-python "
            f"llama-cpp-python=={version('llama-cpp-python')}"
        )
    if not cpu_fallback:
        raise ConfigError(
            f"model {model} has {gpu:g} of a GPU and would run on the CPU: {problem}; or set "
            "pool.cpu_fallback to run on the CPU"
        )
    _log.warning("model %s runs on the CPU: %s", model, problem)
    return 0.0


def loading_errors() -> str:
    """What llama.cpp said was wrong since the last call. Only for errors of loading a model: then
    no document has been seen. Later lines are never read and fall out of the buffer."""
    text = "; ".join(_lines)
    _lines.clear()
    return text


def buffers() -> tuple[Buffer, ...]:
    """What llama.cpp said to have taken since the last call; to its rounding, 10 kB a buffer."""
    found = tuple(_buffers)
    _buffers.clear()
    return found
