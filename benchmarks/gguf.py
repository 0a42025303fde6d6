"""The GGUF backend against its peers: see benchmarks/gguf_bench.py, whose --help holds here too.

python benchmarks/gguf.py [--documents 32] [--repeats 3] [--cache /tmp/medspan-bench]
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    # With this folder first on the path, `import gguf` would find this file.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    runpy.run_module("benchmarks.gguf_bench", run_name="__main__")
