"""Building an index: a folder of Arrow files that processes map into memory, and its manifest.

The same vocabulary gives the same bytes: words are numbered by their hash, names by the order of
the vocabulary, and all weights are integers.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
from array import array
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from actors.arrays import Int32Array
from actors.linking import term_keys
from actors.linking.grams import grams
from actors.linking.opposites import opposite
from actors.linking.substitutes import learn
from actors.linking.vectors import Encoder, write_vectors
from actors.linking.vocabulary import Vocabulary, VocabularyError
from actors.linking.wordclasses import LIGHT

FORMAT = 3
"""The layout of the files and what they hold (how names are cut into words); an index of another
one must be built again."""
MOST_LEFT_OUT = 60
"""Largest reduction of a word's weight, in percent, for a word that names often omit."""
LIGHT_SHARE = 60
"""Percent of its weight that a word keeps if it distinguishes little in any vocabulary."""
MANIFEST = "vocabulary.json"
_PART = re.compile(r"\w[\w.-]*")
TABLES = ("concepts", "types", "names", "words", "keys", "grams")

Hashes = npt.NDArray[np.uint64]


def build_index(vocabulary: Vocabulary, folder: Path, encoder: Encoder | None = None) -> Path:
    """The index of a vocabulary, as ``folder/<name>-<version>``; returns its path.

    ``encoder``: the index holds the vectors of all names, too.

    The folder appears whole or not at all. Raises VocabularyError where it exists, and for a name
    or version that cannot be part of a folder's name.
    """
    for part in (vocabulary.name, vocabulary.version):
        if not _PART.fullmatch(part):
            raise VocabularyError(
                f"{part!r}: a name or version has letters, digits, dots, dashes and "
                "underscores only"
            )
    target = folder / f"{vocabulary.name}-{vocabulary.version}"
    if target.exists():
        raise VocabularyError(f"{target} exists: an index never changes; choose another version")
    folder.mkdir(parents=True, exist_ok=True)
    scratch = folder / f".{target.name}.{os.getpid()}"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    try:
        digest = hashlib.sha256()
        names = _Names(vocabulary)
        for name, table in _tables(vocabulary, names).items():
            _write(table, scratch / f"{name}.arrow")
            with (scratch / f"{name}.arrow").open("rb") as written:
                while block := written.read(1 << 22):
                    digest.update(block)
        manifest: dict[str, Any] = {
            "format": FORMAT,
            "name": vocabulary.name,
            "version": vocabulary.version,
            "concepts": len(vocabulary.concepts),
            "terms": vocabulary.terms,
            "digest": digest.hexdigest(),
        }
        if encoder is not None:
            manifest["embedding"] = write_vectors(names.terms, encoder, scratch)
        (scratch / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def _tables(vocabulary: Vocabulary, names: _Names) -> dict[str, pa.Table]:
    return {
        "concepts": _concepts(vocabulary),
        "types": pa.table({"type": pa.array(_types(vocabulary), pa.string())}),
        "names": names.table(),
        "words": names.words(),
        "keys": names.keys(),
        "grams": names.grams(),
    }


def _types(vocabulary: Vocabulary) -> list[str]:
    return sorted({name for concept in vocabulary.concepts for name in concept.types})


def _concepts(vocabulary: Vocabulary) -> pa.Table:
    concepts = vocabulary.concepts
    place = {concept.code: at for at, concept in enumerate(concepts)}
    type_of = {name: at for at, name in enumerate(_types(vocabulary))}
    return pa.table(
        {
            "code": pa.array([concept.code for concept in concepts], pa.string()),
            "term": pa.array([concept.terms[0] for concept in concepts], pa.string()),
            "types": pa.array(
                [[type_of[name] for name in one.types] for one in concepts], pa.list_(pa.int32())
            ),
            "parents": pa.array(
                [[place[code] for code in one.parents] for one in concepts], pa.list_(pa.int32())
            ),
        }
    )


class _Names:
    """All names of a vocabulary as word ids, and what is found by them."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.terms: list[str] = []
        """Each name as the vocabulary writes it."""
        first_seen: dict[str, int] = {}
        flat, lengths, concept_of, key_names = array("i"), array("i"), array("i"), array("i")
        preferred, keys = array("b"), array("Q")
        for at, concept in enumerate(vocabulary.concepts):
            # Terms of one concept that have the same stems, such as plurals and inversions, are one
            # name: similar names are searched among half as many.
            name_of: dict[frozenset[str], int] = {}
            for place, term in enumerate(concept.terms):
                name_words = term_keys.words(term)
                stems = term_keys.stems(name_words)
                name = name_of.setdefault(frozenset(stems), len(lengths))
                for one in _keys(name_words, stems):
                    keys.append(one)
                    key_names.append(name)
                if name < len(lengths):
                    continue
                distinct = list(dict.fromkeys(stems))
                flat.extend(first_seen.setdefault(stem, len(first_seen)) for stem in distinct)
                lengths.append(len(distinct))
                concept_of.append(at)
                preferred.append(place == 0)
                self.terms.append(term)
        self._spellings = list(first_seen)
        hashes = np.fromiter(
            map(term_keys.key, self._spellings), dtype=np.uint64, count=len(first_seen)
        )
        order = np.argsort(hashes, kind="stable")
        renumbered = np.empty(len(order), dtype=np.int32)
        renumbered[order] = np.arange(len(order), dtype=np.int32)
        self._order = order
        self._hashes = hashes[order]
        self._flat = renumbered[np.array(flat, dtype=np.int32)]
        self._starts = _starts(np.array(lengths, dtype=np.int32))
        self._concept_of = np.array(concept_of, dtype=np.int32)
        self._preferred = np.array(preferred, dtype=np.int8)
        self._keys = np.array(keys, dtype=np.uint64)
        self._key_names = np.array(key_names, dtype=np.int32)
        self._frequency = np.bincount(self._flat, minlength=len(order))
        spelt = [self._spellings[one] for one in order.tolist()]
        numbers = frozenset(at for at, word in enumerate(spelt) if word.isdigit())
        self._learned = learn(
            self._concepts(), numbers, lambda left, right: opposite(spelt[left], spelt[right])
        )
        self._weights = _weights(self._frequency, len(lengths))
        for word, share in self._learned.left_out.items():
            self._weights[word] -= self._weights[word] * min(share, MOST_LEFT_OUT) // 100
        for at, word in enumerate(spelt):
            if word in LIGHT:
                most = weight(int(self._frequency[at]), len(lengths)) * LIGHT_SHARE // 100
                self._weights[at] = min(self._weights[at], most)

    def table(self) -> pa.Table:
        """Names in order: their concept, whether preferred, their words and total weight."""
        summed = np.zeros(len(self._flat) + 1, dtype=np.int64)
        np.cumsum(self._weights[self._flat], out=summed[1:])
        totals = summed[self._starts[1:]] - summed[self._starts[:-1]]
        return pa.table(
            {
                "concept": self._concept_of,
                "preferred": self._preferred,
                "total": totals.astype(np.int32),
                "words": _lists(self._starts, self._flat),
            }
        )

    def words(self) -> pa.Table:
        """Words by hash: weight, the names that have them, and the words used in their place."""
        order = np.argsort(self._flat, kind="stable")
        name_of = np.repeat(np.arange(len(self._starts) - 1, dtype=np.int32), np.diff(self._starts))
        table = np.array(self._learned.words, dtype=np.int32).reshape(-1, 3)
        counts = np.bincount(table[:, 0], minlength=len(self._hashes)).astype(np.int32)
        starts = _starts(counts)
        spellings = [self._spellings[at] for at in self._order.tolist()]
        return pa.table(
            {
                "hash": self._hashes,
                "weight": self._weights,
                "spelling": pa.array(spellings, pa.string()),
                "grams": np.array([len(grams(one)) for one in spellings], dtype=np.int16),
                "names": _lists(_starts(self._frequency.astype(np.int32)), name_of[order]),
                "substitutes": _lists(starts, table[:, 1]),
                "similarities": _lists(starts, table[:, 2]),
            }
        )

    def keys(self) -> pa.Table:
        """Keys in order with their names; a key has several names where they fold alike."""
        order = np.lexsort((self._key_names, self._keys))
        keys, names = self._keys[order], self._key_names[order]
        new = np.ones(len(keys), dtype=bool)
        new[1:] = (keys[1:] != keys[:-1]) | (names[1:] != names[:-1])
        return pa.table({"key": keys[new], "name": names[new]})

    def grams(self) -> pa.Table:
        """Character trigrams in order, each with the words that have it."""
        found = [grams(self._spellings[at]) for at in self._order.tolist()]
        lengths = np.fromiter(map(len, found), dtype=np.int32, count=len(found))
        flat = np.fromiter(chain.from_iterable(found), dtype=np.int64, count=int(lengths.sum()))
        word_of = np.repeat(np.arange(len(found), dtype=np.int32), lengths)
        order = np.lexsort((word_of, flat))
        gram, counts = np.unique(flat, return_counts=True)
        return pa.table(
            {"gram": gram, "words": _lists(_starts(counts.astype(np.int32)), word_of[order])}
        )

    def _concepts(self) -> Iterable[list[list[int]]]:
        flat, starts = self._flat.tolist(), self._starts.tolist()
        bounds = np.flatnonzero(np.diff(self._concept_of, prepend=-1)).tolist()
        for first, end in zip(bounds, [*bounds[1:], len(starts) - 1], strict=True):
            yield [flat[starts[at] : starts[at + 1]] for at in range(first, end)]


def _keys(name_words: list[str], stems: list[str]) -> set[int]:
    """The keys of a name; the bare one only where it differs from the folded one."""
    found = {
        term_keys.exact_key(name_words),
        term_keys.folded_key(stems),
        term_keys.joined_key(name_words),
    }
    bare = term_keys.bare_stems(stems)
    if bare and len(bare) < len(stems):
        found.add(term_keys.bare_key(bare))
    return found


def _weights(frequency: npt.NDArray[np.intp], names: int) -> Int32Array:
    """Inverse document frequency in hundredths: rare words weigh most."""
    return np.fromiter(
        (weight(int(count), names) for count in frequency), dtype=np.int32, count=len(frequency)
    )


def weight(frequency: int, names: int) -> int:
    """The weight of a word that this many of all names have."""
    return 100 + round(100 * math.log((1 + names) / (1 + frequency)))


def _starts(lengths: Int32Array) -> Int32Array:
    starts = np.zeros(len(lengths) + 1, dtype=np.int32)
    np.cumsum(lengths, out=starts[1:])
    return starts


def _lists(starts: Int32Array, values: Any) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(starts), pa.array(np.ascontiguousarray(values)))


def _write(table: pa.Table, path: Path) -> None:
    table = table.combine_chunks()
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        for batch in table.to_batches():
            writer.write_batch(batch)
