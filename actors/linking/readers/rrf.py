"""RxNorm and UMLS in the Rich Release Format: RXNCONSO.RRF or MRCONSO.RRF, MRSTY.RRF beside it.

RxNorm: the concepts of RxNorm itself (SAB = RXNORM), with their term type (IN, BN, SCD, SBD...) as
type. UMLS: one concept a CUI in the wanted language, with semantic types (T047...) from MRSTY.
Suppressed and obsolete names are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from actors.linking.readers.delimited import lines
from actors.linking.vocabulary import Name, VocabularyError

_CONSO_FIELDS = 18
_CUI, _LAT, _TS, _STT, _ISPREF, _SAB, _TTY, _STR, _SUPPRESS = 0, 1, 2, 4, 6, 11, 12, 14, 16
_RXNORM_SYNONYMS = frozenset({"SY", "TMSY", "PSN", "ET"})
_LANGUAGES = {"en": "ENG", "es": "SPA", "fr": "FRE", "de": "GER", "it": "ITA", "pt": "POR"}


def read_rxnorm(path: Path) -> Iterator[Name]:
    """The names of RXNCONSO.RRF."""
    for number, row in _rows(path, _CONSO_FIELDS):
        if row[_SAB] != "RXNORM" or row[_SUPPRESS] not in ("N", ""):
            continue
        main = row[_TTY] not in _RXNORM_SYNONYMS
        types = (row[_TTY],) if main else ()
        yield Name(row[_CUI], row[_STR], str(path), number, preferred=main, types=types)


def read_umls(path: Path, language: str) -> Iterator[Name]:
    """The names of MRCONSO.RRF in a language, with types where MRSTY.RRF is beside it."""
    if language not in _LANGUAGES:
        raise VocabularyError(f"language {language!r}: there are {', '.join(_LANGUAGES)}")
    types = _semantic_types(path)
    wanted = _LANGUAGES[language]
    for number, row in _rows(path, _CONSO_FIELDS):
        if row[_LAT] != wanted or row[_SUPPRESS] not in ("N", ""):
            continue
        preferred = (row[_TS], row[_STT], row[_ISPREF]) == ("P", "PF", "Y")
        code = row[_CUI]
        yield Name(code, row[_STR], str(path), number, preferred, types.get(code, ()))


def _semantic_types(conso: Path) -> dict[str, tuple[str, ...]]:
    path = next(
        (
            beside
            for name in ("MRSTY.RRF", "MRSTY.RRF.gz")
            if (beside := conso.with_name(name)).exists()
        ),
        None,
    )
    found: dict[str, tuple[str, ...]] = {}
    if path is not None:
        for _, row in _rows(path, 6):
            found[row[0]] = (*found.get(row[0], ()), row[1])
    return found


def _rows(path: Path, fields: int) -> Iterator[tuple[int, list[str]]]:
    for number, line in lines(path):
        # Every field ends with a bar, the last one too.
        row = line.split("|")
        if len(row) != fields + 1:
            raise VocabularyError(f"{path}: row {number}: {len(row) - 1} fields, expected {fields}")
        yield number, row
