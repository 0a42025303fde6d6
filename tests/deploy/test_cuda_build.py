"""llama.cpp is configured and compiled for CUDA by the documented commands, where nvcc is present.

What is built is not run: no GPU is needed. A toolkit without cuBLAS, such as that of the packages
on PyPI, gets it from the package of its version.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from support import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed"),
]
_ONE_ARCHITECTURE = "-DCMAKE_CUDA_ARCHITECTURES=90-real"


def _documented() -> Mapping[str, str]:
    """CMAKE_ARGS of the page for a machine with a GPU, and of the image, which is built without."""
    page = (ROOT / "docs/how-to/gpu-cluster.md").read_text()
    image = (ROOT / "configs/deploy/Dockerfile").read_text().replace("${GGML_CUDA}", "on")
    (of_page,) = re.findall(r'^\$ CMAKE_ARGS="([^"]*)" pip install --no-cache-dir ', page, re.M)
    (of_image,) = re.findall(r'CMAKE_ARGS="([^"]*)"', image)
    return {"page": of_page, "image": of_image}


def _pip(*words: str | Path, environment: Mapping[str, str]) -> None:
    command = [sys.executable, "-m", "pip", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Variables with which CMake finds all of a CUDA toolkit."""
    folder = tmp_path_factory.mktemp("cuda")
    libraries = folder / "lib"
    libraries.mkdir()
    found = {**os.environ, "CMAKE_LIBRARY_PATH": str(libraries)}
    found.pop("PYTHONPATH", None)
    said = subprocess.run(["nvcc", "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"release (\d+)\.(\d+)", said)
    assert version is not None, said
    major, minor = int(version[1]), int(version[2])
    root = Path(os.environ.get("CUDA_PATH", "/usr/local/cuda"))
    if not list(root.rglob("libcublas.so")):
        name = "nvidia-cublas" if major >= 13 else f"nvidia-cublas-cu{major}"
        wanted = f"{name}>={major}.{minor},<{major}.{minor + 1}"
        _pip("download", "-q", "--no-deps", "-d", folder, wanted, environment=found)
        (wheel,) = folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        (header,) = folder.rglob("cublas_v2.h")
        found["CPATH"] = str(header.parent)
        for file in header.parent.parent.glob("lib/*.so.*"):
            (libraries / f"{file.name.partition('.so')[0]}.so").symlink_to(file)
    if not list(root.rglob("libcuda.so")):
        # NVIDIA's toolkits have a stub of the driver's library to link with; some packages do not.
        stub = ["gcc", "-shared", "-x", "c", "/dev/null", "-o", str(libraries / "libcuda.so")]
        subprocess.run(stub, check=True)
    return found


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("where", ["page", "image"])
def test_cmake_accepts_the_documented_settings(
    where: str, environment: Mapping[str, str], tmp_path: Path
) -> None:
    """The page compiles for the GPU at hand, the image for those that may come."""
    wanted = ["--no-deps", "--no-binary", "llama-cpp-python", "-c", str(ROOT / "constraints.txt")]
    _pip("download", *wanted, "-d", tmp_path, "llama-cpp-python", environment=environment)
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    command = ["cmake", "-S", str(sdist).removesuffix(".tar.gz"), "-B", str(tmp_path / "build")]
    done = subprocess.run(
        [*command, *_documented()[where].split()],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Including CUDA backend" in done.stdout
    assert ("90-virtual" in done.stdout) == (where == "image")


@pytest.mark.timeout(6 * 3600)
def test_the_documented_build_compiles_for_one_architecture(
    environment: Mapping[str, str], tmp_path: Path
) -> None:
    """Hours on one core: ggml's CUDA backend has 144 sources."""
    settings = {"CMAKE_ARGS": f"{_documented()['page']} {_ONE_ARCHITECTURE}"}
    wanted = ["--no-deps", "--no-cache-dir", "--no-binary", "llama-cpp-python"]
    wanted += ["-c", str(ROOT / "constraints.txt"), "-w", str(tmp_path)]
    _pip("wheel", *wanted, "llama-cpp-python", environment={**environment, **settings})
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith("libggml-cuda.so")]
        assert names, archive.namelist()
        library = archive.read(names[0])
    assert b".nv_fatbin" in library
    assert b"libcublas.so" in library
