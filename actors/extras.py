"""The optional parts of the distribution (``pip install 'medspan[gguf]'``) and what each brings.

The base reads ONNX models. A package that needs more names the extra where it is missing, so that
nobody has to guess which package an import failed for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

_MODULES = {
    "gguf": ("llama_cpp", "llguidance"),
    "pages": ("PIL", "cv2", "pydicom", "pypdf", "pypdfium2", "rapidocr", "zxingcpp"),
    "codecs": ("gdcm", "pi_heif"),
    "lake": (
        "croniter",
        "defusedxml",
        "deltalake",
        "duckdb",
        "hl7",
        "ijson",
        "mammoth",
        "py3langid",
        "pyarrow",
        "pyiceberg",
        "ray",
        "selectolax",
        "striprtf",
    ),
    "serve": ("fastapi", "httpcore2", "python_multipart", "ray", "sse_starlette"),
    "client": ("httpx2", "tenacity"),
    "otel": ("opentelemetry",),
    "exchange": ("openlineage", "spacy"),
    "deidentify": ("dicomanonymizer", "faker", "phonenumbers", "stdnum"),
}
"""Extra -> the modules that are imported of it; of two extras with a module the first is named."""


class MissingExtraError(ImportError):
    """Something needs an extra that is not installed; the message says what to install."""


def require(what: str, *extras: str) -> None:
    """Raise MissingExtraError, which names every extra of these that is not installed.

    ``what`` is what needs them, such as ``medspan run``. Imports nothing.
    """
    missing = [e for e in extras if any(find_spec(module) is None for module in _MODULES[e])]
    if missing:
        raise MissingExtraError(_message(what, missing))


@contextmanager
def optional_imports(what: str) -> Iterator[None]:
    """Around imports: a module that is not there raises MissingExtraError, naming its extra."""
    try:
        yield
    except ModuleNotFoundError as error:
        extra = extra_of(error)
        if extra is None:
            raise
        raise MissingExtraError(_message(what, [extra]), name=error.name) from error


def extra_of(error: ModuleNotFoundError) -> str | None:
    """The extra that brings the module which was not found; None for a module of no extra."""
    module = (error.name or "").partition(".")[0]
    return next((extra for extra, modules in _MODULES.items() if module in modules), None)


def _message(what: str, extras: list[str]) -> str:
    return f"{what} needs what is not installed: pip install 'medspan[{','.join(extras)}]'"
