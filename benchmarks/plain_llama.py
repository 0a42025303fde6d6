"""llama_cpp.Llama as a peer: it has no parameter for the buffers that its weights go to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import llama_cpp


@contextmanager
def extra_bufts(use: bool) -> Iterator[None]:
    """Context in which Llama loads its weights with, or without, repacking them for the CPU."""
    params = llama_cpp.llama_model_default_params()
    params.use_extra_bufts = use
    with patch.object(llama_cpp.llama_cpp, "llama_model_default_params", lambda: params):
        yield
