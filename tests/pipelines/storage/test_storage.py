"""Object stores: options that reach fsspec, secrets that reach nothing, a store that misbehaves."""

from __future__ import annotations

import errno
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest
from pydantic import ValidationError
from support.lake import rows_of, store_rows
from support.s3_server import S3Server, serving

from actors.config import ConfigError
from actors.model_folder import FolderFiles
from actors.weights import fetch_weights
from pipelines.config import Source, load_pipeline
from pipelines.runs.plan import RunPlan
from pipelines.runs.store import RunStore
from pipelines.source.listing import list_source
from pipelines.source.read import read_units
from pipelines.source.units import plan_source
from pipelines.storage import S3, Storage, StoreError, delta_options, reason, store_sentence
from pipelines.tables.folder import RunError
from pipelines.tables.unit_files import done_units, write_unit_tables


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with serving() as running:
        yield running


@pytest.fixture
def store(server: S3Server) -> Iterator[S3Server]:
    storage = Storage(s3=S3(endpoint=server.url, path_style=True, read_timeout_s=1, attempts=12))
    storage.apply()
    yield server
    server.misbehave()
    Storage().apply()


@pytest.fixture
def _afterwards_as_before() -> Iterator[None]:
    yield
    Storage().apply()


def test_secret_in_configuration_is_rejected_without_quoting_it(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="looks like a secret"):
        Storage(options={"az": {"account_key": "x"}})
    with pytest.raises(ValidationError, match="Extra inputs"):
        S3.model_validate({"secret": "x"})
    file = tmp_path / "p.yaml"
    file.write_text(
        "name: x\nsource: {path: 'sftp://me:hush@host/notes/'}\n"
        "steps: [{model: 'starter:token-classifier'}]\nsink: {path: out/}\n"
    )
    with pytest.raises(ConfigError, match=r"source\.path: a URL with a password") as caught:
        load_pipeline(file)
    assert "hush" not in str(caught.value)


def test_the_last_applied_options_hold_and_leave_no_trace() -> None:
    Storage(s3=S3(region="eu-west-3"), options={"memory": {"x": 1}}).apply()
    assert fsspec.config.conf["s3"]["client_kwargs"] == {"region_name": "eu-west-3"}
    assert fsspec.config.conf["memory"] == {"x": 1}
    Storage().apply()
    assert "client_kwargs" not in fsspec.config.conf["s3"]
    assert "memory" not in fsspec.config.conf


def test_a_public_bucket_is_read_without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a-key-of-this-machine")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    Storage(s3=S3(anonymous=True)).apply()
    assert fsspec.config.conf["s3"]["anon"] is True
    options = delta_options("s3://public/notes")
    assert options["aws_skip_signature"] == "true"
    assert "aws_access_key_id" not in options


def _documents(count: int) -> bytes:
    lines = (json.dumps({"id": f"d{i}", "text": f"note {i}"}) for i in range(count))
    return "\n".join(lines).encode()


@pytest.mark.s3
@pytest.mark.parametrize("kind", ["500", "503", "lost", "hang"])
def test_reading_and_committing_survive_a_store_that_fails_one_time_in_five(
    store: S3Server, kind: str
) -> None:
    fs = fsspec.filesystem("s3")
    fs.pipe_file(f"lake/{kind}/in/a.jsonl", _documents(120))
    store.misbehave(rate=0.05 if kind == "hang" else 0.2, kinds=[kind], hang_s=1.5)
    source = Source(path=f"s3://lake/{kind}/in/", id="id", unit_rows=40)
    plan = plan_source(source)
    sink = RunStore(f"s3://lake/{kind}/out")
    sink.begin("r1", RunPlan("{}", plan.units, plan.keep))
    ids = {
        unit.id: table["doc_id"].to_pylist()
        for unit, table in zip(plan.units, read_units(plan.units, source, plan.keep), strict=True)
    }
    store_rows(sink, "r1", ids)
    assert done_units(sink.folder, "r1").keys() == {unit.id for unit in plan.units}
    store_rows(sink, "r2", {"more": ["d120"]}, ("r1", plan.units[0].id))
    assert sink.committed() == ["r1", "r2"]
    assert rows_of(sink).keys() == {f"d{i}" for i in range(40, 121)}
    assert store.counts()["faults"] > 0


@pytest.mark.s3
def test_weights_come_from_the_store_once(
    store: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDSPAN_CACHE", str(tmp_path))
    fsspec.filesystem("s3").pipe_file("lake/models/m/model.onnx", b"weights")
    store.misbehave(rate=0.3, kinds=["503"])
    local = fetch_weights("s3://lake/models/m", files=FolderFiles(("model.onnx",)))
    assert (local / "model.onnx").read_bytes() == b"weights"
    before = store.counts()["requests"]
    assert fetch_weights("s3://lake/models/m", files=FolderFiles(("model.onnx",))) == local
    assert store.counts()["requests"] == before


@pytest.mark.s3
def test_a_missing_bucket_is_an_error_at_once(store: S3Server) -> None:
    before = store.counts()["requests"]
    with pytest.raises(RunError, match="cannot write to s3://nope/out"):
        RunStore("s3://nope/out").check()
    with pytest.raises(ConfigError, match="there is nothing at s3://nope/in"):
        plan_source(Source(path="s3://nope/in"))
    assert store.counts()["requests"] - before < 10, "nothing is tried again"


@pytest.mark.s3
def test_the_reason_for_a_refused_listing_is_reported(store: S3Server) -> None:
    Storage(s3=S3(endpoint=store.url, path_style=True, attempts=1)).apply()
    store.misbehave(rate=1, kinds=["503"])
    try:
        with pytest.raises(
            ConfigError, match=r"cannot list s3://lake/in: .*the store answered 503"
        ):
            plan_source(Source(path="s3://lake/in"))
    finally:
        store.misbehave()


def test_the_reason_for_an_error_of_the_disk_is_reported() -> None:
    assert reason(OSError(errno.ENOSPC, "anything")) == "OSError: No space left on device"
    assert reason(PermissionError("a name")) == "PermissionError"


def test_an_unreachable_store_is_an_os_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore's own is none: a scheduler would end, and a lease's thread die of it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with socket.socket() as probe:  # bound and not listening: refused at once
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        Storage(s3=S3(endpoint=url, path_style=True, attempts=1)).apply()
        sink = RunStore("s3://away/out")
        folder = sink.folder
        calls: list[Callable[[], object]] = [
            lambda: folder.names("_runs"),
            lambda: folder.read("x"),
            lambda: folder.write("x", b""),
            lambda: folder.create("x", b""),
            lambda: folder.read_table("documents/u.parquet"),
            lambda: plan_source(Source(path="s3://away/in")),
        ]
        for call in calls:
            with pytest.raises(StoreError, match="Could not connect to the endpoint"):
                call()
        with pytest.raises(StoreError, match="documents"):
            sink.tables.open("documents")
        with pytest.raises(RunError, match="Could not connect"):
            sink.folder.has_conditional_put()
    Storage().apply()


@pytest.mark.s3
def test_a_version_is_the_stores_etag_and_discard_empties(store: S3Server) -> None:
    fs = fsspec.filesystem("s3")
    fs.pipe_file("lake/v/in/a.jsonl", _documents(1))
    (unit,) = plan_source(Source(path="s3://lake/v/in/")).units
    assert unit.slices[0].version == fs.info("lake/v/in/a.jsonl")["ETag"].strip('"')
    sink = RunStore("s3://lake/v/out")
    sink.begin("r1", RunPlan("{}", (unit,), pa.schema([])))
    rows = pa.table({"doc_id": ["a"], "source": ["s"], "status": ["ok"]})
    write_unit_tables(sink.folder, "r1", unit.id, {"documents": rows})
    sink.discard("r1")
    assert [name for name in fs.find("lake/v/out") if "_delta_log" not in name] == []


@pytest.mark.s3
def test_one_configuration_serves_both_clients(
    store: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Keys that only a profile has, a region, path style, retries: delta-rs gets what s3fs gets."""
    (tmp_path / "credentials").write_text(
        "[lab]\naws_access_key_id = test\naws_secret_access_key = test-secret\n"
    )
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    s3 = S3(endpoint=store.url, path_style=True, profile="lab", region="eu-west-3", attempts=3)
    Storage(s3=s3).apply()
    options = delta_options("s3://lake/profile")
    assert options["aws_region"] == "eu-west-3"
    assert options["aws_access_key_id"] == "test"
    assert options["max_retries"] == "2"
    sink = RunStore("s3://lake/profile")
    sink.check()
    sink.begin("r1", RunPlan("{}", (), pa.schema([])))
    store_rows(sink, "r1", {"u": ["a"]})
    assert rows_of(sink).keys() == {"a"}
    with pytest.raises(StoreError, match="tables are not supported on sftp://"):
        delta_options("sftp://host/out")


@pytest.mark.s3
def test_a_store_that_ignores_conditional_puts_is_refused_unless_one_process_writes(
    store: S3Server,
) -> None:
    store.misbehave(unconditional=True)
    sink = RunStore("s3://lake/careless")
    with pytest.raises(RunError, match="ignores conditional puts"):
        sink.check()
    s3 = S3(endpoint=store.url, path_style=True, single_writer=True)
    Storage(s3=s3).apply()
    sink.check(s3.single_writer)
    sink.begin("r1", RunPlan("{}", (), pa.schema([])))
    store_rows(sink, "r1", {"u": ["a"]})
    assert rows_of(sink).keys() == {"a"}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("Generic S3 error: HTTP error: error sending request: dns error", "cannot be reached"),
        ("Generic S3 error: <Code>InvalidAccessKeyId</Code>", "refuses these credentials"),
        ("Generic S3 error: <Code>NoSuchBucket</Code>", "no such bucket"),
        ("Generic S3 error: received redirect: 301 Moved Permanently", "another region"),
    ],
)
@pytest.mark.usefixtures("_afterwards_as_before")
def test_errors_of_delta_rs_get_advice(said: str, words: str) -> None:
    Storage.model_validate({"s3": {"endpoint": "http://store:9000"}}).apply()
    sentence = store_sentence("s3://lake/out", said)
    assert words in sentence
    assert "http://store:9000" in sentence or "AWS_" in sentence
    assert "Generic" not in sentence
    assert store_sentence("s3://lake/out", "something else") == "something else"
    assert store_sentence("/data/out", said) == said


@pytest.mark.usefixtures("_afterwards_as_before")
def test_a_wrong_endpoint_is_named_with_what_to_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    Storage.model_validate({"s3": {"endpoint": "http://127.0.0.1:9", "attempts": 1}}).apply()
    with pytest.raises(StoreError, match=r"at http://127\.0\.0\.1:9 cannot be reached.*endpoint"):
        RunStore("s3://lake/out").ledger()


@pytest.mark.parametrize("scheme", ["gs", "gcs"])
@pytest.mark.usefixtures("_afterwards_as_before")
def test_options_of_google_storage_reach_delta_rs(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    Storage().apply()
    assert delta_options(f"{scheme}://lake/out") == {}  # it finds credentials by itself
    Storage(options={"gs": {"endpoint_url": "http://127.0.0.1:9"}}).apply()
    found = delta_options(f"{scheme}://lake/out")
    account = json.loads(found["google_service_account_key"])
    assert (account["gcs_base_url"], account["disable_oauth"]) == ("http://127.0.0.1:9", True)
    assert found["allow_http"] == "true"


@pytest.mark.parametrize("scheme", ["az", "abfs", "abfss"])
@pytest.mark.usefixtures("_afterwards_as_before")
def test_options_of_azure_reach_delta_rs(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING", raising=False)
    Storage(options={"az": {"account_name": "ward"}}).apply()
    assert delta_options(f"{scheme}://lake/out") == {"azure_storage_account_name": "ward"}
    monkeypatch.setenv(
        "AZURE_STORAGE_CONNECTION_STRING",
        "DefaultEndpointsProtocol=http;AccountName=lab;AccountKey=a2V5PQ==;"
        "BlobEndpoint=http://127.0.0.1:9/lab;",
    )
    assert delta_options(f"{scheme}://lake/out") == {
        "azure_storage_account_name": "lab",
        "azure_storage_account_key": "a2V5PQ==",
        "azure_storage_endpoint": "http://127.0.0.1:9/lab",
        "allow_http": "true",
    }


@pytest.mark.usefixtures("_afterwards_as_before")
def test_missing_credentials_are_named_with_what_to_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "PROFILE"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("CONFIG_FILE", "SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(f"AWS_{name}", str(tmp_path / "none"))
    Storage.model_validate({"s3": {"endpoint": "http://127.0.0.1:9", "attempts": 1}}).apply()
    with pytest.raises(StoreError, match="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        list_source(Source(path="s3://lake/notes/"))
    with pytest.raises(StoreError, match="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        delta_options("s3://lake/out")
