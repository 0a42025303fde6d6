"""The server against its peers: see benchmarks/serve_bench.py; its --help applies here too.

python benchmarks/serve.py [--peer-python /path/to/python] [--seconds 20] [--overload-s 60]
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    # With this folder first on the path, `import onnx` would find the benchmark of that name.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    runpy.run_module("benchmarks.serve_bench", run_name="__main__")
