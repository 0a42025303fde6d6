"""Read the header of a GGUF file (metadata and tensor sizes) without llama.cpp.

Only the start of the file is read, so a model on an object store is sized without downloading it.
The layout follows GGUF's specification (ggml/docs/gguf.md), versions 2 and 3.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from actors.config import ConfigError
from actors.config.gguf_parts import gguf_parts

Value = str | int | float | bool | list[int | float | bool]

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q"}
_SCALARS[12] = "d"
_STRING, _ARRAY = 8, 9
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of the file: its dimensions, innermost first, and its size in bytes in the file."""

    name: str
    dimensions: tuple[int, ...]
    size: int


@dataclass(frozen=True, slots=True)
class Header:
    """Metadata and tensors. String arrays are omitted; ``counts`` has their lengths."""

    name: str
    values: dict[str, Value]
    counts: dict[str, int]
    tensors: tuple[Tensor, ...]
    size: int

    @property
    def architecture(self) -> str:
        """llama.cpp's name of the architecture."""
        return self.text("general.architecture")

    def text(self, key: str) -> str:
        """Return a string of the metadata; empty if missing."""
        value = self.values.get(key, "")
        return value if isinstance(value, str) else ""

    def number(self, key: str, default: int = 0) -> int:
        """Return a number under the architecture's name; of a list, the maximum."""
        return max(self.numbers(key, default))

    def numbers(self, key: str, default: int = 0) -> list[int]:
        """Return the numbers of a list under the architecture's name, or the single number."""
        value = self.values.get(f"{self.architecture}.{key}", default)
        found = value if isinstance(value, list) else [value]
        return [int(item) for item in found if not isinstance(item, str)] or [default]


@dataclass(frozen=True, slots=True)
class GgufFacts:
    """Key figures of a model file. ``kv_bytes_per_token`` is for a float16 KV cache with full
    attention in every layer: an upper bound if some layers use sliding windows."""

    architecture: str
    name: str
    megabytes: float
    trained_context: int
    layers: int
    embedding: int
    heads: int
    kv_heads: int
    vocabulary: int
    kv_bytes_per_token: int
    chat_template: bool


def open_header(path: Path) -> Header:
    """Read the header of a local model, of all its parts if it is in several; raises
    FileNotFoundError or ConfigError."""
    parts = []
    for part in map(Path, gguf_parts(str(path))):
        if not part.is_file():
            raise FileNotFoundError(f"model file not found: {part}")
        with part.open("rb") as file:
            parts.append(read_header(file, str(part)))
    return joined(parts)


def joined(parts: Sequence[Header]) -> Header:
    """Return one header for a model in parts: the first part's metadata, the tensors of all.

    Raises ConfigError if the first one declares more files.
    """
    first = parts[0]
    count = first.values.get("split.count", 1)
    if isinstance(count, int) and count > len(parts):
        raise ConfigError(
            f"{first.name}: is one of {count} parts of a model; name the first part, with its "
            f"published name ending in -00001-of-{count:05}.gguf, with the others beside it"
        )
    return replace(
        first,
        tensors=tuple(tensor for part in parts for tensor in part.tensors),
        size=sum(part.size for part in parts),
    )


def read_header(file: BinaryIO, name: str) -> Header:
    """Read the header of an open file; ``name`` is for errors. Raises ConfigError if not a GGUF."""
    size = file.seek(0, 2)
    file.seek(0)
    reader = _Reader(file)
    try:
        if reader.read(4) != b"GGUF":
            raise ConfigError(f"{name}: not a GGUF file")
        version, tensors, pairs = reader.unpack("<IQQ")
        if version not in (2, 3):
            raise ConfigError(
                f"{name}: unsupported GGUF version {version}; versions 2 and 3 are supported"
            )
        values: dict[str, Value] = {}
        counts: dict[str, int] = {}
        for _ in range(pairs):
            key = reader.string()
            (kind,) = reader.unpack("<I")
            if kind == _ARRAY:
                kind, count = reader.unpack("<IQ")
                counts[key] = count
                if kind == _STRING:
                    reader.skip_strings(count)
                else:
                    values[key] = list(reader.unpack(f"<{count}{_SCALARS[kind]}"))
            else:
                values[key] = (
                    reader.string() if kind == _STRING else reader.unpack("<" + _SCALARS[kind])[0]
                )
        places = [_tensor(reader) for _ in range(tensors)]
    except (struct.error, KeyError, EOFError, UnicodeDecodeError, OverflowError) as error:
        raise ConfigError(f"{name}: invalid or truncated GGUF header") from error
    alignment = values.get("general.alignment", 32)
    step = alignment if isinstance(alignment, int) and alignment > 0 else 32
    start = -(-reader.place // step) * step
    return Header(name, values, counts, _sized(places, size - start, name), size)


def gguf_facts(header: Header) -> GgufFacts:
    """Return the key figures of a model."""
    heads, width = header.number("attention.head_count"), header.number("embedding_length")
    kv_heads = header.number("attention.head_count_kv", heads)
    per_head = width // heads if heads else 0
    key = header.number("attention.key_length", per_head)
    value = header.number("attention.value_length", per_head)
    layers = header.number("block_count")
    return GgufFacts(
        architecture=header.architecture,
        name=header.text("general.name"),
        megabytes=round(header.size / 1e6, 1),
        trained_context=header.number("context_length"),
        layers=layers,
        embedding=width,
        heads=heads,
        kv_heads=kv_heads,
        vocabulary=vocabulary(header),
        kv_bytes_per_token=layers * kv_heads * (key + value) * 2,
        chat_template=bool(header.text("tokenizer.chat_template")),
    )


def vocabulary(header: Header) -> int:
    """Return the vocabulary size."""
    return header.counts.get("tokenizer.ggml.tokens") or header.number("vocab_size")


class _Reader:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._buffer = b""
        self._at = 0
        self.place = 0

    def read(self, size: int) -> bytes:
        while len(self._buffer) - self._at < size:
            more = self._file.read(max(_BLOCK, size))
            if not more:
                raise EOFError
            self._buffer, self._at = self._buffer[self._at :] + more, 0
        found = self._buffer[self._at : self._at + size]
        self._at += size
        self.place += size
        return found

    def unpack(self, layout: str) -> tuple[int, ...]:
        return struct.unpack(layout, self.read(struct.calcsize(layout)))

    def string(self) -> str:
        return self.read(*self.unpack("<Q")).decode()

    def skip_strings(self, count: int) -> None:
        for _ in range(count):
            self.read(*self.unpack("<Q"))


def _tensor(reader: _Reader) -> tuple[int, str, tuple[int, ...]]:
    name = reader.string()
    (rank,) = reader.unpack("<I")
    dimensions = reader.unpack(f"<{rank}Q")
    _, offset = reader.unpack("<IQ")
    return offset, name, dimensions


def _sized(
    places: list[tuple[int, str, tuple[int, ...]]], length: int, name: str
) -> tuple[Tensor, ...]:
    """Compute each tensor's size from the start of the next, without a table of quantisations."""
    ordered = sorted(places)
    ends = [place[0] for place in ordered[1:]] + [length]
    if ordered and ends[-1] <= ordered[-1][0]:
        raise ConfigError(f"{name}: ends before its last tensor: the file is truncated")
    return tuple(
        Tensor(tensor, dimensions, end - start)
        for (start, tensor, dimensions), end in zip(ordered, ends, strict=True)
    )
