"""A pass that finds something else than what is live ends before its commit."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.enrich import Lake
from support.lake import FAILING
from support.without_ray import _without_ray  # noqa: F401

from pipelines.batch.run import DriftError
from pipelines.runs.profile import Profile

pytestmark = pytest.mark.usefixtures("_without_ray")

USUAL = "the patient takes aspirin "
OTHER = "nothing of note was found and there is no medication at all in this longer note "


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A sink of forty documents, and as many like them that are new."""
    made = Lake(tmp_path)
    made.write("a", *(f"a{i}" for i in range(40)), extra=USUAL)
    made.enrich()
    made.write("b", *(f"b{i}" for i in range(40)), extra=USUAL)
    return made


def limit(max_drift: float) -> dict[str, dict[str, float]]:
    return {"enrich": {"max_drift": max_drift}}


def test_documents_like_the_live_ones_are_committed(lake: Lake) -> None:
    assert lake.enrich(**limit(0.05))[0].outcome is not None
    assert len(lake.sink.committed()) == 2


def test_a_pass_that_drifts_stays_open_until_it_is_accepted(lake: Lake) -> None:
    lake.write("b", *(f"b{i}" for i in range(40)), extra=OTHER)
    with pytest.raises(DriftError) as caught:
        lake.enrich(**limit(0.05))
    assert "text: characters" in {
        f"{one.measure.group}: {one.measure.name}" for one in caught.value.drift.beyond(0.05)
    }
    assert "enrich.max_drift = 0.05" in str(caught.value)
    assert len(lake.sink.committed()) == 1
    assert lake.sink.open_runs() == [caught.value.run_id]
    with pytest.raises(DriftError) as again:
        lake.enrich(**limit(0.05))
    assert again.value.run_id == caught.value.run_id
    done, seen = lake.enrich(**limit(1))
    assert seen == 0, "its units were kept"
    assert done.outcome is not None
    assert done.outcome.run_id == caught.value.run_id
    profile = Profile.from_dict(lake.sink.marker(done.outcome.run_id)["profile"])
    assert profile.documents == 40


def test_a_run_that_drifts_can_be_discarded(lake: Lake) -> None:
    lake.write("b", *(f"b{i}" for i in range(40)), extra=OTHER)
    with pytest.raises(DriftError) as caught:
        lake.enrich(**limit(0.05))
    lake.sink.discard(caught.value.run_id)
    lake.write("b", *(f"b{i}" for i in range(40)), extra=USUAL)
    done, seen = lake.enrich(**limit(0.05))
    assert (seen, len(lake.sink.committed())) == (40, 2)
    assert done.outcome is not None


def test_failed_documents_that_are_tried_again_are_not_compared(lake: Lake) -> None:
    lake.write("b", *(f"b{i}" for i in range(40)), extra=f"{USUAL}{FAILING} ")
    lake.enrich()
    lake.forgive.touch()
    done, seen = lake.enrich(enrich={"max_drift": 0.0, "failed": "retry"})
    assert seen == 40
    assert done.outcome is not None


def test_documents_that_are_carried_over_are_not_measured_again(lake: Lake) -> None:
    lake.enrich()
    lake.write("b", *(f"b{i}" for i in range(40)), "b40", extra=USUAL)
    done, seen = lake.enrich()
    assert seen == 1
    assert done.outcome is not None
    assert done.outcome.marker["profile"]["documents"] == 1
