"""Result versions: a number per package, raised by hand when its answers change.

A stage's identity contains these numbers instead of medspan's version, so a release that changes no
answer makes no lake stale. Golden answers of the starters guard the numbers.
"""

from __future__ import annotations

from collections.abc import Mapping

RESULTS: Mapping[str, int] = {
    "claims": 1,
    "assertion": 1,
    "context": 6,
    "deidentify": 11,
    "engine": 2,
    "gliner": 3,
    "grounding": 1,
    "linking": 6,
    "merge": 1,
    "ocr": 7,
    "onnx": 1,
    "pages": 7,
    "prompts": 2,
    "relations": 5,
    "vision": 1,
    "windows": 1,
}

_PACKAGES: Mapping[str, tuple[str, ...]] = {
    "context": ("assertion", "context"),
    "deidentify": ("deidentify",),
    "gguf": ("claims", "engine", "grounding", "merge", "prompts", "vision", "windows"),
    "gliner": ("gliner", "merge", "onnx"),
    "linking": ("linking",),
    "ocr": ("ocr", "pages"),
    "onnx": ("merge", "onnx", "windows"),
    "relations": ("relations",),
}


def results_of(kind: str) -> dict[str, int]:
    """Return the numbers of the packages that a kind of model uses; raises KeyError if unknown."""
    return {package: RESULTS[package] for package in _PACKAGES[kind]}
