"""``medspan models``: fetch, verify, describe."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.gguf_models import make
from typer.testing import CliRunner

from actors.weights import digest
from pipelines.cli.app import app

pytestmark = pytest.mark.weights


def _model(folder: Path, sha256: str | None = None) -> tuple[Path, Path]:
    weights = make(folder / "m.gguf")
    lines = ["name: tiny", "kind: gguf", "weights:", f"  model: {weights}"]
    if sha256:
        lines.append(f"  sha256: {sha256}")
    lines += ["context: {n_ctx: 256, sequences: 2}", "prompt: {format: prose}"]
    path = folder / "m.yaml"
    path.write_text("\n".join(lines))
    return path, weights


def test_a_gguf_file_is_described_without_loading_it(tmp_path: Path) -> None:
    path, weights = _model(tmp_path)
    result = CliRunner().invoke(app, ["models", "describe", str(path), "--json"])
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert facts["architecture"] == "qwen2"
    assert facts["layers"] > 0
    assert facts["vocabulary"] > 100
    per_token = facts["layers"] * facts["kv_heads"] * 2 * (facts["embedding"] // facts["heads"]) * 2
    assert facts["kv_bytes_per_token"] == per_token
    assert facts["kv_cache_megabytes"] == round(4 * 256 * per_token / 1e6, 1)
    assert facts["gpu_megabytes"] < facts["cpu_megabytes"] < 20
    assert facts["megabytes"] == round(weights.stat().st_size / 1e6, 1)


def test_the_starter_is_described_by_its_labels() -> None:
    result = CliRunner().invoke(app, ["models", "describe", "starter:token-classifier", "--json"])
    assert "B-Drug" in json.loads(result.stdout)["labels"]


def test_the_picture_starter_names_the_source_of_its_weights() -> None:
    done = CliRunner().invoke(app, ["models", "fetch", "starter:ocr"])
    assert done.exit_code != 0
    assert "ship with the package rapidocr" in str(done.exception)


def test_verify_prints_the_digest_and_refuses_another(tmp_path: Path) -> None:
    path, weights = _model(tmp_path)
    result = CliRunner().invoke(app, ["models", "verify", str(path)])
    assert digest(weights) in result.output
    wrong, _ = _model(tmp_path, "a" * 64)
    result = CliRunner().invoke(app, ["models", "verify", str(wrong)])
    assert result.exit_code != 0
    assert "SHA-256 of m.gguf is" in str(result.exception)


@pytest.mark.parametrize(
    ("template", "budget", "said"),
    [
        ("chatml", -1, "the model may open a block of at most half of the room that is left"),
        ("OPENS", 7, "the prompt opens a block of at most 7 tokens; the grammar begins after it"),
        ("OPENS", 0, "off: a block is closed as soon as it is open"),
        ("SWITCH", 0, "off: the prompt closes the block"),
        ("gguf {{ nothing(", -1, "unknown: the chat template is not Jinja"),
    ],
)
def test_describe_shows_how_the_prompt_handles_thinking(
    tmp_path: Path, template: str, budget: int, said: str
) -> None:
    turns = "{% for m in messages %}{{ m.content }}{% endfor %}"
    closed = "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}"
    written = {"OPENS": turns + "<think>", "SWITCH": turns + closed}
    content = {
        "name": "tiny",
        "kind": "gguf",
        "weights": {"model": str(make(tmp_path / "m.gguf"))},
        "prompt": {
            "format": "entity-list",
            "guideline": {"name": "g", "labels": {"DRUG": {}}},
            "chat_template": written.get(template, template),
            "reasoning_budget": budget,
        },
    }
    file = tmp_path / "m.yaml"
    file.write_text(json.dumps(content))  # JSON is YAML
    result = CliRunner().invoke(app, ["models", "describe", str(file), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["thinking"].startswith(said)
