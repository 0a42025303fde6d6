"""``medspan plan``: what fits, how many of each, how long, what to change first."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from support import tiny_onnx
from support.memory_models import Kind, Shape, write
from typer.testing import CliRunner

from actors.config import ConfigError
from actors.config.onnx import FolderWeights
from actors.linking import build_index, gather
from actors.linking.vocabulary import Name
from actors.memory import encoder_main_memory
from actors.onnx.text_embedding import TextEncoder
from pipelines.capacity import Demand, balanced, per_gpu, placed
from pipelines.cli.app import app

LARGE = Shape("qwen2", 1536, 28, 12, 2, 128, 8960, 151936, Kind.Q8_0, tied=True)
RATE, GPU_RATE = "--rate", "--gpu-rate"
STARTER = "starter-token-classifier"
STARTER_RATE = f"{STARTER}=60"


def _config(folder: Path, pools: str = "num_gpus: auto") -> Path:
    """A language model on GPUs and the starter on CPUs."""
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
    rates = (RATE, "llm=5", GPU_RATE, "llm=25", RATE, "starter-token-classifier=60")
    plan = _plan(
        _config(tmp_path), "--gpus", "4", "--docs", "40e6", "--price-per-hour", "4", *rates
    )
    llm, starter = plan["steps"]
    assert (llm["gpus"], llm["actors_per_gpu"], llm["actors"]) == (0.2, 5, 20)
    assert starter["actors"] == 2  # more would wait
    assert llm["needs_gb"]["KV cache"] == pytest.approx(2.114, abs=0.001)
    assert plan["documents_per_s"] == pytest.approx(100)
    assert (plan["slowest"], plan["bound"], plan["cpus"]) == ("llm", "gpus", 22)
    assert plan["hours"] == pytest.approx(40e6 / 100 / 3600)
    assert plan["cost"] == pytest.approx(40e6 / 100 / 3600 * 4)
    assert starter["busy"] == pytest.approx(100 / 120)
    # A smaller KV cache would let a GPU hold six, which would do no more than its 25.
    assert plan["changes"] == ["one more a10g: 125.0 documents/s instead of 100.0"]
    assert plan["notes"] == [
        "CPUs: assumes the 22 that the actors request (set --cpus to limit them)"
    ]


def test_more_actors_per_gpu_help_until_it_is_saturated(tmp_path: Path) -> None:
    rates = (RATE, "llm=5", GPU_RATE, "llm=40", RATE, "starter-token-classifier=600")
    plan = _plan(_config(tmp_path), "--gpus", "4", *rates)
    assert (plan["documents_per_s"], plan["bound"]) == (pytest.approx(100), "actors")
    # The KV cache is 2.1 of its 4.6 GB: of half of it a GPU holds six.
    assert plan["changes"][:2] == [
        "one more a10g: 125.0 documents/s instead of 100.0",
        "llm: an eight-bit KV cache (fraction 0.15): 120.0 documents/s instead of 100.0",
    ]


def test_actors_of_one_gpu_share_its_rate_by_default(tmp_path: Path) -> None:
    plan = _plan(_config(tmp_path), "--gpus", "4", RATE, "llm=5", RATE, STARTER_RATE)
    llm, _ = plan["steps"]
    assert plan["documents_per_s"] == pytest.approx(20)
    # One on each GPU would do as much, but Ray fills a GPU before it takes the next.
    assert llm["actors"] == 20
    assert llm["documents_per_s"] == pytest.approx(20)
    assert plan["changes"] == ["one more a10g: 25.0 documents/s instead of 20.0"]
    assert any("llm: assumes that one actor saturates its GPU" in note for note in plan["notes"])


def test_many_small_actors_have_the_rate_of_one_gpu(tmp_path: Path) -> None:
    path = _config(tmp_path)
    path.write_text(
        "name: p\nsource: {path: notes.jsonl}\nsink: {path: out}\nsteps:\n"
        "  - {model: 'starter:token-classifier', pool: {num_gpus: auto}}\n"
    )
    plan = _plan(path, RATE, "starter-token-classifier=3600")
    (step,) = plan["steps"]
    assert step["actors_per_gpu"] == 33
    assert (step["actors"], step["documents_per_s"]) == (1, 3600)
    plan = _plan(path, RATE, "starter-token-classifier=3600", GPU_RATE, f"{STARTER}=9000")
    (step,) = plan["steps"]
    assert (step["actors"], step["documents_per_s"]) == (3, pytest.approx(9000))
    # Of a GPU alone: each of the actors that it holds does its part.
    plan = _plan(path, GPU_RATE, f"{STARTER}=9000")
    (step,) = plan["steps"]
    assert (step["actors"], step["documents_per_s"]) == (33, pytest.approx(9000))
    with pytest.raises(ConfigError, match="a full GPU is at least as fast as one actor alone"):
        _plan(path, RATE, f"{STARTER}=10", GPU_RATE, f"{STARTER}=9")
    with pytest.raises(ConfigError, match="does not share a GPU"):
        _plan(_config(tmp_path), GPU_RATE, f"{STARTER}=9")


def test_on_cpus_the_cores_bound(tmp_path: Path) -> None:
    path = _config(tmp_path)
    path.write_text(
        "name: p\nsource: {path: notes.jsonl}\nsink: {path: out}\nsteps:\n"
        "  - {model: 'starter:token-classifier', pool: {num_cpus: 0.5, max_actors: 4}}\n"
    )
    # An actor of half a CPU has a thread all the same: eight cores run eight of them.
    plan = _plan(path, "--cpus", "8", RATE, f"{STARTER}=10")
    assert (plan["steps"][0]["actors"], plan["documents_per_s"]) == (8, 80)
    assert plan["changes"] == ["twice the CPUs: 160.0 documents/s instead of 80.0"]
    plan = _plan(path, RATE, f"{STARTER}=10")
    assert (plan["steps"][0]["actors"], plan["documents_per_s"]) == (4, 40)


def test_without_a_gpu_pools_run_on_cpus_or_request_one(tmp_path: Path) -> None:
    path = _config(tmp_path, "num_gpus: 0.5, cpu_fallback: true, fill_gpu: false")
    rates = (RATE, "llm=2", RATE, STARTER_RATE)
    result = CliRunner().invoke(app, ["plan", str(path), "--json", *rates], catch_exceptions=False)
    plan = json.loads(result.stdout)
    assert [step["gpus"] for step in plan["steps"]] == [0, 0]
    assert plan["documents_per_s"] == 2
    with pytest.raises(ConfigError, match=r"llm: pool\.num_gpus is auto: pass --gpu"):
        CliRunner().invoke(app, ["plan", str(_config(tmp_path))], catch_exceptions=False)


def test_the_table_is_whole_on_80_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    words = ["plan", str(_config(tmp_path)), "--gpu", "a10g:24", RATE, f"{STARTER}=123456"]
    shown = CliRunner().invoke(app, words, catch_exceptions=False).output
    assert STARTER in shown
    assert "493,824.0" in shown  # of four actors
    assert "…" not in shown


def test_requested_gpu_overrides_the_file(tmp_path: Path) -> None:
    plan = _plan(_config(tmp_path, "num_gpus: auto, gpu_memory_gb: 80"))
    assert plan["steps"][0]["gpus"] == 0.2


def test_without_figures_there_are_fractions_and_no_hours(tmp_path: Path) -> None:
    plan = _plan(_config(tmp_path))
    assert plan["hours"] is None
    assert plan["changes"] == []
    result = CliRunner().invoke(app, ["plan", str(_config(tmp_path)), "--gpu", "a10g:24"])
    assert "Hours are unknown" in result.output
    assert "weights 1.64" in result.output


def test_oversized_gpu_fraction_is_reported(tmp_path: Path) -> None:
    rates = (RATE, "llm=5", GPU_RATE, "llm=40", RATE, STARTER_RATE)
    plan = _plan(_config(tmp_path, "num_gpus: 0.5"), *rates)
    assert plan["documents_per_s"] == pytest.approx(10)
    assert any(
        change.startswith("llm: num_gpus: auto (fraction 0.")
        and "documents/s instead of 10.0" in change
        for change in plan["changes"]
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


def test_model_larger_than_the_gpu_is_rejected(tmp_path: Path) -> None:
    path = _config(tmp_path, "num_gpus: 0.1")
    with pytest.raises(ConfigError, match=r"llm: num_gpus 0\.1 of a GPU with 24\.0 GB"):
        _plan(path)
    with pytest.raises(ConfigError, match="one actor of each stage does not fit on 1 a10g and 1 C"):
        _plan(_config(tmp_path), "--cpus", "1")
    for wrong, message in [
        ("other=3", "unknown model; the pipeline has llm"),
        ("llm=", "expected MODEL=DOCS_PER_S"),
    ]:
        with pytest.raises(ConfigError, match=message):
            _plan(_config(tmp_path), RATE, wrong)


def test_no_step_starves_another() -> None:
    demands = [
        Demand("a", 0.5, 1, 10.0, gpu_rate=20.0),
        Demand("b", 0.2, 1, 4.0, gpu_rate=20.0),
        Demand("c", 0.0, 2, 50.0),
    ]
    found = balanced(demands, gpus=4, cpus=32)
    assert found is not None
    assert found.total is not None
    totals = (
        placed(demands, counts, 4, 32)
        for counts in product(range(1, 9), range(1, 21), range(1, 17))
    )
    best = max(one.total for one in totals if one is not None and one.total is not None)
    assert found.total >= 0.8 * best
    assert placed(demands, found.counts, 4, 32) == found
    assert balanced([Demand("a", 0.6, 1, 1.0)] * 3, gpus=2, cpus=None) is None
    alone = balanced([replace(demands[0], rate=None)], 2, None)
    assert alone is not None
    assert (alone.counts, alone.rates, alone.total) == ((1,), (None,), None)
    bounded = balanced([replace(demands[2], most=3)], 0, None)
    assert bounded is not None
    assert bounded.counts == (3,)


def test_stages_on_one_gpu_share_its_time() -> None:
    # A document takes a tenth of a second of the GPU in one step and a fifth in the other.
    both = [Demand("a", 0.3, 1, 10.0), Demand("b", 0.3, 1, 5.0)]
    found = balanced(both, gpus=1, cpus=None)
    assert found is not None
    assert found.total == pytest.approx(1 / 0.3)
    assert found.by_gpus
    assert found.rates == (10.0, 5.0)  # each by itself
    # Ray would put one of each on one GPU of two; a second of each takes the other.
    two = balanced(both, gpus=2, cpus=None)
    assert two is not None
    assert two.total is not None
    assert 1 / 0.3 < two.total <= 2 / 0.3 + 1e-9


def test_more_actors_do_not_raise_a_gpus_rate() -> None:
    for gpus, gpus, actors in product((0.03, 0.2, 0.5), (1, 3), (1, 4, 40)):
        done = placed([Demand("a", gpus, 0, 7.0)], [actors], gpus, None)
        if done is not None and done.total is not None:
            assert done.total <= gpus * 7.0 * (1 + 1e-9)
            assert done.total <= actors * 7.0
    # As many as fill both GPUs do what two GPUs do; as many as fill one, what one does.
    quarter = [Demand("a", 0.25, 0, 7.0)]
    assert placed(quarter, [8], 2, None) == balanced(quarter, 2, None)
    half = placed(quarter, [4], 2, None)
    assert half is not None
    assert half.total == 7.0


def test_a_large_machine_is_planned_at_once() -> None:
    small, large = Demand("a", 0.03, 1, 7.0, gpu_rate=100.0), Demand("b", 0.5, 1, 3.0)
    found = balanced([small, large], 64, None)
    assert found is not None
    assert found.total is not None
    assert found.total > 150


def test_fractions_pack_per_gpu() -> None:
    fractions = (0.25, 0.2, 0.34, 0.5, 1.0, 2.0, 0.0)
    assert [per_gpu(part) for part in fractions] == [4, 5, 2, 2, 1, 0, 0]
    half, fifth, wide = (Demand(n, g, 1, 1.0) for n, g in (("h", 0.5), ("f", 0.2), ("w", 2.0)))
    assert placed([half, fifth], [2, 4], 2, None)
    assert placed([half, fifth], [4, 0], 2, None)
    # 1.7 of 2, but on no GPU.
    assert not placed([half, Demand("s", 0.6, 1, 1.0)], [1, 2], 2, None)
    assert placed([wide], [1], 2, None)
    assert not placed([wide, fifth], [1, 1], 2, None)


def test_models_of_refining_stages_count_in_main_memory(tmp_path: Path) -> None:
    tokenizer = tiny_onnx.wordpiece()
    model = tiny_onnx.attention(tokenizer.get_vocab_size(), labels=16)
    weights = tiny_onnx.save(tmp_path / "names", model, tokenizer)
    (weights / "model.onnx_data").write_bytes(b"")  # belongs to no tensor: not counted
    encoder = TextEncoder(FolderWeights(model=str(weights)))
    names = [Name(f"C{at}", f"disease {at}", "list", at) for at in range(2000)]
    build_index(gather("own", "1", names), tmp_path, encoder)
    path = _config(tmp_path)
    path.write_text(
        path.read_text() + "linking: {vocabularies: [{index: own-1, labels: {Disease: []}, "
        "embedding: {weights: {model: names}}}]}\n"
        "context:\n  classifier:\n    weights: {model: names}\n"
        "    marks: ['[entity]', '[entity]']\n    labels: {PRESENT: []}\n"
    )

    found = {one["stage"]: one for one in _plan(path)["refining"]}

    parts = encoder_main_memory(weights)
    size = {name: (weights / name).stat().st_size for name in ("model.onnx", "tokenizer.json")}
    assert parts["weights"] > size["model.onnx"]
    assert parts["tokenizer"] > size["tokenizer.json"]
    expected = {part: round(value / 1e9, 3) for part, value in parts.items()}
    assert found["context"] == {"stage": "context", "needs_gb": expected, "shared_gb": {}}
    linking = found["linking"]
    assert linking["needs_gb"] == {f"own {part}": value for part, value in expected.items()}
    vectors = (tmp_path / "own-1" / "vectors.arrow").stat().st_size
    assert linking["shared_gb"]["own vectors"] == round(vectors / 1e9, 3)
    shown = CliRunner().invoke(app, ["plan", str(path), "--gpu", "a10g:24"]).output
    assert "linking needs about 0.02 GB (own weights 0.02, own tokenizer 0.00)" in shown
    assert "linking maps" in shown


def test_decoded_pages_count_in_the_main_memory_of_ocr(tmp_path: Path) -> None:
    path = _config(tmp_path, "num_gpus: auto, cpu_fallback: true")
    (tmp_path / "ocr.yaml").write_text("name: scans\nkind: ocr\npages: {max_megapixels: 20}\n")
    path.write_text(
        path.read_text().replace("path: notes.jsonl", "path: notes.jsonl, image: picture")
        + "ocr: {model: ocr.yaml, pool: {num_gpus: 0, num_cpus: 2}}\n"
    )

    scans, *others = _plan(path)["steps"]

    assert set(scans["main_gb"]) == {"decoding", "pages", "networks"}
    assert 3 < scans["main_gb"]["decoding"] < 4  # one page at its limit, two that wait
    assert [step["main_gb"] for step in others] == [None, None]
    shown = CliRunner().invoke(app, ["plan", str(path), "--gpu", "a10g:24"]).output
    assert "scans needs at most" in shown


def test_a_vocabulary_without_a_model_is_mapped_only(tmp_path: Path) -> None:
    path = _config(tmp_path)
    path.write_text(
        path.read_text() + "linking: {vocabularies: [{index: 'starter:drugs', labels: {Drug: []}}]}"
    )

    (linking,) = _plan(path)["refining"]

    assert linking["needs_gb"] == {}
    assert linking["shared_gb"]["drugbank index"] > 0.003


def test_plans_without_refining_stages_have_no_such_memory(tmp_path: Path) -> None:
    assert _plan(_config(tmp_path))["refining"] == []
