"""What a model will take of a device, from its file alone. Nothing is loaded."""

from __future__ import annotations

from actors.memory.header import GgufFacts, Header, facts, open_header, read_header
from actors.memory.llama import LlamaTake, llama_take
from actors.memory.shape import output_rows

__all__ = [
    "GgufFacts",
    "Header",
    "LlamaTake",
    "facts",
    "llama_take",
    "open_header",
    "output_rows",
    "read_header",
]
