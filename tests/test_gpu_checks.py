"""The script for a machine with a card, on one without."""

from __future__ import annotations

import json

import pytest

from benchmarks import gpu_checks


def test_without_a_card_it_says_so_and_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu_checks, "card_memory", lambda: None)
    monkeypatch.setattr(gpu_checks, "checks", lambda *_: pytest.fail("there is nothing to check"))
    gpu_checks.main([])
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("no CUDA card is visible here")
    assert json.loads(said[-1]) == {"benchmark": "gpu_checks", "card_bytes": None, "ratios": {}}


@pytest.mark.weights
def test_its_measurements_run_on_a_cpu() -> None:
    found = gpu_checks.llama_speed("tiny", 2, 256, rehearse=True)
    assert found["tokens_per_s"] > 0
    assert found["buffers"] == 0
    assert found["planned"] > found["buffers_planned"] > 0
    onnx = gpu_checks.onnx_nodes(rehearse=True)
    assert onnx["nodes"]["CPUExecutionProvider"] > 50
    rows = [{"used": 90, "planned_to_used": 1.1, "sequences": n, "tokens_per_s": n} for n in (1, 8)]
    assert gpu_checks.ratios({"llama": {"1.5B": rows}})["1.5B: 8 sequences to 1"] == 8.0
    actors = [{"used": 5}, {"used": 7}]
    assert gpu_checks._held(actors, 7) is True
    assert gpu_checks._held(actors, 6) is False
    assert gpu_checks._held([*actors, {"used": None}], 7) is None
