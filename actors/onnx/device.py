"""What a process sees of the machine's accelerators, asked of the CUDA driver itself.

onnxruntime-gpu lists its CUDA provider on machines without a card, too, so it cannot be asked.
"""

from __future__ import annotations

import ctypes


def card_memory() -> int | None:
    """Bytes of the first visible card (CUDA_VISIBLE_DEVICES counts), or None without a card."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    device, total = ctypes.c_int(), ctypes.c_size_t()
    if driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(device), 0):
        return None
    if driver.cuDeviceTotalMem_v2(ctypes.byref(total), device):
        return None
    return total.value
