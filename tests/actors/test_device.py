"""GPUs and memory of a process; NVIDIA's library is replaced, so that no GPU is needed."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pynvml
import pytest

from actors.memory import gpu_memory, gpu_memory_used, main_memory_used


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two GPUs of 16 and 24 GB; this process holds 3 GB of the second."""
    sizes = {0: 16 * 10**9, 1: 24 * 10**9}
    processes = {
        0: [SimpleNamespace(pid=1, usedGpuMemory=5)],
        1: [
            SimpleNamespace(pid=1, usedGpuMemory=7),
            SimpleNamespace(pid=os.getpid(), usedGpuMemory=3 * 10**9),
        ],
    }
    named = {"GPU-b": 1}

    def by_index(index: int) -> int:
        if index not in sizes:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        return index

    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", by_index)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByUUID", named.__getitem__)
    monkeypatch.setattr(
        pynvml, "nvmlDeviceGetMemoryInfo", lambda handle: SimpleNamespace(total=sizes[handle])
    )
    monkeypatch.setattr(
        pynvml, "nvmlDeviceGetComputeRunningProcesses", lambda handle: processes[handle]
    )


@pytest.mark.usefixtures("gpus")
@pytest.mark.parametrize(
    ("visible", "total", "used"),
    [
        (None, 16 * 10**9, None),
        ("1", 24 * 10**9, 3 * 10**9),
        ("1,0", 24 * 10**9, 3 * 10**9),
        ("GPU-b", 24 * 10**9, 3 * 10**9),
        ("", None, None),
        ("-1", None, None),
        ("9", None, None),
    ],
)
def test_the_first_visible_gpu_is_asked(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, total: int | None, used: int | None
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert (gpu_memory(), gpu_memory_used()) == (total, used)


def test_without_a_driver_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", missing)
    assert (gpu_memory(), gpu_memory_used()) == (None, None)


def test_main_memory_is_counted() -> None:
    assert main_memory_used() > 10**7
