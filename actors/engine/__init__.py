"""Continuous batching of text generation over a small Runner protocol. Knows no llama.cpp.

engine = Engine(runner, slots=16)
engine.submit(Request(prefix=instructions, suffix=note, grammar=lark)).result().text
"""

from __future__ import annotations

from actors.engine.engine import Counters, Engine
from actors.engine.request import (
    Completion,
    EngineLost,
    FinishReason,
    Request,
    RequestRefused,
    Sampling,
)
from actors.engine.runner import Block, Logits, Runner
from actors.engine.sequence import Techniques
from actors.engine.telling import Tell

__all__ = [
    "Block",
    "Completion",
    "Counters",
    "Engine",
    "EngineLost",
    "FinishReason",
    "Logits",
    "Request",
    "RequestRefused",
    "Runner",
    "Sampling",
    "Techniques",
    "Tell",
]
