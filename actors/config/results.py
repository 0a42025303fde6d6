"""A number for each room whose code decides answers; raised by hand when its answers change.

It stands in the identity of a stage in place of medspan's version, so that a release that changes
no answer makes no lake stale. Golden answers of the starters guard the numbers.
"""

from __future__ import annotations

from collections.abc import Mapping

RESULTS: Mapping[str, int] = {
    "deidentify": 1,
    "engine": 1,
    "grounding": 1,
    "merge": 1,
    "ocr": 1,
    "onnx": 1,
    "pages": 1,
    "prompts": 1,
    "vision": 1,
    "windows": 1,
}

_ROOMS: Mapping[str, tuple[str, ...]] = {
    "deidentify": ("deidentify",),
    "gguf": ("engine", "grounding", "merge", "prompts", "vision", "windows"),
    "ocr": ("ocr", "pages"),
    "onnx": ("merge", "onnx", "windows"),
}


def results_of(kind: str) -> dict[str, int]:
    """The numbers of the rooms that a kind of model runs through; raises KeyError for no kind."""
    return {room: RESULTS[room] for room in _ROOMS[kind]}
