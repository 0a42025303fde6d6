"""``medspan serve`` on a real Ray: the keystone, and a life with reloads, deaths and an end.

One server for the module; its tests go from the gentle to the rough, and the last one ends it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import ROOT, TWO_CORES
from support.gguf_models import make_prose
from support.server_process import MEDSPAN, Server, serving

from actors.spans import Document
from pipelines.client import Client
from pipelines.runs.results import read_results
from pipelines.runs.store import RunStore

pytestmark = [TWO_CORES, pytest.mark.ray, pytest.mark.weights, pytest.mark.timeout(600)]

DOCUMENTS = 200
LONG: dict[str, Any] = {
    "documents": [{"text": "metformin 500 mg for type 2 diabetes. " * 300}] * 12,
    "deadline_s": 240,
}
SHORT = {"text": "Metformin 500 mg twice daily."}
# The tiny model reads one window at a time: a short document behind this one, which takes it many
# minutes, is answered within its deadline only where the work on this one has ended.
ENDLESS = {"model": "tiny", "text": "the patient takes metformin " * 30_000, "deadline_s": 300}
BRIEF = {"model": "tiny", "text": "insulin", "deadline_s": 60}


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serve")
    rows = pq.read_table(ROOT / "configs/samples/quickstart", columns=["note"])["note"].to_pylist()
    texts = [rows[i % len(rows)] for i in range(DOCUMENTS - 4)]
    texts += ["", "  \r\n", "e\u0301dema 💊 of metformin", "insulin\r\nglargine " * 40]
    ids = [f"d{i}" for i in range(DOCUMENTS)]
    pq.write_table(pa.table({"id": ids, "text": texts}), folder / "notes.parquet")
    make_prose(folder, "Repeat.")
    path = folder / "keystone.yaml"
    path.write_text(
        "name: keystone\n"
        "source: {path: notes.parquet, id: id, unit_rows: 50}\n"
        'steps: [{model: "starter:token-classifier", pool: {num_cpus: 0.5}}]\n'
        "merge: {overlaps: longest}\n"
        "sink: {path: out/}\n"
        "serve: {models: [{model: tiny.yaml, pool: {num_cpus: 0.5}}]}\n"
    )
    return path


@pytest.fixture(scope="module")
def batch(pipeline: Path) -> str:
    """The id of a run over the documents, made before the server takes the CPUs."""
    done = subprocess.run(
        [*MEDSPAN, "run", str(pipeline), "--json"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    run_id: str = json.loads(done.stdout)["run_id"]
    return run_id


@pytest.fixture(scope="module")
def server(
    pipeline: Path, batch: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    with serving(pipeline, tmp_path_factory.mktemp("log") / "serve.log") as server:
        yield server


def test_keystone_batch_and_http_give_the_same_entities(
    server: Server, pipeline: Path, batch: str
) -> None:
    sink = RunStore(str(pipeline.parent / "out"))
    written = {result.doc_id: result for result in read_results(sink.snapshot(batch), batch)}
    documents = [Document(id=id_, text=result.text) for id_, result in written.items()]
    assert len(documents) == DOCUMENTS
    with Client(server.url) as client:
        answers = client.extract(documents)
    different = [
        answer.document_id
        for answer in answers
        if list(answer.entities) != list(written[answer.document_id].entities)
        or answer.status.value != written[answer.document_id].status
    ]
    assert different == []
    assert sum(len(answer.entities) for answer in answers) > 20 * DOCUMENTS


def test_it_is_ready_and_shows_its_page_and_its_headers(server: Server) -> None:
    assert httpx2.get(f"{server.url}/readyz", timeout=60).json() == {"status": "ok"}
    page = httpx2.get(server.url, timeout=60)
    assert "<title>medspan</title>" in page.text
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert len(page.headers.get_list("x-request-id")) == 1
    wrong = server.post({"text": 7})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (422, "invalid_request")
    assert wrong.json()["error"]["request_id"] == wrong.headers["x-request-id"]


def test_a_deadline_is_kept_and_lets_go_of_the_work(server: Server) -> None:
    late = server.post(LONG | {"deadline_s": 0.1})
    assert (late.status_code, late.json()["error"]["code"]) == (504, "deadline_exceeded")
    assert server.post(SHORT).status_code == 200


def test_a_client_that_goes_takes_its_work_along(server: Server) -> None:
    with pytest.raises(httpx2.TimeoutException):
        server.post(ENDLESS, seconds=1.0)
    assert server.post(BRIEF).status_code == 200


def test_output_streams_through_the_cluster(server: Server) -> None:
    asked = {"model": "tiny", "text": "the patient takes metformin", "explain": True}
    path, said = f"{server.url}/v1/extract/stream", []
    with httpx2.stream("POST", path, json=asked, timeout=120) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in answer.iter_lines() if line and not line.startswith(":")]
    for name, data in zip(lines[::2], lines[1::2], strict=True):
        said.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    names = [name for name, _ in said]
    assert (names[0], names[-2:]) == ("start", ["document", "done"])
    assert names.count("text") > 5
    [told] = [data for name, data in said if name == "document"]
    printed = "".join(data["text"] for name, data in said if name == "text")
    assert printed == told["steps"][0]["completion"]
    plain = server.post(asked).json()["documents"][0]
    assert plain["steps"][0]["completion"] == printed


def test_a_listener_that_goes_takes_its_work_along(server: Server) -> None:
    with httpx2.stream(
        "POST", f"{server.url}/v1/extract/stream", json=ENDLESS, timeout=60
    ) as answer:
        for line in answer.iter_lines():
            if line == "event: text":
                break
    assert server.post(BRIEF).status_code == 200


def test_a_guideline_and_an_upload_come_through_the_cluster(server: Server) -> None:
    guideline = {"name": "mine", "labels": {"Medicine": {"synonyms": ["Drug"]}}}
    model = {"model": "starter-token-classifier", "guideline": guideline}
    answer = server.post(SHORT | model).json()["documents"][0]
    assert [(e["label"], e["text"]) for e in answer["entities"]] == [("Medicine", "Metformin")]
    form = httpx2.post(
        f"{server.url}/v1/extract/upload",
        files={"file": ("note.txt", SHORT["text"].encode())},
        data={"options": json.dumps(model)},
        timeout=60,
    )
    assert form.json()["documents"][0]["entities"] == answer["entities"]


class Load:
    """Requests one after another in a few threads, until the end of the block."""

    def __init__(self, server: Server, threads: int = 2) -> None:
        self.answers: list[int | str] = []
        self._server, self._ended = server, threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(threads)]

    def _ask(self) -> None:
        while not self._ended.is_set():
            try:
                self.answers.append(self._server.post(SHORT).status_code)
            except httpx2.HTTPError as error:
                self.answers.append(type(error).__name__)

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()


def test_a_rolling_update_under_load_drops_nothing(server: Server) -> None:
    before = _replicas(server)
    with Load(server) as load:
        os.kill(server.process.pid, signal.SIGHUP)
        server.wait_for("reloaded")
        ends = time.monotonic() + 60
        while before & _replicas(server) and time.monotonic() < ends:
            time.sleep(0.2)  # the old ones drain
    assert set(load.answers) == {200}, load.answers
    assert len(load.answers) > 5
    assert not before & _replicas(server), "all replicas are new"


def test_a_file_that_went_bad_is_not_loaded_and_the_server_goes_on(
    server: Server, pipeline: Path
) -> None:
    good = pipeline.read_text()
    pipeline.write_text(good + "nonsense: 1\n")
    try:
        os.kill(server.process.pid, signal.SIGHUP)
        server.wait_for("not reloaded", 30)
        assert server.post(SHORT).status_code == 200
    finally:
        pipeline.write_text(good)


def test_weights_that_went_bad_are_not_loaded_and_the_server_goes_on(
    server: Server, pipeline: Path
) -> None:
    """The files say nothing wrong: only a replica finds out, when it loads."""
    model = pipeline.parent / "tiny.yaml"
    good = model.read_text()
    (pipeline.parent / "bad.gguf").write_bytes(b"no weights")
    model.write_text(good.replace("tiny.gguf", "bad.gguf"))
    try:
        os.kill(server.process.pid, signal.SIGHUP)
        server.wait_for("a model failed to load")
        assert server.post(SHORT).status_code == 200
        server.wait_for("still serving the previous configuration")
        for body in (SHORT, SHORT | {"model": "tiny"}):
            assert server.post(body).status_code == 200
    finally:
        model.write_text(good)


def test_a_replica_killed_in_the_middle_of_a_request_is_replaced(server: Server) -> None:
    answers: list[httpx2.Response] = []
    asking = threading.Thread(target=lambda: answers.append(server.post(LONG)))
    asking.start()
    time.sleep(0.5)
    [pid] = _replicas(server, "model-starter")
    os.kill(pid, signal.SIGKILL)
    asking.join()
    assert answers[0].status_code in (200, 503), answers[0].text
    if answers[0].status_code == 503:
        assert answers[0].json()["error"]["code"] == "model_unavailable"
    with Client(server.url, attempts=10) as client:
        [answer] = client.extract([Document(id="a", text=SHORT["text"])])
    assert answer.entities
    assert pid not in _replicas(server)


def test_no_log_of_ray_or_serve_has_a_word_of_a_document(server: Server, pipeline: Path) -> None:
    logs = _logs(server)
    assert any(name.startswith("serve/replica_medspan") for name in logs)
    assert any(name.startswith("serve/proxy") for name in logs)
    sent = pq.read_table(pipeline.parent / "notes.parquet", columns=["text"])["text"].to_pylist()
    sent += [SHORT["text"], LONG["documents"][0]["text"], "the patient takes metformin"]
    said = set().union(*map(_phrases, sent))
    assert len(said) > 500
    leaks = {name for name, text in logs.items() if said & _phrases(text) or "metformin" in text}
    assert leaks == set()


def test_the_end_finishes_what_is_under_way(server: Server) -> None:
    answers: list[httpx2.Response] = []
    asking = threading.Thread(target=lambda: answers.append(server.post(LONG)))
    asking.start()
    time.sleep(0.5)
    server.process.terminate()
    others = []
    while server.process.poll() is None:
        with suppress(httpx2.TransportError):  # refused once its proxy has ended, too
            others.append(server.post(SHORT))
        time.sleep(0.2)
    asking.join()
    assert answers[0].status_code == 200, answers[0].text
    refused = [other for other in others if other.status_code != 200]
    assert refused, "while it finishes what is under way it lets in no more"
    for other in refused:
        assert (other.status_code, other.json()["error"]["code"]) == (503, "unavailable")
        assert int(other.headers["retry-after"]) >= 1
    assert server.process.wait(120) == 0
    assert "Traceback" not in server.log
    assert "metformin" not in server.log


def _logs(server: Server) -> dict[str, str]:
    """The files in the folder of logs of the server's Ray, by path there."""
    [session] = {
        found[0]
        for _, title in _processes(server)
        if (found := re.findall(r"/\S*/session_[\w.-]*\d", title))
    }
    folder = Path(session) / "logs"
    return {
        str(file.relative_to(folder)): file.read_text(errors="ignore").lower()
        for file in folder.rglob("*")
        if file.is_file()
    }


def _phrases(text: str) -> set[str]:
    """Three words in a row, of which one is long enough to be none of Ray's own by chance."""
    words = re.findall(r"\w+", text.lower())
    rows = zip(words, words[1:], words[2:], strict=False)
    return {" ".join(row) for row in rows if any(len(word) > 5 for word in row)}


def _replicas(server: Server, name: str = "") -> set[int]:
    """Ids of the processes that host replicas of this server's application."""
    wanted = f"ServeReplica:medspan:{name}"
    return {number for number, title in _processes(server) if wanted in title}


def _processes(server: Server) -> Iterator[tuple[int, str]]:
    """Ids and titles of the server's processes: Ray's children stay in the session of the process
    that began it."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="ignore")
            session = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[3])
        except (OSError, ValueError):
            continue
        if session == server.process.pid:
            yield int(folder.name), title
