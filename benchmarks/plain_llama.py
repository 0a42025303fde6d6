"""llama_cpp.Llama as a peer on processors with AMX, where its defaults crash (see LlamaModel)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import llama_cpp


@contextmanager
def without_amx() -> Iterator[None]:
    """Context in which Llama leaves AMX alone, as medspan does; it has no parameter for it."""
    params = llama_cpp.llama_model_default_params()
    params.use_extra_bufts = b"AMX_INT8 = 1" not in llama_cpp.llama_print_system_info()
    with patch.object(llama_cpp.llama_cpp, "llama_model_default_params", lambda: params):
        yield
