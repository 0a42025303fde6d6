"""A GGUF model behind the HTTP API: the entities of the Extractor, and one batch that all join."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from support.gguf_models import make
from support.lake import Quiet
from support.without_ray import _without_ray  # noqa: F401

from actors.extractor import Extractor, Share
from actors.gguf import GenerativeBackend
from actors.spans import Document, Entity
from pipelines.batch.run import begin_run, drive_run
from pipelines.config import load_pipeline
from pipelines.runs.results import read_results
from pipelines.runs.store import RunStore
from pipelines.serve.answering.models import LocalModels, facts_of
from pipelines.serve.catalogue import catalogue_of
from pipelines.serve.http.app import create_app
from pipelines.source.units import plan_source

pytestmark = pytest.mark.weights

NOTES = [
    "The patient takes metformin 500 mg daily for diabetes.",
    "Severe chest pain since March; the cough persists.",
    "Bệnh nhân nam 45 tuổi nhập viện vì đau dữ dội vùng bụng dưới.",
    'Quote " backslash \\ tab\tand\r\nnew line, insulin \U0001f489 given.',
]
# Greedy decoding: what is left is the rounding of sums; their order depends on how many sequences
# share a step. Two tokens as likely as each other may fall either way; on these notes none are.
TOLERANCE = 0.01


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gguf")


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[tuple[TestClient, Extractor]]:
    make(folder / "tiny.gguf", "qwen2", seed=3)
    model = {
        "name": "tiny",
        "kind": "gguf",
        "weights": {"model": "tiny.gguf"},
        "context": {"n_ctx": 1024, "sequences": 4, "flash_attn": "off"},
        "prompt": {
            "format": "template",
            "guideline": {"name": "g", "labels": {"DRUG": {}, "PROBLEM": {}}},
            "max_items": 4,
            "max_length": 30,
        },
        "sampling": {"temperature": 0.0, "n_predict": 200},
    }
    (folder / "tiny.yaml").write_text(json.dumps(model))
    pipeline: dict[str, Any] = {
        "name": "pipe",
        "source": {"path": "notes/"},
        "steps": [{"model": "tiny.yaml"}],
        "sink": {"path": "out/"},
    }
    (folder / "pipe.yaml").write_text(json.dumps(pipeline))
    catalogue = catalogue_of(load_pipeline(folder / "pipe.yaml"))
    config = catalogue.models["tiny"].model
    with Extractor(config, Share(threads=1)) as extractor:
        facts = facts_of(config, extractor.fingerprint)
        app = create_app(catalogue, LocalModels({"tiny": extractor}, {"tiny": facts}))
        with TestClient(app, base_url="http://127.0.0.1") as client:
            yield client, extractor


def _ask(client: TestClient, **body: Any) -> dict[str, Any]:
    answer = client.post("/v1/extract", json={"model": "tiny"} | body)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()["documents"][0]
    return document


def test_keystone_http_and_extractor_give_the_same_entities(
    served: tuple[TestClient, Extractor],
) -> None:
    client, extractor = served
    documents = [Document(f"d{i}", NOTES[i % len(NOTES)]) for i in range(12)]
    direct = extractor.extract(documents)

    def ask(document: Document) -> dict[str, Any]:
        return _ask(client, documents=[{"id": document.id, "text": document.text}], explain=True)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, documents))
    for answer, extraction in zip(answers, direct, strict=True):
        step = answer["steps"][0]
        assert step["completion"] == extraction.completion
        assert step["structured"] == extraction.structured
        assert answer["status"] == extraction.status.value
        _same(answer["entities"], extraction.entities)


@pytest.mark.usefixtures("_without_ray")
def test_keystone_batch_and_http_give_the_same_entities(
    served: tuple[TestClient, Extractor], folder: Path, tmp_path: Path
) -> None:
    client, extractor = served
    texts = {f"d{i}": f"{NOTES[i % len(NOTES)]} Day {i}." for i in range(200)}
    rows = [json.dumps({"id": id_, "text": text}) for id_, text in texts.items()]
    (tmp_path / "in.jsonl").write_text("\n".join(rows))
    pipeline = json.loads((folder / "pipe.yaml").read_text()) | {
        "source": {"path": str(tmp_path / "in.jsonl"), "id": "id", "unit_rows": 50},
        "steps": [{"model": str(folder / "tiny.yaml")}],
        "sink": {"path": str(tmp_path / "out")},
    }
    (tmp_path / "pipe.yaml").write_text(json.dumps(pipeline))
    loaded = load_pipeline(tmp_path / "pipe.yaml")
    run_id = begin_run(loaded, plan_source(loaded.pipeline.source))
    sink = RunStore(loaded.pipeline.sink.path)
    drive_run(sink, run_id, Quiet(), lambda *_: extractor)
    written = {one.doc_id: one for one in read_results(sink.snapshot(), run_id)}
    assert written.keys() == texts.keys()

    def ask(part: list[str]) -> list[dict[str, Any]]:
        documents = [{"id": id_, "text": texts[id_]} for id_ in part]
        answer = client.post("/v1/extract", json={"documents": documents, "model": "pipe"})
        assert answer.status_code == 200, answer.text
        told: list[dict[str, Any]] = answer.json()["documents"]
        return told

    ids = list(texts)
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(ask, (ids[i : i + 10] for i in range(0, 200, 10))))
    for told in (one for part in parts for one in part):
        result = written[told["id"]]
        assert told["status"] == result.status
        _same(told["entities"], result.entities)
    assert sum(len(one.entities) for one in written.values()) > 50


def _same(entities: list[dict[str, Any]], found: Sequence[Entity]) -> None:
    fields = ("label", "text", "start", "end", "grounding")
    said = sorted(tuple(str(e[f]) for f in fields) for e in entities)
    assert said == sorted(tuple(str(getattr(e, field)) for field in fields) for e in found)
    scores = sorted(e["score"] for e in entities)
    expected = sorted(e.score or 0.0 for e in found)
    assert scores == pytest.approx(expected, abs=TOLERANCE)


def test_a_short_document_overtakes_a_long_one(served: tuple[TestClient, Extractor]) -> None:
    client, _ = served
    ended: dict[str, float] = {}

    def ask(name: str, text: str) -> None:
        _ask(client, text=text)
        ended[name] = time.monotonic()

    with ThreadPoolExecutor(2) as pool:
        long = pool.submit(ask, "long", " ".join(NOTES) * 200)
        time.sleep(0.05)
        pool.submit(ask, "short", NOTES[0]).result()
        long.result()
    assert ended["short"] < ended["long"]


def test_a_deadline_frees_the_model(served: tuple[TestClient, Extractor]) -> None:
    client, extractor = served
    backend = extractor._backend
    assert isinstance(backend, GenerativeBackend)
    counters = backend._engine.counters

    def computed() -> int:
        """Tokens that the model computes until a short document is answered."""
        before = counters.tokens
        _ask(client, text=NOTES[0])
        return counters.tokens - before

    late = client.post(
        "/v1/extract", json={"model": "tiny", "text": " ".join(NOTES) * 60, "deadline_s": 0.1}
    )
    assert late.json()["error"]["code"] == "deadline_exceeded"
    after, alone = computed(), computed()
    before = counters.tokens
    _ask(client, text=" ".join(NOTES) * 60)
    whole = counters.tokens - before
    assert after < alone + whole / 4, "the work of the late one is over"


def test_labels_are_known_and_prompts_are_refused(served: tuple[TestClient, Extractor]) -> None:
    client, _ = served
    shown = client.get("/v1/models").json()["models"][1]
    assert (shown["kind"], shown["prompts"]) == ("gguf", False)
    assert [label["name"] for label in shown["labels"]] == ["DRUG", "PROBLEM"]
    refused = client.post("/v1/extract", json={"documents": [{"text": "x", "prompt": "y"}]})
    assert refused.json()["error"]["code"] == "prompt_not_supported"


def test_a_guideline_of_the_request_is_what_the_model_is_asked(
    served: tuple[TestClient, Extractor],
) -> None:
    client, extractor = served
    guideline = {"name": "mine", "labels": {"SYMPTOM": "What hurts.", "AGE": {}}}
    answer = _ask(client, text=NOTES[2], guideline=guideline, explain=True)
    step = answer["steps"][0]
    assert step["completion"].startswith('{"entities": [{"SYMPTOM": ')
    assert list(json.loads(step["structured"])) == ["SYMPTOM", "AGE"]
    assert {entity["label"] for entity in answer["entities"]} <= {"SYMPTOM", "AGE"}
    assert step["fingerprint"] != extractor.fingerprint
    assert client.get("/v1/models").json()["models"][1]["guideline"] == "any"
    large = {"name": "mine", "labels": {f"L{i}": {} for i in range(500)}}
    refused = _ask(client, text=NOTES[2], guideline=large)
    assert refused["status"] == "failed"
    assert refused["steps"][0]["error"]["type"] == "PromptError"


def test_output_is_streamed_incrementally(served: tuple[TestClient, Extractor]) -> None:
    client, _ = served
    asked = {"model": "tiny", "text": " ".join(NOTES) * 8, "explain": True}
    with client.stream("POST", "/v1/extract/stream", json=asked) as answer:
        lines = [line for line in answer.iter_lines() if line]
    said = [
        (name.removeprefix("event: "), json.loads(data.removeprefix("data: ")))
        for name, data in zip(lines[::2], lines[1::2], strict=True)
    ]
    windows: dict[int, list[str]] = {}
    for name, data in said:
        if name == "text":
            windows.setdefault(data["window"], []).append(data["text"])
    [told] = [data for name, data in said if name == "document"]
    whole = ["".join(windows[window]) for window in sorted(windows)]
    assert len(whole) > 1
    assert "\n\n".join(whole) == told["steps"][0]["completion"]
    assert max(len(pieces) for pieces in windows.values()) > 1
    plain = client.post("/v1/extract", json=asked).json()["documents"][0]
    assert [e["text"] for e in plain["entities"]] == [e["text"] for e in told["entities"]]
