"""Gold annotations in any of the formats that can hold them, from a file or a folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import fsspec

from pipelines.evaluate import GoldDocument, GoldError, load_gold
from pipelines.exchange.formats import GoldFormat
from pipelines.storage import store_errors

_BY_SUFFIX = {
    ".jsonl": GoldFormat.JSONL,
    ".ndjson": GoldFormat.JSONL,
    ".conll": GoldFormat.CONLL,
    ".bio": GoldFormat.CONLL,
    ".iob": GoldFormat.CONLL,
    ".ann": GoldFormat.BRAT,
    ".json": GoldFormat.LABEL_STUDIO,
    ".spacy": GoldFormat.DOCBIN,
}
_SUFFIXES = {
    format_: tuple(suffix for suffix, one in _BY_SUFFIX.items() if one is format_)
    for format_ in GoldFormat
}


@dataclass(frozen=True, slots=True)
class Gold:
    """Documents by id, in the order of their files, and what was not read as it stands."""

    documents: dict[str, GoldDocument]
    notes: Counter[str]


def read_gold(path: str, format_: GoldFormat | None = None) -> Gold:
    """Read a file or a folder; without a format, the suffix of the files tells it.

    Raises GoldError, which names the file and the place in it, and FileNotFoundError.
    """
    notes: Counter[str] = Counter()
    documents: dict[str, GoldDocument] = {}
    with store_errors():
        for document in _documents(path, format_, notes):
            try:
                before = documents.get(document.id)
                documents[document.id] = document if before is None else before.joined(document)
            except GoldError as error:
                raise GoldError(f"{path}: {error}") from None
    if not documents:
        raise GoldError(f"{path}: no annotated documents")
    return Gold(documents, notes)


def _documents(
    path: str, format_: GoldFormat | None, notes: Counter[str]
) -> Iterator[GoldDocument]:
    fs, root = fsspec.core.url_to_fs(path)
    if not fs.exists(root):
        raise FileNotFoundError(f"{path}: no such file or folder")
    folder = fs.isdir(root)
    names = sorted(fs.find(root)) if folder else [root]
    format_ = format_ or _format(path, names)
    if format_ is GoldFormat.BRAT:
        base = root if folder else str(PurePosixPath(root).parent)
        if not folder:  # an .ann file, and the text beside it
            names = [root, str(PurePosixPath(root).with_suffix(".txt"))]
            names = [name for name in names if fs.exists(name)]
        wanted = [n for n in names if n.endswith((".ann", ".txt", "/visual.conf"))]
        yield from _brat({_below(base, n): fs.cat_file(n) for n in wanted}, notes)
        return
    for name in names:
        if folder and not name.endswith(_SUFFIXES[format_]):
            continue
        shown = f"{path.rstrip('/')}/{_below(root, name)}" if folder else path
        if format_ is GoldFormat.JSONL:
            yield from load_gold(shown).values()
        else:
            yield from _read(format_, fs.cat_file(name), shown, notes)


def _brat(files: dict[str, bytes], notes: Counter[str]) -> Iterator[GoldDocument]:
    from pipelines.exchange.brat_reader import read_brat

    return read_brat(files, notes)


def _read(
    format_: GoldFormat, content: bytes, name: str, notes: Counter[str]
) -> Iterator[GoldDocument]:
    if format_ is GoldFormat.CONLL:
        from pipelines.exchange.conll import read_conll

        return read_conll(content, name)
    if format_ is GoldFormat.LABEL_STUDIO:
        from pipelines.exchange.label_studio_reader import read_label_studio

        return read_label_studio(content, name, notes)
    from pipelines.exchange.docbin import read_docbin

    return read_docbin(content, name)


def _format(path: str, names: list[Any]) -> GoldFormat:
    found = {_BY_SUFFIX[s] for n in names if (s := PurePosixPath(n).suffix) in _BY_SUFFIX}
    if len(found) != 1:
        known = ", ".join(_BY_SUFFIX)
        reason = "of several formats" if found else f"that ends in one of {known}"
        raise GoldError(
            f"{path}: {'files ' if found else 'no file '}{reason}; name the format with "
            "--gold-format"
        )
    return found.pop()


def _below(root: str, name: str) -> str:
    return name.removeprefix(root).lstrip("/")
