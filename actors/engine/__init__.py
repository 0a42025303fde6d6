"""Continuous batching of text generation over a small Runner protocol. Independent of llama.cpp.

engine = Engine(runner, slots=16)
engine.submit(Request(prefix=instructions, suffix=note, grammar=lark)).result().text
"""

from __future__ import annotations

from actors.engine.engine import Counters, Engine
from actors.engine.request import (
    PLACEHOLDER,
    Completion,
    EngineLost,
    FinishReason,
    Media,
    Request,
    RequestRefused,
    Sampling,
    Thinking,
)
from actors.engine.runner import Block, Logits, Runner
from actors.engine.sequence import Techniques
from actors.engine.text_stream import OnOutput

__all__ = [
    "PLACEHOLDER",
    "Block",
    "Completion",
    "Counters",
    "Engine",
    "EngineLost",
    "FinishReason",
    "Logits",
    "Media",
    "OnOutput",
    "Request",
    "RequestRefused",
    "Runner",
    "Sampling",
    "Techniques",
    "Thinking",
]
