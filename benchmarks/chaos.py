"""Hundreds of kills: drivers, actors, workers and nodes, on a store that fails now and then.

After every committed run its rows are compared with those of an undisturbed model. Hundreds of
kills take an hour: ``--append`` adds to what earlier slices with other seeds found. The last line
of stdout is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import traceback
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.machine import machine

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=0.1, help="model seconds a document")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--append", action="store_true", help="add to the file of --json")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/chaos.json"))
    options = parser.parse_args()
    slices: list[dict[str, Any]] = []
    if options.append and options.json.exists():
        slices = json.loads(options.json.read_text())["slices"]
    slices.append(_slice(options.kills, options.seconds, options.seed))
    kills: Counter[str] = Counter()
    for one in slices:
        kills += Counter(one["kills"])
    wrong = sum(one["wrong_documents"] for one in slices)
    checked = sum(one["runs"] * one["documents_a_run"] for one in slices)
    result = {
        "benchmark": "chaos",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "kills": dict(kills),
        "wrong_documents": wrong,
        "runs": sum(one["runs"] for one in slices),
        "slices": slices,
        "ratios": {"wrong_documents": wrong / checked},
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


def _slice(most: int, seconds: float, seed: int) -> dict[str, Any]:
    from support.chaos_runs import DOCUMENTS, chaos
    from support.s3_server import serving

    from pipelines.storage import S3, Storage

    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="medspan-chaos-") as folder, serving() as server:
        Storage(s3=S3(endpoint=server.url, path_style=True, read_timeout_s=2)).apply()
        found: dict[str, Any] = {"seed": seed, "kills": {}, "runs": 0, "wrong_documents": 0}
        try:
            for kills, runs, wrong in chaos(server, Path(folder), most, seconds, seed):
                found |= {"kills": dict(kills), "runs": runs, "wrong_documents": wrong}
        except AssertionError:
            raise  # a document that came out twice, or a driver that gave up
        except Exception:
            if not found["runs"]:
                raise
            # Such as a cluster that a busy machine did not start again: committed runs count.
            traceback.print_exc()
            found["ended_by"] = traceback.format_exc().splitlines()[-1]
        faults = server.counts()["faults"]
    return {
        **found,
        "documents_a_run": DOCUMENTS,
        "store_faults": faults,
        "seconds": round(time.monotonic() - started),
    }


if __name__ == "__main__":
    main()
