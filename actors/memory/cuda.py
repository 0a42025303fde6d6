"""Why onnxruntime cannot use a card, and the command that mends it.

onnxruntime falls back on the CPU by itself, and says why only to its own log. It is not imported
here.
"""

from __future__ import annotations

import ctypes
import re
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

_MISSING = re.compile(r"(\S+\.so[.\d]*): cannot open shared object file")


def onnx_cuda_problem() -> str:
    """What keeps onnxruntime's CUDA provider from starting, and what to do, as a sentence."""
    spec = find_spec("onnxruntime")
    if spec is None or spec.origin is None:
        return "onnxruntime is not installed: pip install onnxruntime-gpu"
    provider = Path(spec.origin).parent / "capi" / "libonnxruntime_providers_cuda.so"
    if not provider.is_file():
        return (
            "the installed onnxruntime has no CUDA: pip uninstall -y onnxruntime && "
            "pip install --force-reinstall onnxruntime-gpu"
        )
    try:
        ctypes.CDLL(str(provider))
    except OSError as error:
        if found := _MISSING.search(str(error)):
            return f'{found[1]} is missing: pip install "onnxruntime-gpu[cuda,cudnn]{_pin()}"'
    return (
        "onnxruntime's CUDA provider does not start: check that nvidia-smi shows the card and that "
        "its driver is new enough"
    )


def _pin() -> str:
    try:
        return f"=={version('onnxruntime-gpu')}"
    except PackageNotFoundError:
        return ""
