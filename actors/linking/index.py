"""An index opened: Arrow files mapped into memory, seen as numpy arrays without a copy.

All processes of a node that open one folder share its pages.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from actors.arrays import Int32Array
from actors.config.linking import Pooling
from actors.linking.build import FORMAT, MANIFEST, Hashes
from actors.linking.vectors import VECTORS_FILE, NameVectors
from actors.linking.vocabulary import VocabularyError


@dataclass(frozen=True, slots=True)
class EmbeddingManifest:
    """The metadata of the vectors of an index.

    ``model``: the digest of the model that computed them. ``digest``: that of their file.
    """

    model: str
    pooling: Pooling
    dimensions: int
    scale: int
    digest: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The metadata of an index; ``digest`` covers every byte of its tables.

    ``embedding``: None if the index has no vectors.
    """

    name: str
    version: str
    concepts: int
    terms: int
    digest: str
    embedding: EmbeddingManifest | None = None


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an index; raises VocabularyError where the folder holds none."""
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        layout = content.pop("format")
        embedding = content.pop("embedding", None)
        manifest = Manifest(**content, embedding=embedding and EmbeddingManifest(**embedding))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise VocabularyError(
            f"{path}: not a vocabulary index; build one with `medspan vocabulary build`"
        ) from error
    if layout != FORMAT:
        raise VocabularyError(
            f"{path}: format {layout}; this version reads {FORMAT}; build the index again"
        )
    return manifest


@dataclass(frozen=True, slots=True)
class Lists:
    """Lists of integers one after another: list i is values[starts[i]:starts[i + 1]]."""

    starts: Int32Array
    values: Int32Array

    def __getitem__(self, at: int) -> Int32Array:
        return self.values[self.starts[at] : self.starts[at + 1]]

    def several(self, places: Int32Array) -> tuple[Int32Array, Int32Array]:
        """The values of several lists in a row, and where each list begins among them."""
        starts = self.starts[places]
        lengths = self.starts[places + 1] - starts
        begins = np.cumsum(lengths, dtype=np.int32) - lengths
        offsets = np.repeat(starts - begins, lengths)
        return self.values[np.arange(len(offsets), dtype=np.int32) + offsets], begins


class _Strings:
    """A column of strings, of which one is read without the detour over an Arrow scalar."""

    def __init__(self, column: Any) -> None:
        _, offsets, content = column.buffers()
        # Indexing a memoryview gives Python's own integers, several times faster than numpy.
        self._starts = memoryview(offsets).cast("B").cast("i")[column.offset :]
        self._bytes = memoryview(content if content is not None else b"")

    def __getitem__(self, at: int) -> str:
        return str(self._bytes[self._starts[at] : self._starts[at + 1]], "utf-8")


class VocabularyIndex:
    """The tables of an index. Opening maps files and reads nothing else."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.manifest = read_manifest(folder)
        concepts = _open(folder, "concepts")
        self._codes, self._terms = _Strings(concepts["code"]), _Strings(concepts["term"])
        self.concept_types = _lists(concepts["types"])
        self.parents = _lists(concepts["parents"])
        self.types: list[str] = _open(folder, "types")["type"].to_pylist()
        names = _open(folder, "names")
        self.concept_of: Int32Array = _numbers(names["concept"])
        self.preferred: npt.NDArray[np.int8] = _numbers(names["preferred"])
        self.totals: Int32Array = _numbers(names["total"])
        self.name_words = _lists(names["words"])
        words = _open(folder, "words")
        self._word_hashes: Hashes = _numbers(words["hash"])
        self.weights: Int32Array = _numbers(words["weight"])
        self.gram_counts: npt.NDArray[np.int16] = _numbers(words["grams"])
        self.word_names = _lists(words["names"])
        self.substitutes = _lists(words["substitutes"])
        self.similarities = _lists(words["similarities"])
        self._spellings = _Strings(words["spelling"])
        keys = _open(folder, "keys")
        self._keys: Hashes = _numbers(keys["key"])
        self._key_names: Int32Array = _numbers(keys["name"])
        grams = _open(folder, "grams")
        self._grams: npt.NDArray[np.int64] = _numbers(grams["gram"])
        self.gram_words = _lists(grams["words"])

    def vectors(self) -> NameVectors:
        """The vectors of the names; raises VocabularyError where the index has none."""
        embedding = self.manifest.embedding
        if embedding is None:
            raise VocabularyError(
                f"{self._folder}: has no vectors of its names; build it with "
                "`medspan vocabulary build --embedding MODEL`"
            )
        column = _open(self._folder, VECTORS_FILE.removesuffix(".arrow"))["vector"]
        return NameVectors(column, embedding.scale)

    def code(self, concept: int) -> str:
        """The code of a concept."""
        return self._codes[concept]

    def term(self, concept: int) -> str:
        """The preferred name of a concept."""
        return self._terms[concept]

    def preferred_names(self, concepts: Int32Array) -> Int32Array:
        """The preferred names of concepts: the first of their names."""
        return self.concept_of.searchsorted(concepts).astype(np.int32)

    def names_of_key(self, key: int) -> Int32Array:
        """The names with a key, in the order of the vocabulary."""
        wanted = np.uint64(key)
        start = int(self._keys.searchsorted(wanted))
        end = start
        while end < len(self._keys) and self._keys[end] == wanted:
            end += 1
        return self._key_names[start:end]

    def word(self, hashed: int) -> int | None:
        """The number of the word with this hash; None where no name has it."""
        at = int(self._word_hashes.searchsorted(np.uint64(hashed)))
        known = at < len(self._word_hashes) and int(self._word_hashes[at]) == hashed
        return at if known else None

    def spelling(self, word: int) -> str:
        """The stem that a word number stands for."""
        return self._spellings[word]

    def gram_places(self, grams: list[int]) -> list[int]:
        """Return the positions in `gram_words` of those trigrams that occur in some word."""
        places = self._grams.searchsorted(np.array(grams, dtype=np.int64)).tolist()
        return [
            at
            for at, gram in zip(places, grams, strict=True)
            if at < len(self._grams) and self._grams[at] == gram
        ]


def _open(folder: Path, name: str) -> dict[str, Any]:
    path = folder / f"{name}.arrow"
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path), "r")).read_all()
    except (OSError, pa.ArrowInvalid) as error:
        raise VocabularyError(f"{path}: not readable: build the index again") from error
    return {
        column: table[column].chunk(0) if table.num_rows else table[column].combine_chunks()
        for column in table.column_names
    }


def _numbers(column: Any) -> Any:
    return column.to_numpy(zero_copy_only=True)


def _lists(column: Any) -> Lists:
    return Lists(_numbers(column.offsets), _numbers(column.values))
