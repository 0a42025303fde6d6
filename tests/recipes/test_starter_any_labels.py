"""The starter that reads any labels, as it ships."""

from __future__ import annotations

import pytest

from actors import Document, load_extractor
from actors.guideline import Guideline

pytestmark = pytest.mark.weights

NOTES = [
    "The patient, a 54-year-old man with diabetes mellitus, was given metformin 500 mg daily.",
    "Haloperidol induced dystonia in 3 of 12 patients with schizophrenia.",
    "No fever. " * 120,
]


def test_a_document_does_not_depend_on_its_neighbours_in_eight_bits() -> None:
    with load_extractor("starter:any-labels") as extractor:
        together = extractor.extract(Document(str(n), text) for n, text in enumerate(NOTES))
        for n, text in enumerate(NOTES):
            (alone,) = extractor.extract([Document("alone", text)])
            assert alone.entities == together[n].entities


def test_labels_of_a_request_are_found() -> None:
    asked = Guideline.model_validate({"name": "r", "labels": {"chemical": None, "disease": None}})
    with load_extractor("starter:any-labels") as extractor:
        found = extractor.submit(Document("1", NOTES[1]), asked).result()
    assert ("Haloperidol", "chemical") in {(e.text, e.label) for e in found.entities}
    assert "disease" in {e.label for e in found.entities}
