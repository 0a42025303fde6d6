"""The extractor that ships: it loads from the package, answers verbatim, and takes any labels."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support import ROOT

import actors
from actors import Document, Extractor, Status
from actors.config import GgufModel, load_model
from actors.extractor import Share
from actors.guideline import Guideline
from actors.memory import cores
from pipelines.config import load_pipeline

pytestmark = pytest.mark.weights

THREADS = min(2, cores())
NOTE = (
    "The patient, a 58-year-old man, was admitted to Memorial Hospital on March 3, 2024 with chest "
    "pain and fever. He takes metformin 500 mg twice daily. A CT scan of the chest showed lung "
    "cancer."
)
ABSTRACT = (
    "Latanoprost 0.005% once daily was compared with timolol 0.5% twice daily in 268 patients with "
    "open-angle glaucoma. Intraocular pressure fell by 7.9 mmHg with latanoprost (P < 0.001)."
)


@pytest.fixture(scope="module")
def extractor() -> Iterator[Extractor]:
    with actors.load_extractor("starter:extractor", Share(threads=THREADS, gpu=0)) as loaded:
        yield loaded


def test_a_note_is_read_under_its_own_labels(extractor: Extractor) -> None:
    (said,) = extractor.extract([Document("note", NOTE)])
    assert said.status is Status.OK
    assert len(said.entities) >= 4
    for entity in said.entities:
        assert entity.start is not None
        assert entity.end is not None
        assert NOTE[entity.start : entity.end] == entity.text
        assert entity.score is not None
        assert 0 < entity.score <= 1
    assert {e.label for e in said.entities} <= set(_labels("starter:extractor"))


def _labels(name: str) -> list[str]:
    model = load_model(name)
    assert isinstance(model, GgufModel)
    assert isinstance(model.prompt.guideline, Guideline)
    return list(model.prompt.guideline.labels)


def test_other_labels_are_other_entities(extractor: Extractor) -> None:
    model = load_model("starter:extractor")
    content = model.model_dump(mode="json", exclude_unset=True)
    content["prompt"]["guideline"] = {"name": "trial", "labels": {"Drug": "", "PValue": ""}}
    with Extractor(GgufModel.model_validate(content), Share(threads=THREADS, gpu=0)) as other:
        (said,) = other.extract([Document("abstract", ABSTRACT)])
    assert said.status is Status.OK
    assert {e.label for e in said.entities} <= {"Drug", "PValue"}
    assert "latanoprost" in {e.text.casefold() for e in said.entities if e.label == "Drug"}


def test_the_quickstart_names_both_models() -> None:
    loaded = load_pipeline(ROOT / "configs/quickstart-gguf.yaml")
    assert [model.name for model in loaded.models] == [
        "starter-token-classifier",
        "starter-extractor",
    ]
