"""The fields of a Spark NLP model: maps of words to numbers, in Spark's or JSON form.

A field is a folder: ``data.json``, or the part files of a Hadoop sequence file whose records are
Java arrays of pairs (Spark's ``saveAsObjectFile``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources.abc import Traversable
from itertools import chain

from actors.spark_nlp.java import Instance, NotJava, read_java

_MAGIC = b"SEQ\x06"
_PAIR = "scala.Tuple2"
_SYNC = 16
_MOST = 128 << 20
"""Maximum bytes of a field: a vocabulary of 250,000 words has about 20 million."""


class UnreadableField(ValueError):
    """A field that is in no form of Spark NLP: damaged, or encrypted."""


def read_numbers(folder: Traversable) -> dict[str, int]:
    """Read a field that maps words to numbers. Raises FileNotFoundError or UnreadableField."""
    if not folder.is_dir():
        raise FileNotFoundError(f"no field {folder.name}")
    try:
        found = _from_json(folder) if folder.joinpath("data.json").is_file() else _parts(folder)
        numbers = {str(word): _number(value) for word, value in found.items()}
    except (NotJava, ValueError, IndexError) as error:
        raise UnreadableField(f"field {folder.name}: {error}") from error
    if not numbers:
        raise UnreadableField(f"field {folder.name} is empty")
    return numbers


def _from_json(folder: Traversable) -> dict[object, object]:
    content = json.loads(_bounded(folder.joinpath("data.json"), _MOST))
    if not isinstance(content, dict):
        raise NotJava("data.json is not a JSON object")
    return dict(content)


def _parts(folder: Traversable) -> dict[object, object]:
    files = sorted(
        (file for file in folder.iterdir() if file.name.startswith("part-")),
        key=lambda file: file.name,
    )
    found: dict[object, object] = {}
    remaining = _MOST
    for file in files:
        data = _bounded(file, remaining)
        remaining -= len(data)
        found.update(chain.from_iterable(_pairs(read_java(record)) for record in _records(data)))
    return found


def _bounded(file: Traversable, limit: int) -> bytes:
    with file.open("rb") as stream:
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise NotJava(f"it is larger than {_MOST >> 20} MiB")
    return data


def _pairs(batch: object) -> Iterator[tuple[object, object]]:
    if not isinstance(batch, list):
        raise NotJava("a record that is not an array")
    for pair in batch:
        if not isinstance(pair, Instance) or not pair.name.startswith(_PAIR):
            raise NotJava("an array of other values than pairs")
        yield pair.fields.get("_1"), pair.fields.get("_2")


def _number(value: object) -> int:
    if isinstance(value, str) and value.lstrip("-").isdigit():
        return int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise NotJava("a word without a number")
    return value


def _records(data: bytes) -> Iterator[bytes]:
    """Yield the values of an uncompressed sequence file."""
    if not data.startswith(_MAGIC):
        raise NotJava("not a Hadoop sequence file")
    at = len(_MAGIC)
    for _ in range(2):  # the class names of keys and values
        at += 1 + data[at]
    if data[at] or data[at + 1]:
        raise NotJava("a compressed sequence file")
    at += 2
    entries, at = _int(data, at), at + 4
    if entries:
        raise NotJava("a sequence file with metadata")
    at += _SYNC
    while at < len(data):
        length, at = _int(data, at), at + 4
        if length == -1:  # a sync marker
            at += _SYNC
            continue
        key, at = _int(data, at), at + 4
        value = at + key
        size = _int(data, value)
        if length < 0 or key < 0 or size < 0 or value + 4 + size > len(data):
            raise NotJava("the sequence file is truncated or damaged")
        yield data[value + 4 : value + 4 + size]
        at += length


def _int(data: bytes, at: int) -> int:
    if at + 4 > len(data):
        raise NotJava("the sequence file is truncated or damaged")
    return int.from_bytes(data[at : at + 4], "big", signed=True)
