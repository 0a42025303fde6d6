"""The script for a machine with a GPU, on one without."""

from __future__ import annotations

import json

import pytest

from benchmarks import gpu_checks, gpu_peers


def test_gpu_checks_without_a_gpu_exit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu_checks, "gpu_memory", lambda: None)
    monkeypatch.setattr(gpu_checks, "checks", lambda *_: pytest.fail("there is nothing to check"))
    gpu_checks.main([])
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("no CUDA card is visible here")
    assert json.loads(said[-1]) == {"benchmark": "gpu_checks", "parse_gpu": None, "ratios": {}}


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


@pytest.mark.weights
def test_its_comparisons_run_on_a_cpu() -> None:
    half = gpu_peers.onnx_speed("fp16", rehearse=True)
    assert half["actor_tokens_per_s"] > 0
    assert half["session_tokens_per_s"] > 0
    ours = gpu_peers.engine_plain("tiny", 2, rehearse=True)
    theirs = gpu_peers.llama_alone("tiny", rehearse=True)
    assert ours["tokens"] == theirs["tokens"] == 4 * 8  # every request to its end
    for switch in gpu_peers.SWITCHES:
        row = gpu_peers.engine_switch("tiny", 2, switch, rehearse=True)
        assert row["switch"] == switch
        assert row["documents_per_s"] > 0


@pytest.mark.weights
def test_pictures_are_encoded_together_where_the_encoder_can() -> None:
    rounds = {
        (kind, together): gpu_peers.pictures_together(kind, together, True)["rounds_per_picture"]
        for kind in ("internvl", "qwen2vl")
        for together in (True, False)
    }
    assert rounds["internvl", True] < 1
    assert rounds["internvl", False] == rounds["qwen2vl", True] == rounds["qwen2vl", False] == 1


def test_ratios_name_both_sides() -> None:
    found = {
        "peers": {
            "onnx": [{"kind": "fp16", "ratio": 0.9}],
            "server": "llama-server",
            "7B": [
                {"llama": 1, "tokens_per_s": 50.0},
                {"medspan": 8, "tokens_per_s": 300.0},
                {"server": 8, "tokens_per_s": 250.0},
            ],
        },
        "engine": [
            {"switch": "all on", "documents_per_s": 4.0},
            {"switch": "no shared prefix", "documents_per_s": 2.0},
        ],
        "pictures": [
            {"encoder": "internvl", "pictures_per_s": 30.0},
            {"encoder": "internvl", "pictures_per_s": 10.0},
        ],
    }
    assert gpu_checks.ratios(found) == {
        "fp16: actor to session.run": 0.9,
        "7B at 8: to Llama alone": 6.0,
        "7B at 8: to llama-server": 1.2,
        "engine, no shared prefix": 0.5,
        "internvl: together to one by one": 3.0,
    }
