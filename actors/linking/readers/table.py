"""Vocabularies of the user's own as CSV, TSV or Parquet.

One row a name: columns `code` and `term`, and where there are any `kind` (preferred or synonym),
`type` and `parents`. Or one row a concept: `code`, `preferred_name` and `synonyms`. Several
synonyms, types or parents of a row are separated by `|`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from actors.linking.readers.delimited import check_columns, delimited, with_header
from actors.linking.vocabulary import Name, VocabularyError

_PREFERRED = frozenset({"preferred", "pt", "pn", "p", "preferred term", "preferred name"})


def read_csv(path: Path) -> Iterator[Name]:
    """The names in a CSV file with a header."""
    return _names(path, with_header(path, delimited(path, ","), ("code",)))


def read_tsv(path: Path) -> Iterator[Name]:
    """The names in a TSV file with a header; quotes mean nothing in it."""
    return _names(path, with_header(path, delimited(path, "\t", quoted=False), ("code",)))


def read_parquet(path: Path) -> Iterator[Name]:
    """The names in a Parquet file; columns that are lists need no separator."""
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise VocabularyError(f"{path}: not Parquet: {error}") from error
    header = file.schema_arrow.names
    check_columns(path, header, ("code",))

    def rows() -> Iterator[tuple[int, dict[str, str]]]:
        number = 0
        for batch in file.iter_batches():
            for row in batch.to_pylist():
                number += 1
                yield number, {column: _field(value) for column, value in row.items()}

    return _names(path, rows())


def _field(value: object) -> str:
    if value is None:
        return ""
    return "|".join(map(str, value)) if isinstance(value, list) else str(value)


def _names(path: Path, rows: Iterator[tuple[int, dict[str, str]]]) -> Iterator[Name]:
    file = str(path)
    for number, row in rows:
        code = row["code"].strip()
        types, parents = _several(row.get("type")), _several(row.get("parents"))
        if "preferred_name" in row:
            term = row["preferred_name"].strip()
            yield Name(code, term, file, number, preferred=True, types=types, parents=parents)
            for synonym in _several(row.get("synonyms")):
                yield Name(code, synonym, file, number, types=types, parents=parents)
        elif "term" in row:
            kind = row.get("kind", "").strip().casefold()
            preferred = kind in _PREFERRED
            yield Name(code, row["term"].strip(), file, number, preferred, types, parents)
        else:
            raise VocabularyError(
                f"{path}: row 1: neither a column term (one row a name) nor preferred_name "
                f"(one row a concept); there are: {', '.join(row)}"
            )


def _several(field: str | None) -> tuple[str, ...]:
    if not field:
        return ()
    return tuple(part.strip() for part in field.split("|") if part.strip())
