"""``medspan plan``: what fits, how many of each, how long, what to change first."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from memory_models import Kind, Shape, write
from typer.testing import CliRunner

from actors.config import ConfigError
from pipelines.cli.app import app
from pipelines.plan import Demand, balanced, packs, per_card

LARGE = Shape("qwen2", 1536, 28, 12, 2, 128, 8960, 151936, Kind.Q8_0, tied=True)
RATE = "--rate"


def _config(folder: Path, pools: str = "num_gpus: auto") -> Path:
    """A language model on cards and the starter on CPUs."""
    write(folder / "m.gguf", LARGE)
    (folder / "llm.yaml").write_text(
        "name: llm\nkind: gguf\nweights: {model: m.gguf}\n"
        "context: {n_ctx: 4096, sequences: 16}\nprompt: {format: prose}\n"
    )
    (folder / "notes.jsonl").write_text(
        "\n".join(json.dumps({"text": f"Metformin {i} mg twice daily."}) for i in range(12))
    )
    path = folder / "p.yaml"
    path.write_text(
        "name: p\nsource: {path: notes.jsonl}\nsink: {path: out}\nsteps:\n"
        f"  - {{model: llm.yaml, pool: {{{pools}}}}}\n"
        "  - {model: 'starter:token-classifier', pool: {max_actors: 4}}\n"
    )
    return path


def _plan(path: Path, *more: str) -> dict[str, Any]:
    words = ["plan", str(path), "--gpu", "a10g:24", "--json", *more]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


def test_hours_and_cost_follow_from_the_slowest_step(tmp_path: Path) -> None:
    rates = (RATE, "llm=5", RATE, "starter-token-classifier=60")
    plan = _plan(
        _config(tmp_path), "--gpus", "4", "--docs", "40e6", "--price-per-hour", "4", *rates
    )
    llm, starter = plan["steps"]
    assert (llm["gpus"], llm["actors_per_card"], llm["actors"]) == (0.2, 5, 20)
    assert starter["actors"] == 2  # more would wait
    assert llm["needs_gb"]["KV cache"] == pytest.approx(2.114, abs=0.001)
    assert plan["documents_per_s"] == 100
    assert plan["slowest"] == "llm"
    assert plan["hours"] == pytest.approx(40e6 / 100 / 3600)
    assert plan["cost"] == pytest.approx(40e6 / 100 / 3600 * 4)
    assert starter["busy"] == pytest.approx(100 / 120)
    # The KV cache is 2.1 of its 4.6 GB: of half of it a card holds six.
    assert plan["changes"] == [
        "one more a10g: 125.0 documents/s instead of 100.0",
        "llm: an eight-bit KV cache (a fraction of 0.15): 120.0 documents/s instead of 100.0",
        *plan["changes"][2:],
    ]


def test_the_card_asked_for_counts_and_not_that_of_the_file(tmp_path: Path) -> None:
    plan = _plan(_config(tmp_path, "num_gpus: auto, card_gb: 80"))
    assert plan["steps"][0]["gpus"] == 0.2


def test_without_figures_there_are_fractions_and_no_hours(tmp_path: Path) -> None:
    plan = _plan(_config(tmp_path))
    assert plan["hours"] is None
    assert plan["changes"] == []
    result = CliRunner().invoke(app, ["plan", str(_config(tmp_path)), "--gpu", "a10g:24"])
    assert "Hours are unknown" in result.output
    assert "weights 1.64" in result.output


def test_a_fraction_that_is_more_than_needed_is_told(tmp_path: Path) -> None:
    rates = (RATE, "llm=5", RATE, "starter-token-classifier=60")
    plan = _plan(_config(tmp_path, "num_gpus: 0.5"), *rates)
    assert plan["documents_per_s"] == 10
    assert (
        "llm: num_gpus: auto (a fraction of 0.2): 25.0 documents/s instead of 10.0"
        in (plan["changes"])
    )


@pytest.mark.weights
def test_calibration_measures_what_can_run_here(tmp_path: Path) -> None:
    path = _config(tmp_path)
    content = path.read_text().replace("  - {model: llm.yaml, pool: {num_gpus: auto}}\n", "")
    path.write_text(content)
    plan = _plan(path, "--calibrate", "--sample", "8", "--tokens-per-doc", "600")
    (step,) = plan["steps"]
    assert step["documents_per_s"] > 0
    assert "8 documents of" in step["figures"]
    assert plan["hours"] is not None


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = _config(tmp_path, "num_gpus: 0.1")
    with pytest.raises(ConfigError, match=r"llm: num_gpus 0\.1 of a card of 24\.0 GB"):
        _plan(path)
    with pytest.raises(ConfigError, match="one actor of each step does not fit on 1 a10g and 1 C"):
        _plan(_config(tmp_path), "--cpus", "1")
    for wrong, message in [
        ("other=3", "the models of the steps are llm"),
        ("llm=", "write MODEL=DOCS_PER_S"),
    ]:
        with pytest.raises(ConfigError, match=message):
            _plan(_config(tmp_path), RATE, wrong)


def test_no_step_starves_another() -> None:
    demands = [
        Demand("a", 0.5, 1, 10.0),
        Demand("b", 0.2, 1, 4.0),
        Demand("c", 0.0, 2, 50.0),
    ]
    counts = balanced(demands, cards=4, cpus=32)
    assert packs(demands, counts, 4, 32)
    best = max(
        min(10.0 * a, 4.0 * b, 50.0 * c)
        for a, b, c in product(range(1, 9), range(1, 21), range(1, 17))
        if packs(demands, [a, b, c], 4, 32)
    )
    assert min(10.0 * counts[0], 4.0 * counts[1], 50.0 * counts[2]) >= 0.8 * best
    assert balanced([Demand("a", 0.6, 1, 1.0)] * 3, cards=2, cpus=None) == []
    assert balanced([replace(demands[0], rate=None)], 2, None) == [1]
    assert balanced([replace(demands[2], most=3)], 0, None) == [3]


def test_fractions_pack_by_card() -> None:
    assert [per_card(part) for part in (0.25, 0.2, 0.34, 0.5, 1.0, 2.0, 0.0)] == [
        4,
        5,
        2,
        2,
        1,
        0,
        0,
    ]
    half, fifth = Demand("h", 0.5, 1, 1.0), Demand("f", 0.2, 1, 1.0)
    assert packs([half, fifth], [2, 4], 2, None)
    assert packs([half, fifth], [4, 0], 2, None)
    assert not packs([half, Demand("s", 0.6, 1, 1.0)], [1, 2], 2, None)  # 1.7 of 2, but no card
    assert packs([Demand("w", 2.0, 1, 1.0)], [1], 2, None)
    assert not packs([Demand("w", 2.0, 1, 1.0), fifth], [1, 1], 2, None)
