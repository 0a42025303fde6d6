"""Stages of a pipeline."""

from __future__ import annotations

import pytest

from actors.config import ConfigError, load_model
from actors.config.ocr import load_ocr
from pipelines.stages import Stage


@pytest.mark.parametrize("name", ["token-classifier", "any-labels", "extractor"])
def test_every_kind_of_model_finds_entities(name: str) -> None:
    config = load_model(f"starter:{name}")
    assert Stage(config.name, config, None).model is config


def test_a_reader_of_pictures_finds_none() -> None:
    with pytest.raises(ConfigError, match="ocr"):
        _ = Stage("ocr", load_ocr("starter:ocr"), None).model
