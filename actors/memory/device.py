"""What a process sees of the machine's card and of its own memory, asked of the drivers themselves.

onnxruntime-gpu lists its CUDA provider on machines without a card, too, so it cannot be asked.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any


def card_memory() -> int | None:
    """Bytes of the first visible card (CUDA_VISIBLE_DEVICES counts), or None without a card."""
    driver, device = _first_card()
    total = ctypes.c_size_t()
    if driver is None or driver.cuDeviceTotalMem_v2(ctypes.byref(total), device):
        return None
    return total.value


def card_used() -> int | None:
    """Bytes that this process holds on the first visible card, as the driver counts them; None
    without a card, or where the driver does not see this process's id (a container may hide it).
    """
    driver, device = _first_card()
    name = (ctypes.c_char * 16)()
    if driver is None or driver.cuDeviceGetUuid_v2(ctypes.byref(name), device):
        return None
    try:
        manager = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None
    handle = ctypes.c_void_p()
    digits = bytes(name).hex()
    cuts = (0, 8, 12, 16, 20, 32)
    parts = "-".join(digits[a:b] for a, b in pairwise(cuts))
    uuid = f"GPU-{parts}".encode()
    if manager.nvmlInit_v2() or manager.nvmlDeviceGetHandleByUUID(uuid, ctypes.byref(handle)):
        return None
    count = ctypes.c_uint(256)
    found = (_Process * count.value)()
    ask = manager.nvmlDeviceGetComputeRunningProcesses_v3
    if ask(handle, ctypes.byref(count), found):
        return None
    own = os.getpid()
    return next((int(p.used) for p in found[: count.value] if p.pid == own), None)


def main_memory_used() -> int:
    """Bytes of main memory that this process holds now; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):  # not on macOS
        return 0


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


class _Process(ctypes.Structure):
    """nvmlProcessInfo_t, version 2 of it, which the _v3 call fills."""

    _fields_ = (
        ("pid", ctypes.c_uint),
        ("used", ctypes.c_ulonglong),
        ("instance", ctypes.c_uint),
        ("compute", ctypes.c_uint),
    )


def _first_card() -> tuple[Any, ctypes.c_int]:
    device = ctypes.c_int()
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None, device
    if driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(device), 0):
        return None, device
    return driver, device
