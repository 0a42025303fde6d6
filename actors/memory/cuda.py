"""Diagnose why onnxruntime cannot use the GPU, with the command that fixes it.

onnxruntime falls back to the CPU by itself, and reports the reason only in its own log. It is not
imported here.
"""

from __future__ import annotations

import ctypes
import re
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

_MISSING = re.compile(r"(\S+\.so[.\d]*): cannot open shared object file")


def onnx_cuda_problem() -> str:
    """Return what keeps onnxruntime's CUDA provider from starting, and the fix, as a sentence."""
    spec = find_spec("onnxruntime")
    if spec is None or spec.origin is None:
        return "onnxruntime is not installed: pip install onnxruntime-gpu"
    provider = Path(spec.origin).parent / "capi" / "libonnxruntime_providers_cuda.so"
    if not provider.is_file():
        return (
            "the installed onnxruntime has no CUDA support: pip uninstall -y onnxruntime && "
            "pip install --force-reinstall onnxruntime-gpu"
        )
    try:
        ctypes.CDLL(str(provider))
    except OSError as error:
        if found := _MISSING.search(str(error)):
            return f'{found[1]} is missing: pip install "onnxruntime-gpu[cuda,cudnn]{_pin()}"'
    return (
        "onnxruntime's CUDA provider does not start: check that nvidia-smi lists the GPU and that "
        "its driver is recent enough"
    )


def _pin() -> str:
    try:
        return f"=={version('onnxruntime-gpu')}"
    except PackageNotFoundError:
        return ""
