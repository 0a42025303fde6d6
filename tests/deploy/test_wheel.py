"""The wheel works outside a clone."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest
from support import ROOT


@pytest.mark.slow
@pytest.mark.weights
def test_a_wheel_has_all_that_a_note_needs(tmp_path: Path) -> None:
    """Built from a copy of the sources, unpacked elsewhere, and used with nothing of the clone."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("actors", "pipelines"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path, source],
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    unpacked = tmp_path / "unpacked"
    zipfile.ZipFile(wheel).extractall(unpacked)
    assert {"actors/py.typed", "pipelines/py.typed"} <= {
        str(file.relative_to(unpacked)) for file in unpacked.rglob("py.typed")
    }
    (info,) = unpacked.glob("*.dist-info")
    assert PathDistribution(info).version == wheel.name.split("-")[1]
    script = (
        f"import sys; sys.path.insert(0, {str(unpacked)!r})\n"
        "import actors, pipelines.cli\n"
        f"assert actors.__file__.startswith({str(unpacked)!r})\n"
        "sys.argv = ['medspan', 'extract', 'Metformin 500 mg twice daily.']\n"
        "pipelines.cli.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "Metformin" in done.stdout
