"""The cost of an object store: requests per unit, and seconds with latency added to each request.

Units are read, written, resumed from and read back without Ray, on moto's server over HTTP. The
last line of stdout is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from pipelines.config import Source
from pipelines.runs.plan import RunPlan
from pipelines.runs.store import RunStore
from pipelines.source.read import read_units
from pipelines.source.units import plan_source
from pipelines.storage import S3, Storage
from pipelines.tables.folder import ahead
from pipelines.tables.unit_files import done_units, read_units_done, write_unit_tables

_WRITERS = 4


def main() -> None:
    from support.s3_server import serving

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=64)
    parser.add_argument("--rows", type=int, default=256, help="documents a unit")
    parser.add_argument("--latency-ms", type=float, nargs="+", default=[0, 30])
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/storage.json"))
    options = parser.parse_args()
    rows = options.units * options.rows
    texts = [f"note {i} " * 60 for i in range(rows)]
    table = pa.table({"id": [f"d{i}" for i in range(rows)], "text": texts})
    stages: list[dict[str, object]] = []
    with serving() as server:
        Storage(s3=S3(endpoint=server.url, path_style=True)).apply()
        with fsspec.open("s3://lake/in/a.parquet", "wb") as file:
            pq.write_table(table, file, row_group_size=4096)
        source = Source(path=("s3://lake/in",), id="id", unit_rows=options.rows)
        plan = plan_source(source)
        names = [unit.id for unit in plan.units]
        sink = RunStore("s3://lake/out")
        sink.begin("r1", RunPlan("{}", plan.units, plan.keep))

        def read() -> list[pa.Table]:
            return list(read_units(plan.units, source, plan.keep))

        rows = pa.table({"doc_id": table["id"], "source": table["id"], "status": table["text"]})
        part = {"documents": rows.slice(0, 99)}

        def write() -> None:
            with ThreadPoolExecutor(_WRITERS) as pool:
                for done in [
                    pool.submit(write_unit_tables, sink.folder, "r1", name, part) for name in names
                ]:
                    done.result()

        def resume() -> int:
            done = done_units(sink.folder, "r1")
            return len(list(read_units_done(sink.folder, done, names)))

        def ids() -> int:
            paths = [f"documents/{path}" for path, _ in done_units(sink.folder, "r1").values()]
            read = ahead(lambda path: sink.folder.read_table(path, ["doc_id"]), paths)
            return sum(t.num_rows for t in read)

        work: dict[str, Callable[[], object]] = {"read": read, "write": write}
        work |= {"resume": resume, "ids": ids}
        for latency in options.latency_ms:
            server.misbehave(latency=latency / 1000)
            for name, job in work.items():
                before, started = server.counts()["requests"], time.perf_counter()
                job()
                seconds = time.perf_counter() - started
                requests = (server.counts()["requests"] - before) / options.units
                stages.append(
                    {
                        "stage": name,
                        "latency_ms": latency,
                        "requests_a_unit": round(requests, 2),
                        "seconds_a_unit": round(seconds / options.units, 4),
                    }
                )
                print(stages[-1], flush=True)
    result = {"benchmark": "storage", "units": options.units, "stages": stages}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
