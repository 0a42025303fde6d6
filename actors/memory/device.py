"""The memory of the visible GPU and of this process, as NVIDIA's driver and the system count it.

onnxruntime-gpu lists its CUDA provider on machines without a GPU, too, so it cannot be asked.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pynvml


def card_memory() -> int | None:
    """Bytes of the first visible GPU (CUDA_VISIBLE_DEVICES counts), or None without one."""
    try:
        handle = _first_card()
        return None if handle is None else int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
    except pynvml.NVMLError:
        return None


def card_used() -> int | None:
    """Bytes that this process holds on the first visible GPU, as the driver counts them; None
    without a GPU, or where the driver does not see this process's id (a container may hide it).
    """
    try:
        handle = _first_card()
        found = () if handle is None else pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
    except pynvml.NVMLError:
        return None
    own = os.getpid()
    used = (one.usedGpuMemory for one in found if one.pid == own)
    return next((int(size) for size in used if size is not None), None)


def main_memory_used() -> int:
    """Bytes of main memory that this process holds now."""
    return int(psutil.Process().memory_info().rss)


def memory_held() -> dict[str, int]:
    """Bytes that this process holds now, by place: "main memory", and "card" where one says so."""
    card = card_used()
    return {"main memory": main_memory_used()} | ({} if card is None else {"card": card})


def taken_since(before: Mapping[str, int]) -> dict[str, int]:
    """Bytes that this process has grown by, by place, since it held so much."""
    return {place: max(0, size - before.get(place, 0)) for place, size in memory_held().items()}


def cores() -> int:
    """Cores that this process may run on: those of its affinity, and of a container's quota."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return min(len(os.sched_getaffinity(0)), _quota())
    return os.cpu_count() or 1


def _quota() -> int:
    """Whole cores of the container's quota (cgroup v2, or v1), a large number without one."""
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


def _first_card() -> Any:
    """NVML's handle of the first visible GPU; None where none is visible or there is no driver.

    NVML numbers GPUs by their place on the PCI bus. CUDA does so with CUDA_DEVICE_ORDER=PCI_BUS_ID;
    by default it puts the fastest first, which differs only on machines with unlike GPUs.
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
