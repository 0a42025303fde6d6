"""The sdist and the wheel work outside a clone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from support import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.weights]

PACKAGES = ("actors", "pipelines")


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An sdist of a copy of the sources, and the wheel that is built of the sdist alone."""
    pytest.importorskip("build")
    folder = tmp_path_factory.mktemp("distributions")
    source, built = folder / "source", folder / "dist"
    source.mkdir()
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    subprocess.run([sys.executable, "-m", "build", "-o", built, source], cwd=folder, check=True)
    (sdist,), (wheel,) = built.glob("*.tar.gz"), built.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def medspan(distributions: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of a fresh environment with the wheel. Its other packages are those of this
    environment, reached by a path: an editable install of the clone is no path, and so not there.
    """
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=False)
    python = folder / "bin/python"
    install = ["--python", str(python), "install", "-q", "--no-deps", str(distributions[1])]
    subprocess.run([sys.executable, "-m", "pip", *install], cwd=folder, check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin/medspan"


def run(command: Path, *words: str, folder: Path) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [command, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_both_have_every_file_of_the_packages(distributions: tuple[Path, Path]) -> None:
    """A file that a distribution lacks would fail only when somebody uses it."""
    sdist, wheel = distributions
    with tarfile.open(sdist) as archive:
        in_sdist = _in_packages(name.partition("/")[2] for name in archive.getnames())
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = _in_packages(archive.namelist())
    here = _in_packages(
        str(file.relative_to(ROOT))
        for package in PACKAGES
        for file in (ROOT / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    )
    assert here <= in_sdist
    assert here == in_wheel


def _in_packages(names: Iterable[str]) -> set[str]:
    return {name for name in names if name.startswith(tuple(f"{one}/" for one in PACKAGES))}


def test_the_installed_command(medspan: Path, tmp_path: Path) -> None:
    python = medspan.parent / "python"
    where = "import actors, pipelines; print(actors.__file__, pipelines.__file__)"
    places = run(python, "-c", where, folder=tmp_path).split()
    assert all(Path(place).is_relative_to(medspan.parent.parent) for place in places)
    assert "Usage: medspan" in run(medspan, "--help", folder=tmp_path)
    note = "Metformin 500 mg twice daily for type 2 diabetes."
    assert "Metformin" in run(medspan, "extract", note, folder=tmp_path)
    assert '"$defs"' in run(medspan, "schema", "pipeline", folder=tmp_path)


def test_a_pipeline_with_everything_that_ships(medspan: Path, tmp_path: Path) -> None:
    """Lexicons, rules and vocabularies are files of the packages, too."""
    pytest.importorskip("ray")
    (tmp_path / "clinic.yaml").write_text(
        "name: clinic\n"
        "source: {path: notes/}\n"
        'steps: [{model: "starter:token-classifier"}]\n'
        "context: {}\n"
        "relations: {}\n"
        "linking: {vocabularies: [{index: 'starter:drugs', labels: {Drug: []}}]}\n"
        "sink: {path: out/}\n"
    )
    note = "No diabetes. Metformin 500 mg twice daily."
    said = run(medspan, "extract", "-p", "clinic.yaml", note, "--json", folder=tmp_path)
    assert "DB00331" in said
    assert '"negated"' in said
