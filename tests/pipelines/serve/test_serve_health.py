"""The health of replicas: progress, stalls, probes, and recycling."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from support.gguf_models import make_prose
from support.serve import MODEL, FakeExtractor, make_app

from actors.config import ConfigError, ModelConfig
from actors.config.load import load_model
from actors.config.ocr import OcrModel, load_ocr
from actors.extractor import Extractor, Share
from actors.guideline import Guideline
from actors.pages import OcrResult, PixelBudget
from actors.spans import Document, Extraction, Failure, OnProgress, OnText
from pipelines.serve.answering.models import (
    Event,
    LocalModels,
    ModelFacts,
    PagesRead,
    TextDelta,
    facts_of,
)
from pipelines.serve.http.readiness import answers_probe, probe
from pipelines.serve.replicas import replica
from pipelines.serve.replicas.health import HealthCheck, Settings, Watch
from pipelines.serve.replicas.replica import PictureReplica, Replica
from pipelines.worker.process_health import ProcessHealth, ProcessMemory


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_only_work_that_does_not_move_counts_as_standing_still() -> None:
    clock = Clock()
    watch = Watch(clock)
    clock.now += 1000
    assert (watch.still, watch.idle) == (0, 1000)
    with watch.work():
        clock.now += 20
        with watch.work():
            clock.now += 5
        clock.now += 29
        assert watch.still == 29, "another piece of work ended since"
        watch.on_progress()
        clock.now += 2
        assert (watch.still, watch.idle) == (2, 0)
    assert watch.still == 0
    clock.now += 7
    assert watch.idle == 7


def test_work_that_was_given_up_still_counts() -> None:
    """A model that hangs is found even where everybody who asks has gone before that."""
    clock = Clock()
    watch = Watch(clock)

    def impatient() -> None:
        with watch.work():
            clock.now += 30
            raise TimeoutError

    for _ in range(3):
        with pytest.raises(TimeoutError):
            impatient()
        clock.now += 1000  # nobody asks
    assert watch.still == 90
    with watch.work():
        pass
    assert watch.still == 0


def _health(clock: Clock, probe: Any = None, **settings: Any) -> tuple[HealthCheck, ProcessHealth]:
    vitals = ProcessHealth("m", 0.0, {"model": "m"})
    known = Settings(**({"stall_timeout_s": 60} | settings))
    return HealthCheck("m", known, vitals, Watch(clock), probe), vitals


def test_a_model_that_hangs_ends_its_process(ended: list[int]) -> None:
    clock = Clock()
    health, _ = _health(clock)
    with health.watch.work():
        clock.now += 59
        health.check()
        assert ended == []
        clock.now += 2
        with pytest.raises(SystemExit):
            health.check()
    assert ended == [1]


def test_an_idle_model_reads_a_probe_which_is_watched_like_any_work(ended: list[int]) -> None:
    clock = Clock()
    answers: list[asyncio.Future[bool]] = []

    async def scenario() -> None:
        async def ask() -> bool:
            with health.watch.work():
                answers.append(asyncio.get_running_loop().create_future())
                return await answers[-1]

        health, _ = _health(clock, ask)
        health.check()
        await asyncio.sleep(0)
        assert answers == [], "it was busy a moment ago"
        clock.now += 21
        health.check()
        await asyncio.sleep(0)
        clock.now += 40
        health.check()
        assert len(answers) == 1, "one at a time"
        answers[0].set_result(True)
        await asyncio.sleep(0.01)
        health.check()
        clock.now += 21
        health.check()
        await asyncio.sleep(0)
        for _ in range(2):
            answers[-1].set_result(False)
            await asyncio.sleep(0.01)
            with pytest.raises(RuntimeError, match="probe"):
                health.check()  # and asks again at once, so that it fails as often as Serve wants
            await asyncio.sleep(0)
        assert len(answers) == 4
        answers[3].set_result(True)
        await asyncio.sleep(0.01)
        health.check()
        clock.now += 21
        health.check()
        await asyncio.sleep(0)
        clock.now += 61
        with pytest.raises(SystemExit):
            health.check()
        answers[4].cancel()

    asyncio.run(scenario())
    assert ended == [1]


def test_a_recycled_replica_is_unhealthy_until_it_is_replaced() -> None:
    health, vitals = _health(Clock(), recycle_documents=100)
    for _ in range(99):
        vitals.record(1)
    health.check()
    vitals.record(26)  # a quarter later at most: replicas that share a load do not all go at once
    for _ in range(3):
        with pytest.raises(RuntimeError, match="125 documents"):
            health.check()
    ends = {_health(Clock(), recycle_documents=10_000)[1].lifespan.documents for _ in range(20)}
    assert len(ends) > 5
    assert all(end is not None and 10_000 <= end <= 12_500 for end in ends)


def test_settings_change_while_it_runs_and_go_back_when_they_are_no_longer_named() -> None:
    health, vitals = _health(Clock(), recycle_documents=10)
    vitals.record(50)
    health.change({"recycle_documents": 1_000})
    health.check()
    health.change(None)
    with pytest.raises(RuntimeError, match="recycling this replica"):
        health.check()
    with pytest.raises(ConfigError, match=r"user_config:\s+recycle_docs"):
        health.change({"recycle_docs": 3})


class Answering(FakeExtractor):
    """In the place of an Extractor, loaded by a replica."""

    last: Answering

    def __init__(self, config: ModelConfig, share: Share, on_progress: OnProgress) -> None:
        super().__init__(config.name)
        self.on_progress, self.share, self.memory_used = on_progress, share, {"CPU weights": 1_000}
        self.told: list[OnText | None] = []
        Answering.last = self

    def submit(
        self, document: Document, guideline: Guideline | None = None, on_text: OnText | None = None
    ) -> Future[Extraction]:
        self.told.append(on_text)
        return super().submit(document, guideline, on_text)


@pytest.fixture
def hosted(monkeypatch: pytest.MonkeyPatch) -> Replica:
    monkeypatch.setattr(replica, "log_with_serve", lambda: None)
    monkeypatch.setattr(replica, "Extractor", Answering)
    monkeypatch.setattr(replica, "_share", lambda: (2, 0.0))
    monkeypatch.setattr(replica, "_names", lambda model: {"model": model, "replica": "r1"})
    return Replica(load_model("starter:token-classifier"), Settings(stall_timeout_s=60))


def test_output_or_read_pages_count_as_progress(hosted: Replica) -> None:
    async def scenario() -> tuple[float, ProcessMemory]:
        watch = hosted._health.watch
        Answering.last.hold = True
        asked = [Document(str(i), "metformin") for i in range(2)]
        task = asyncio.create_task(hosted.extract(asked))
        await asyncio.sleep(0)
        watch._since -= 50
        assert watch.still >= 50
        on_text = Answering.last.told[0]
        assert on_text is not None
        on_text(0, "word")
        printed = watch.still
        watch._since -= 50
        Answering.last.on_progress()
        progressed = watch.still
        watch._since -= 50
        document, future = Answering.last.held.pop(0)
        future.set_result(Answering.last.read(document))
        read = watch.still
        Answering.last.release()
        await task
        return max(printed, progressed, read), await hosted.held()

    still, held = asyncio.run(scenario())
    assert still < 40
    assert (held.documents, held.breaches, held.gpu_mb) == (2, 0, None)
    assert held.memory_mb > 1


class Leafing:
    """In the place of the reader of pictures: never done."""

    last: Leafing

    def __init__(
        self,
        config: OcrModel,
        threads: int,
        gpu: float,
        on_progress: OnProgress,
        cpu_fallback: bool,
    ) -> None:
        self.config = config
        self.on_progress, self.memory_used = on_progress, {"GPU": 3_000_000}
        Leafing.last = self

    def submit(
        self, document: Document, budget: PixelBudget, on_page: Callable[[int], None]
    ) -> Future[OcrResult | Failure]:
        self.on_page = on_page
        return Future()


def test_an_ocr_replica_reports_memory_and_progress(
    hosted: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    born: list[Mapping[str, int]] = []
    monkeypatch.setattr(
        ProcessHealth, "log_loaded", lambda self, seconds, memory_used: born.append(memory_used)
    )
    monkeypatch.setattr("actors.ocr.OcrReader", Leafing)
    pictures = PictureReplica(load_ocr("starter:ocr"), Settings(stall_timeout_s=60))
    assert born == [Leafing.last.memory_used]
    watch = pictures._health.watch

    async def scenario() -> list[float]:
        stream = pictures.read([Document("a", image=b"long")], 1000)
        task = asyncio.create_task(anext(stream))
        await asyncio.sleep(0)
        watch._since -= 50
        before = watch.still
        await asyncio.to_thread(Leafing.last.on_progress)
        after = watch.still
        Leafing.last.on_page(1)
        assert await task == [PagesRead(0, 1)]
        await stream.aclose()
        return [before, after]

    before, after = asyncio.run(scenario())
    assert after < 40 <= before


def test_giving_up_is_no_sign_of_life(hosted: Replica) -> None:
    async def scenario() -> float:
        Answering.last.hold = True
        task = asyncio.create_task(hosted.extract([Document("a", "metformin")]))
        await asyncio.sleep(0)
        hosted._health.watch._since -= 50
        task.cancel()
        await asyncio.wait([task])
        return hosted._health.watch.still

    assert asyncio.run(scenario()) >= 50


def test_a_replica_takes_the_share_that_ray_gave_it(hosted: Replica) -> None:
    assert Answering.last.share == Share(threads=2, gpu=0.0)


class Prose(FakeExtractor):
    """A language model without an instruction: each document must bring its prompt."""

    def read(self, document: Document) -> Extraction:
        refused = Document(document.id, "FAIL")
        return super().read(document if document.prompt else refused)


def _facts(prompts: bool) -> ModelFacts:
    return ModelFacts(MODEL, "gguf", "f", (), prompts, "none" if prompts else "any")


@pytest.mark.parametrize("prompts", [True, False])
def test_the_probe_asks_what_the_model_can_answer(prompts: bool) -> None:
    models = LocalModels({MODEL: Prose()}, {MODEL: _facts(prompts)})
    assert asyncio.run(probe(models, MODEL)) is prompts


def test_the_first_words_of_a_language_model_are_enough() -> None:
    closed: list[bool] = []

    async def talk(events: Sequence[Event]) -> AsyncGenerator[list[Event]]:
        try:
            yield list(events)
            pytest.fail("nobody waits for the rest")
        finally:
            closed.append(True)

    assert asyncio.run(answers_probe(talk([TextDelta(0, 0, "Met")])))
    failed = Prose().read(Document("probe", "a note"))
    assert not asyncio.run(answers_probe(talk([(0, failed)])))
    assert closed == [True, True]


def test_a_prose_server_without_an_instruction_is_ready(tmp_path: Path) -> None:
    app = make_app(tmp_path, fake=Prose(), guideline="none", prompts=True)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        assert client.get("/readyz").status_code == 200


@pytest.fixture
def prose(tmp_path: Path) -> Iterator[tuple[Extractor, ModelFacts]]:
    make_prose(tmp_path)
    config = load_model(tmp_path / "tiny.yaml")
    with Extractor(config, Share(threads=1)) as extractor:
        yield extractor, facts_of(config, extractor.fingerprint)


@pytest.mark.weights
def test_a_real_prose_model_without_an_instruction_reads_its_probe(
    prose: tuple[Extractor, ModelFacts],
) -> None:
    extractor, facts = prose
    assert facts.prompts
    models = LocalModels({"tiny": extractor}, {"tiny": facts})
    assert asyncio.run(probe(models, "tiny"))


class Reporting(LocalModels):
    async def held(self, model: str) -> list[ProcessMemory]:
        return [
            ProcessMemory(12, 801.5, 3.0, 4100.0, 4000.0, 1),
            ProcessMemory(3, 799.0, 0.0, 3900.0, 4000.0, 0),
        ]


def test_a_breach_is_seen_among_the_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("support.serve.LocalModels", Reporting)
    with TestClient(make_app(tmp_path), base_url="http://127.0.0.1") as client:
        shown = {model["name"]: model for model in client.get("/v1/models").json()["models"]}
    assert [replica["breaches"] for replica in shown[MODEL]["replicas"]] == [1, 0]
    assert shown[MODEL]["replicas"][0]["gpu_mb"] == 4100.0
    assert shown["pipe"]["replicas"] == []
