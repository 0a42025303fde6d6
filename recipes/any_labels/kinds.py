"""Kinds of disease as labels: corpora made from the codes of linked ones.

    python kinds.py DATA VOCABULARY WORK

Writes ``WORK/<corpus>/{train,dev}.jsonl``, each disease under the name of its kind, which
``kinds.yaml`` finds by its MeSH or ICD-10 code. VOCABULARY: mesh_diseases.tsv.gz.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import yaml
from corpora import KINDS, read

SOURCES = dict(zip(KINDS, ("bc5cdr_linked", "biored", "codiesp_es"), strict=True))
"""A corpus of kinds to the linked corpus that it is made from."""
DISEASES = {"Disease", "DiseaseOrPhenotypicFeature", "DIAGNOSTICO"}


class Kinds:
    """The name of a code's kind."""

    def __init__(self, vocabulary: Path) -> None:
        kinds = yaml.safe_load((Path(__file__).parent / "kinds.yaml").read_text("utf-8"))
        named = [(one["names"][0], one) for one in kinds]
        of_branch = {branch: name for name, one in named for branch in one["mesh"]}
        self._starts = {start: name for name, one in named for start in one["icd10"]}
        self._mesh: dict[str, str] = {}
        with gzip.open(vocabulary, "rt", encoding="utf-8") as file:
            for line in file:
                code, *_, branch = line.rstrip("\n").split("\t")
                if (name := of_branch.get(branch.removeprefix("MeSH "))) is not None:
                    self._mesh[code] = name

    def rows(self, rows: Iterator[dict]) -> Iterator[dict]:
        """Rows with the diseases that have a kind, under its name."""
        for row in rows:
            found = []
            for entity in row["entities"]:
                if entity["label"] in DISEASES:
                    icd10 = entity["label"] == "DIAGNOSTICO"
                    names = {self._of(code, icd10) for code in entity["codes"]}
                    found += [entity | {"label": name} for name in sorted(names - {""})]
            yield row | {"entities": found}

    def _of(self, code: str, icd10: bool) -> str:
        if icd10:
            upper = code.upper()
            return self._starts.get(upper[:1]) or self._starts.get(upper[:2], "")
        return self._mesh.get(code.removeprefix("MESH:"), "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("data", "vocabulary", "work"):
        parser.add_argument(name, type=Path)
    given = parser.parse_args()
    kinds = Kinds(given.vocabulary)
    for name, source in SOURCES.items():
        (given.work / name).mkdir(parents=True, exist_ok=True)
        for part in ("train", "dev"):
            with (given.work / name / f"{part}.jsonl").open("w", encoding="utf-8") as out:
                for row in kinds.rows(read(given.data, source, part)):
                    out.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
