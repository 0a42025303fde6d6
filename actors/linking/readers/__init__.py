"""Readers of vocabulary files; a file's name determines its format."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from actors.linking.readers import icd10cm, loinc, obo, rf2, rrf, table
from actors.linking.vocabulary import Name, VocabularyError

FORMATS = (
    "*.parquet, *.csv, *.tsv (columns code and term, or code and preferred_name), RXNCONSO.RRF, "
    "MRCONSO.RRF, sct2_Description_*.txt, *.obo, *.json (OBO Graphs), icd10cm_order_*.txt, *.xml "
    "(the tabular list of ICD-10-CM), Loinc.csv; text also as .gz"
)


def read(path: Path, language: str = "en") -> Iterator[Name]:
    """The names in a file; ``language`` (ISO 639-1) chooses where a format has several.

    Raises VocabularyError for a name of no known format, and for an invalid file.
    """
    if not path.is_file():
        raise VocabularyError(f"{path}: no such file")
    name = path.name.casefold().removesuffix(".gz")
    if name == "loinc.csv":
        return loinc.read_loinc(path)
    if name == "rxnconso.rrf":
        return rrf.read_rxnorm(path)
    if name == "mrconso.rrf":
        return rrf.read_umls(path, language)
    if name.startswith("sct2_description") and name.endswith(".txt"):
        return rf2.read_rf2(path, language)
    if name.startswith("icd10cm") and "order" in name and name.endswith(".txt"):
        return icd10cm.read_order(path)
    by_ending = {
        ".parquet": table.read_parquet,
        ".csv": table.read_csv,
        ".tsv": table.read_tsv,
        ".obo": obo.read_obo,
        ".json": obo.read_obo_json,
        ".xml": icd10cm.read_tabular,
    }
    for ending, reader in by_ending.items():
        if name.endswith(ending):
            return reader(path)
    raise VocabularyError(f"{path}: unknown format; known: {FORMATS}")
