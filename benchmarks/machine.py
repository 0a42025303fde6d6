"""The machine a benchmark ran on, as its result records it."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
_FEATURES = ("avx", "amx", "sse4", "asimd", "sve")


def result_file(name: str) -> Path:
    """Where the result of a benchmark whose outcome depends on the processor is kept: named after
    the widest instructions for integer products here."""
    features = machine()["features"]
    widest = ("amx_int8", "avx512_vnni", "avx512f", "avx_vnni", "avx2", "sve", "asimd")
    found = next((one for one in widest if one in features), "other")
    return RESULTS / f"{name}-{found}.json"


def machine() -> dict[str, Any]:
    """The processor's name, the instruction sets that numbers depend on, the number of cores, and
    the load average of the last minute."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    facts = {key.strip(): value.strip() for key, _, value in (x.partition(":") for x in lines)}
    flags = facts.get("flags", facts.get("Features", "")).split()
    return {
        "processor": facts.get("model name", platform.processor() or platform.machine()),
        "features": sorted(flag for flag in flags if flag.startswith(_FEATURES)),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
    }
