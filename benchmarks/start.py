"""How long until the first results: `medspan run` of three notes, beside a short Ray Data script.

    python benchmarks/start.py [--repeats 5]

Both are processes of their own, started in turns; neither has a Ray to join. The script does less:
it reads the same file, runs the same ONNX file on the same texts in one actor of Ray Data, and
writes the best label of each piece as Parquet, without windows, offsets or commits. Medians of the
seconds from the start of a process to its first Parquet file, and to its end. The last line of
stdout is one JSON document, kept as benchmarks/results/start.json:

    first_file_vs_script    the script's seconds to its first file over those of `medspan run`
    whole_vs_script         the same to the end of the process
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.machine import machine

ROOT = Path(__file__).resolve().parent.parent
NOTE = "Patients with type 2 diabetes received metformin 500 mg twice daily for 12 weeks."
MEDSPAN = "from pipelines.cli import main; main()"
PIPELINE = """
name: start
source: {path: notes.parquet, id: id, text: text}
steps: [{model: starter:token-classifier}]
sink: {path: out/}
"""
SCRIPT = """
import sys
import numpy as np
import onnxruntime
import ray
from tokenizers import Tokenizer

folder, source = sys.argv[1:]


class Classifier:
    def __init__(self):
        self.tokenizer = Tokenizer.from_file(folder + "/tokenizer.json")
        self.session = onnxruntime.InferenceSession(folder + "/model.onnx")

    def __call__(self, batch):
        ids = np.array([one.ids for one in self.tokenizer.encode_batch(list(batch["text"]))])
        given = {"input_ids": ids, "attention_mask": ids * 0 + 1, "token_type_ids": ids * 0}
        names = [one.name for one in self.session.get_inputs()]
        scores = self.session.run(None, {name: given[name] for name in names})[0]
        batch["labels"] = [" ".join(map(str, row)) for row in scores.argmax(-1)]
        return batch


ray.init()
found = ray.data.read_parquet(source).map_batches(
    Classifier, compute=ray.data.ActorPoolStrategy(size=1)
)
found.write_parquet("out")
"""


def seconds(command: Sequence[str], folder: Path, results: str) -> tuple[float, float]:
    """Seconds from the start of a process to the first Parquet file below ``folder/results``, and
    to its end."""
    began = time.perf_counter()
    first = 0.0
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdout=log,
            stderr=log,
            env=os.environ | {"PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"},
        )
        while process.poll() is None:
            if not first and next((folder / results).rglob("*.parquet"), None) is not None:
                first = time.perf_counter() - began
            time.sleep(0.02)
    whole = time.perf_counter() - began
    if process.returncode or not any((folder / results).rglob("*.parquet")):
        raise SystemExit((folder / "log").read_text()[-2000:])
    return first or whole, whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    model = ROOT / "actors" / "starters" / "token-classifier"
    times: dict[str, list[tuple[float, float]]] = {"medspan": [], "script": []}
    for turn in range(given.repeats):
        for name in times if turn % 2 == 0 else reversed(times):
            with tempfile.TemporaryDirectory(prefix="medspan-start-") as place:
                folder = Path(place)
                notes = {"id": ["a", "b", "c"], "text": [NOTE] * 3}
                pq.write_table(pa.table(notes), folder / "notes.parquet")
                (folder / "pipeline.yaml").write_text(PIPELINE)
                (folder / "script.py").write_text(SCRIPT)
                command, results = {
                    "medspan": (["-c", MEDSPAN, "run", "pipeline.yaml"], "out/documents"),
                    "script": (["script.py", str(model), str(folder / "notes.parquet")], "out"),
                }[name]
                times[name].append(seconds([sys.executable, *command], folder, results))
                print(name, *(round(one, 2) for one in times[name][-1]), flush=True)
    medians = {
        name: {
            key: round(statistics.median(one[at] for one in found), 2)
            for at, key in enumerate(("first_file_s", "whole_s"))
        }
        for name, found in times.items()
    }
    ratios = {
        f"{key}_vs_script": round(medians["script"][f"{key}_s"] / medians["medspan"][f"{key}_s"], 3)
        for key in ("first_file", "whole")
    }
    result = {
        "benchmark": "start",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "repeats": given.repeats,
        "run": medians,
        "ratios": ratios,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
