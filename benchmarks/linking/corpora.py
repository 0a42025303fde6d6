"""Gold mentions with codes, and the vocabularies they are looked up in."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from actors.relations.abbreviations import find_abbreviations


@dataclass(frozen=True, slots=True)
class Task:
    """The mentions of some labels of a set, looked up in a vocabulary.

    ``prefix`` goes before gold codes that have none.
    """

    corpus: str
    labels: tuple[str, ...]
    vocabulary: str
    prefix: str = ""
    drugs: bool = False

    @property
    def name(self) -> str:
        """Such as bc5cdr_linked/Disease@mesh_diseases."""
        labels = f"/{'+'.join(self.labels)}" if self.labels else ""
        return f"{self.corpus}{labels}@{self.vocabulary}"


TASKS = (
    Task("ncbi_disease_linked", (), "ctd_medic_2017_06", "MESH:"),
    Task("ncbi_disease_linked", (), "mesh_diseases"),
    Task("bc5cdr_linked", ("Disease",), "ctd_medic_2017_06", "MESH:"),
    Task("bc5cdr_linked", ("Disease",), "mesh_diseases"),
    Task("bc5cdr_linked", ("Chemical",), "drug_ner_names", "MESH:", drugs=True),
    Task("biored", ("DiseaseOrPhenotypicFeature",), "ctd_medic_2017_06", "MESH:"),
    Task("biored", ("ChemicalEntity",), "drug_ner_names", "MESH:", drugs=True),
    Task("hpo_gsc_plus", ("Phenotype",), "hpo"),
    Task("codiesp_es", ("DIAGNOSTICO",), "icd10cm_2026_04"),
)
WITHOUT_VOCABULARY = ("psytar", "medprocner_es", "spl_adr_200")
"""Sets with codes of vocabularies that are licensed: skipped, and named."""


@dataclass(frozen=True, slots=True)
class Mention:
    """A gold mention, where its text begins in the document, and its codes."""

    text: str
    start: int
    gold: frozenset[str]


@dataclass(frozen=True, slots=True)
class Abstract:
    """A document: its mentions, and the abbreviations that it defines."""

    text: str
    mentions: tuple[Mention, ...]
    abbreviations: dict[str, str]


def abstracts(data: Path, part: str, task: Task) -> list[Abstract] | None:
    """The documents of a task; None where the set is absent."""
    for ending in (".jsonl", ".jsonl.gz"):
        path = data / task.corpus / f"{part}{ending}"
        if path.exists():
            return list(_read(path, task))
    return None


def _read(path: Path, task: Task) -> Iterator[Abstract]:
    with path.open("rb") as stored:
        for line in gzip.GzipFile(fileobj=stored) if path.suffix == ".gz" else stored:
            document = json.loads(line)
            mentions = [
                Mention(entity["text"], entity["start"], gold)
                for entity in document["entities"]
                if not task.labels or entity["label"] in task.labels
                if (gold := _gold(entity, task.prefix))
            ]
            yield Abstract(document["text"], tuple(mentions), find_abbreviations(document["text"]))


def _gold(entity: dict[str, object], prefix: str) -> frozenset[str]:
    codes = entity.get("codes") or [entity.get("code")]
    assert isinstance(codes, list)
    known = [str(code) for code in codes if code not in (None, "", "-1")]
    return frozenset(code if ":" in code else prefix + code for code in known)


def ids(code: str) -> frozenset[str]:
    """The identifiers of a concept: a vocabulary may join those of several systems with ;."""
    return frozenset(code.split(";"))
