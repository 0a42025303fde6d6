"""The base works without any extra, and what is missing is named by its extra."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from support import ROOT

from actors import extras

QUICKSTART = str(ROOT / "configs/quickstart.yaml")
GGUF = str(ROOT / "configs/quickstart-gguf.yaml")
PAGES = str(ROOT / "configs/quickstart-pages.yaml")
PICTURE = str(ROOT / "configs/samples/pages/form.webp")
TEXT = "Metformin 500 mg twice daily."

_BLOCKED = """
import sys
sys.modules.update(dict.fromkeys({modules!r}))  # importing them is ModuleNotFoundError
sys.argv = ["medspan", *{arguments!r}]
from pipelines.cli import main
main()
"""


def _without(missing: set[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """`medspan` with these arguments, in a process that lacks what these extras bring."""
    kept = {
        module for extra, ms in extras._MODULES.items() if extra not in missing for module in ms
    }
    modules = sorted({m for extra in missing for m in extras._MODULES[extra]} - kept)
    code = _BLOCKED.format(modules=modules, arguments=arguments)
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )


ALL = set(extras._MODULES)


@pytest.mark.weights
def test_the_base_extracts() -> None:
    done = _without(ALL, "extract", "--json", TEXT)
    assert done.returncode == 0, done.stderr
    assert "Metformin" in {entity["text"] for entity in json.loads(done.stdout)["entities"]}


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("models", "list"),
        ("models", "describe", "starter:extractor"),
        ("schema", "pipeline"),
        ("token", "somebody"),
    ],
)
def test_the_base_has_the_commands_that_run_nothing(arguments: tuple[str, ...]) -> None:
    done = _without(ALL, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("run", QUICKSTART), "lake"),
        (("run", QUICKSTART, "--dry-run"), "lake"),
        (("run", GGUF), "gguf,lake"),
        (("enrich", PAGES), "pages,lake"),
        (("serve", GGUF), "gguf,serve"),
        (("extract", "-m", "starter:extractor", TEXT), "gguf"),
        (("extract", "-f", PICTURE), "pages"),
        (("extract", "--url", "http://127.0.0.1:9", TEXT), "client"),
        (("plan", QUICKSTART, "--gpu", "L4"), "lake"),
        (("runs", "list", "nowhere"), "lake"),
        (("report", "nowhere"), "lake"),
    ],
)
def test_missing_package_names_its_extra(arguments: tuple[str, ...], named: str) -> None:
    done = _without(ALL, *arguments)
    assert done.returncode == 2
    assert f"pip install 'medspan[{named}]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.weights
def test_a_run_of_onnx_models_needs_only_the_lake(tmp_path: Path) -> None:
    done = _without(ALL - {"lake"}, "run", QUICKSTART, "--dry-run", "--sink", str(tmp_path))
    assert done.returncode == 0, done.stderr


def test_a_module_of_no_extra_is_no_missing_extra() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"), extras.optional_imports("it"):
        import no_such_module  # type: ignore[import-not-found]  # noqa: F401


def test_every_extra_is_known_and_all_has_them() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    assert set(optional) == ALL | {"all", "dev", "docs", "gcs", "azure", "smollm"}
    (everything,) = optional["all"]
    named = everything.removeprefix("medspan[").removesuffix("]").split(",")
    assert set(named) == ALL


def test_the_image_and_the_cluster_install_all() -> None:
    assert "'.[all]'" in (ROOT / "configs/deploy/Dockerfile").read_text()
    assert "medspan[all]" in (ROOT / "cluster.yaml").read_text()
