"""A language model that its units cannot keep busy is named before the work."""

from __future__ import annotations

import logging

import pytest
from support.lake import pipeline

from actors.config import GgufModel, load_model
from pipelines.capacity.sequences import warn_of_idle_sequences
from pipelines.pool import Pool
from pipelines.stages import Stage


def _stage(sequences: int, units_in_flight: int) -> Stage:
    model = load_model("starter:extractor")
    assert isinstance(model, GgufModel)
    context = model.context.model_copy(update={"sequences": sequences})
    return Stage(
        model.name,
        model.model_copy(update={"context": context}),
        Pool(units_in_flight=units_in_flight),
    )


@pytest.mark.parametrize(
    ("sequences", "units_in_flight", "unit_rows", "warns"),
    [
        (32, 3, [8, 8, 8, 8], True),  # 24 documents at a time, 32 of them there
        (32, 4, [8, 8, 8, 8], False),
        (32, 3, [12, 12, 12], False),
        (32, 3, [8, 8], False),  # the source has no more: no setting would help
        (32, 3, [], False),
    ],
)
def test_units_that_leave_sequences_idle_are_a_warning(
    sequences: int,
    units_in_flight: int,
    unit_rows: list[int],
    warns: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = _stage(sequences, units_in_flight)
    warn_of_idle_sequences([stage], unit_rows)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == warns
    if warns:
        assert "starter-extractor: 3 units of at most 8 documents" in messages[0]
        assert "fewer than its 32 sequences; raise source.unit_rows" in messages[0]


def test_other_stages_have_no_sequences(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    warn_of_idle_sequences(pipeline("in", "out").stages, [1] * 100)
    assert not caplog.records
