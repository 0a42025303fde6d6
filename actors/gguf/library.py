"""llama.cpp as a library: started once, its log kept to what cannot hold a document."""

from __future__ import annotations

import ctypes
import logging
import threading
from collections import deque

import llama_cpp

_log = logging.getLogger(__name__)
_ERROR = 4  # GGML_LOG_LEVEL_ERROR
_lines: deque[str] = deque(maxlen=20)
_lock = threading.Lock()
_started = False


@llama_cpp.llama_log_callback  # type: ignore[untyped-decorator, unused-ignore]
def _capture(level: int, text: bytes, _: ctypes.c_void_p) -> None:
    if level == _ERROR:
        _lines.append(text.decode("utf-8", "replace").strip())


def start() -> None:
    """Initialise llama.cpp and silence its log; further calls do nothing."""
    global _started
    with _lock:
        if not _started:
            llama_cpp.llama_backend_init()
            llama_cpp.llama_log_set(_capture, ctypes.c_void_p(0))
            _started = True


def loading_errors() -> str:
    """What llama.cpp said was wrong since the last call. Only for errors of loading a model: then
    no document has been seen. Later lines are never read and fall out of the buffer."""
    text = "; ".join(_lines)
    _lines.clear()
    return text
