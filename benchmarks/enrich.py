"""The time to plan an increment, and its growth with the number of files.

Files of one row are made on the local disk; the sink knows all but some of them. The last line of
stdout is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from actors.config import load_model
from benchmarks.machine import machine
from pipelines.config import Enrich, LoadedPipeline, Pipeline, Sink, Source, Step
from pipelines.enrich import decide
from pipelines.pool import Pool
from pipelines.runs.identity import pipeline_fingerprint
from pipelines.runs.plan import RunPlan
from pipelines.runs.store import RunStore
from pipelines.source.listing import list_source
from pipelines.source.units import Slice, plan_source
from pipelines.stages import Stage
from pipelines.tables.commit import Change, commit
from pipelines.tables.ledger import LiveUnit

_PER_UNIT = 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--changed", type=int, nargs="*", default=[0, 100, 1_000, 10_000])
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/enrich.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="medspan-enrich-") as folder:
        source = Path(folder) / "in"
        for number in range(options.files):
            path = source / f"{number // 1000:04d}" / f"{number:07d}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f'{{"id": "d{number}", "text": "note {number}"}}')
        loaded = _pipeline(str(source), f"{folder}/out")
        _commit_all(loaded, options.files)
        rows = []
        for changed in options.changed:
            for number in range(changed):
                path = source / f"{number // 1000:04d}" / f"{number:07d}.jsonl"
                path.write_text(f'{{"id": "d{number}", "text": "now note {number}, changed"}}')
            started = time.perf_counter()
            decision = decide(loaded)
            seconds = time.perf_counter() - started
            rows.append({"changed": changed, "seconds": round(seconds, 2)})
            print(f"{options.files:,} files, {changed:,} changed: {seconds:.2f} s", flush=True)
            assert decision.changes["changed"] == changed
    least, most = rows[0]["seconds"], rows[-1]["seconds"]
    result = {
        "benchmark": "enrich",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "files": options.files,
        "decisions": rows,
        "ratios": {"most_changed_vs_none": round(most / least, 2)},
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


def _pipeline(source: str, sink: str) -> LoadedPipeline:
    pipeline = Pipeline(
        name="bench",
        source=Source(path=(source,), id="id"),
        steps=(Step(model="starter:token-classifier"),),
        sink=Sink(path=sink),
        enrich=Enrich(),
    )
    model = load_model("starter:token-classifier")
    return LoadedPipeline("bench", pipeline, (Stage(model.name, model, Pool()),))


def _commit_all(loaded: LoadedPipeline, files: int) -> None:
    """Commit the units of a full run without running it."""
    source = loaded.pipeline.source
    listed = list_source(source).files
    assert len(listed) == files
    identity = pipeline_fingerprint(loaded)
    store = RunStore(loaded.pipeline.sink.path)
    store.begin("r1", RunPlan(loaded.as_json(), (), plan_source(source, listed[:1]).keep))
    units = []
    for start in range(0, files, _PER_UNIT):
        part = listed[start : start + _PER_UNIT]
        slices = tuple(Slice(f.uri, f.version, f.format, 0, 1) for f in part)
        units.append(LiveUnit("r1", f"u{start}", identity, len(slices), 0, slices, 1))
    facts = {
        "counts": {"documents": {"ok": files}, "entities": {}, "failures": {}},
        "committed_at": datetime.now(UTC).isoformat(),
    }
    change = Change((), tuple(units), frozenset(), {}, identity, (), facts)
    commit(store.tables, "r1", lambda _: change)


if __name__ == "__main__":
    main()
