"""LOINC's own table, Loinc.csv: one row a code, its class as type."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from actors.linking.readers.delimited import delimited, with_header
from actors.linking.vocabulary import Name

_PREFERRED = "LONG_COMMON_NAME"
_SYNONYMS = ("SHORTNAME", "DisplayName", "CONSUMER_NAME")


def read_loinc(path: Path) -> Iterator[Name]:
    """The names of codes that are not deprecated."""
    rows = with_header(path, delimited(path, ","), ("LOINC_NUM", _PREFERRED, "CLASS", "STATUS"))
    for number, row in rows:
        if row["STATUS"] == "DEPRECATED":
            continue
        code, types = row["LOINC_NUM"], (row["CLASS"],)
        yield Name(code, row[_PREFERRED], str(path), number, True, types)
        for column in _SYNONYMS:
            if term := row.get(column, "").strip():
                yield Name(code, term, str(path), number, False, types)
