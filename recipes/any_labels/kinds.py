"""Kinds of disease, from the codes of linked corpora: labels that no corpus has as such."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import yaml

HERE = Path(__file__).parent
SOURCES = {
    "bc5cdr_kinds": "bc5cdr_linked",
    "biored_kinds": "biored",
    "codiesp_kinds": "codiesp_es",
}
"""A corpus of kinds to the linked corpus that it is made from."""
DISEASES = {"Disease", "DiseaseOrPhenotypicFeature", "DIAGNOSTICO"}


def names() -> dict[str, list[str]]:
    """Kind to its names: its own, synonyms, and last a definition."""
    return {kind: found["names"] for kind, found in _read().items()}


class Kinds:
    """The kind of a MeSH or an ICD-10 code. ``vocabulary``: mesh_diseases.tsv.gz."""

    def __init__(self, vocabulary: Path) -> None:
        kinds = _read()
        of_branch = {branch: kind for kind, one in kinds.items() for branch in one["mesh"]}
        self._starts = {start: kind for kind, one in kinds.items() for start in one["icd10"]}
        self._mesh: dict[str, str] = {}
        with gzip.open(vocabulary, "rt", encoding="utf-8") as file:
            for line in file:
                code, *_, branch = line.rstrip("\n").split("\t")
                if (kind := of_branch.get(branch.removeprefix("MeSH "))) is not None:
                    self._mesh[code] = kind

    def rows(self, rows: Iterator[dict]) -> Iterator[dict]:
        """Rows with the diseases that have a kind, under that kind."""
        for row in rows:
            found = []
            for entity in row["entities"]:
                if entity["label"] in DISEASES:
                    spanish = entity["label"] == "DIAGNOSTICO"
                    kinds = {self._of(code, spanish) for code in entity["codes"]}
                    found += [entity | {"label": kind} for kind in sorted(kinds - {""})]
            yield row | {"entities": found}

    def _of(self, code: str, icd10: bool) -> str:
        if icd10:
            upper = code.upper()
            return self._starts.get(upper[:1]) or self._starts.get(upper[:2], "")
        return self._mesh.get(code.removeprefix("MESH:"), "")


def _read() -> dict:
    return yaml.safe_load((HERE / "kinds.yaml").read_text("utf-8"))
