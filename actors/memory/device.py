"""Memory of the visible GPU and of this process, as reported by NVIDIA's driver and the system.

onnxruntime-gpu lists its CUDA provider even on machines without a GPU, so it is not a reliable
source.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pynvml


def gpu_memory() -> int | None:
    """Bytes of the first visible GPU (honours CUDA_VISIBLE_DEVICES), or None without one."""
    try:
        handle = _first_gpu()
        return None if handle is None else int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
    except pynvml.NVMLError:
        return None


def gpu_memory_used() -> int | None:
    """Bytes that this process uses on the first visible GPU, according to the driver; None without
    a GPU, or if the driver cannot see this process's id (a container may hide it)."""
    try:
        handle = _first_gpu()
        processes = () if handle is None else pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
    except pynvml.NVMLError:
        return None
    own = os.getpid()
    used = (one.usedGpuMemory for one in processes if one.pid == own)
    return next((int(size) for size in used if size is not None), None)


def main_memory_used() -> int:
    """Bytes of main memory that this process uses."""
    return int(psutil.Process().memory_info().rss)


def memory_by_place() -> dict[str, int]:
    """Bytes used by this process: "main memory", and "card" if the driver reports it."""
    card = gpu_memory_used()
    return {"main memory": main_memory_used()} | ({} if card is None else {"card": card})


def memory_growth(before: Mapping[str, int]) -> dict[str, int]:
    """Bytes by which this process has grown since ``before``, by place."""
    return {place: max(0, size - before.get(place, 0)) for place, size in memory_by_place().items()}


def cores() -> int:
    """Number of cores available to this process: its affinity, limited by a container's quota."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return min(len(os.sched_getaffinity(0)), _quota())
    return os.cpu_count() or 1


def _quota() -> int:
    """Whole cores of the container's CPU quota (cgroup v2 or v1); a large number without one."""
    folder = Path("/sys/fs/cgroup")
    try:
        quota, period = (folder / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (folder / "cpu/cpu.cfs_quota_us").read_text()
            period = (folder / "cpu/cpu.cfs_period_us").read_text()
        except OSError:
            return 1 << 20
    limited = quota.strip() not in ("max", "-1")
    return max(1, int(quota) // int(period)) if limited else 1 << 20


def _first_gpu() -> Any:
    """Return NVML's handle of the first visible GPU; None without a visible GPU or driver.

    NVML numbers GPUs by PCI bus id. CUDA does so with CUDA_DEVICE_ORDER=PCI_BUS_ID; by default it
    puts the fastest first, which differs only on machines with different GPUs.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    first = "0" if visible is None else visible.split(",")[0].strip()
    if not first or first == "-1":
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    with suppress(pynvml.NVMLError):
        if first.isdigit():
            return pynvml.nvmlDeviceGetHandleByIndex(int(first))
        return pynvml.nvmlDeviceGetHandleByUUID(first)  # GPU-... or MIG-...
    return None
