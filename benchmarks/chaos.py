"""Hundreds of kills: drivers, actors, workers and nodes, on a store that fails now and then.

After every committed run its rows are compared with those of an undisturbed model. The last line
of stdout is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=0.1, help="model seconds a document")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/chaos.json"))
    options = parser.parse_args()
    from s3_server import serving
    from test_chaos import DOCUMENTS, chaos

    from pipelines.storage import S3, Storage

    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="medspan-chaos-") as folder, serving() as server:
        Storage(s3=S3(endpoint=server.url, path_style=True, read_timeout_s=2)).apply()
        kills, runs = chaos(server, Path(folder), options.kills, options.seconds, options.seed)
        faults = server.counts()["faults"]
    result = {
        "benchmark": "chaos",
        "kills": dict(kills),
        "runs": runs,
        "documents_a_run": DOCUMENTS,
        "store_faults": faults,
        "documents_lost_or_doubled": 0,
        "seconds": round(time.monotonic() - started),
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
