"""Pictures against their peer: see benchmarks/vision_bench.py; its --help applies here too.

python benchmarks/vision.py [--pictures 8] [--repeats 3] [--cache /tmp/medspan-bench]
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    # With this folder first on the path, `import gguf` would find the benchmark of that name.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    runpy.run_module("benchmarks.vision_bench", run_name="__main__")
