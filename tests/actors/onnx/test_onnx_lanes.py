"""Short documents beside long ones on one ONNX model: none waits for the other kind."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from support import tiny_onnx

from actors import Document, Extractor
from actors.config import OnnxModel
from actors.config.onnx import OnnxSession
from actors.extractor import Share
from actors.onnx import ModelLost
from actors.onnx.session import Loaded
from actors.turns import TURN_CHARACTERS, TURN_TOKENS
from pipelines.serve.answering.admission import Queue

SHORT = Document("short", "aspirin and metformin 500 mg daily")
HUGE = Document("huge", "\n".join(tiny_onnx.CORPUS) * 400)
MIDDLE = Document("middle", "\n".join(tiny_onnx.CORPUS) * 20)


class SharedGate:
    """Batches of long documents, which run once ``open`` is set; the others always do."""

    def __init__(self, extractor: Extractor, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.open, self.tokens = threading.Event(), threading.Event(), 0
        reader = extractor._backend._reader  # type: ignore[attr-defined]
        self._run = reader._run
        monkeypatch.setattr(reader, "_run", self)

    def __call__(self, sequences: Sequence[Any]) -> Any:
        if max(len(one) for one in sequences) > 30:
            self.tokens += sum(len(one) for one in sequences)
            self.begun.set()
            assert self.open.wait(60)
        return self._run(sequences)


@pytest.mark.parametrize(("per_batch", "parallel"), [(1, 4), (2, 2), (9, 1)])
def test_threads_are_split_into_batches(tmp_path: Path, per_batch: int, parallel: int) -> None:
    tokenizer = tiny_onnx.wordpiece()
    tiny_onnx.save(tmp_path, tiny_onnx.by_token(tiny_onnx.random_table(tokenizer, 5)), tokenizer)
    settings = OnnxSession(provider="cpu", threads_per_batch=per_batch)
    loaded = Loaded(tmp_path / "model.onnx", settings, 4, 0)
    threads = loaded._session.get_session_options().intra_op_num_threads
    assert (threads, loaded.parallel) == (min(per_batch, 4), parallel)


@pytest.fixture
def extractor(tmp_path: Path) -> Iterator[Extractor]:
    tokenizer = tiny_onnx.wordpiece()
    table = tiny_onnx.random_table(tokenizer, 5)
    table[:, 0] += 4
    tiny_onnx.save(tmp_path, tiny_onnx.by_token(table), tokenizer)
    content = {"name": "tiny", "kind": "onnx", "weights": {"model": str(tmp_path)}}
    with Extractor(OnnxModel.model_validate(content), Share(threads=1)) as extractor:
        yield extractor


def test_a_short_document_is_answered_while_a_batch_of_a_long_one_runs(
    extractor: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = SharedGate(extractor, monkeypatch)
    try:
        long = [extractor.submit(HUGE) for _ in range(3)]
        assert gate.begun.wait(60)
        assert len(SHORT.text or "") <= TURN_CHARACTERS < len(MIDDLE.text or "")
        for _ in range(3):
            assert extractor.submit(SHORT).result(60).entities
        assert not any(future.done() for future in long)
        assert all(future.cancel() for future in long)
    finally:
        gate.open.set()


def test_batches_run_while_the_labels_of_other_documents_are_decoded(
    extractor: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = extractor._backend._reader  # type: ignore[attr-defined]
    decode, decoding, go_on = reader.extraction, threading.Event(), threading.Event()

    def held(reading: Any) -> Any:
        if reading.document.id == "held":
            decoding.set()
            assert go_on.wait(60)
        return decode(reading)

    monkeypatch.setattr(reader, "extraction", held)
    try:
        waits = extractor.submit(Document("held", SHORT.text))
        assert decoding.wait(60)
        for _ in range(3):
            assert extractor.submit(SHORT).result(60).entities
        assert not waits.done()
    finally:
        go_on.set()
    assert waits.result(60).entities


def test_a_document_of_a_few_turns_does_not_wait_for_a_huge_one(
    extractor: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = SharedGate(extractor, monkeypatch)
    huge = extractor.submit(HUGE)
    assert gate.begun.wait(60)
    middle = extractor.submit(MIDDLE)
    before = gate.tokens
    gate.open.set()
    tokens = middle.result(60).usage.prompt_tokens
    assert tokens > TURN_TOKENS
    # A round or two, in which the other has its turn, too; windows overlap.
    assert gate.tokens - before < 3 * (tokens + 16_384)
    assert not huge.done()
    assert huge.cancel()


def test_long_documents_side_by_side_are_read_as_each_alone(extractor: Extractor) -> None:
    """However their turns are cut up by others that come."""
    other = Document("other", "\n".join(tiny_onnx.CORPUS[::-1]) * 12)
    documents = [MIDDLE, other, SHORT]
    alone = [extractor.submit(document).result(120).entities for document in documents]
    futures = [extractor.submit(document) for document in documents * 3]
    assert [future.result(240).entities for future in futures] == alone * 3


def test_a_model_lost_by_a_long_document_is_lost_to_short_ones(
    extractor: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(*_: object) -> None:
        raise RuntimeError("CUDA failure 700: an illegal memory access was encountered")

    monkeypatch.setattr(extractor._backend._reader, "_run", fault)  # type: ignore[attr-defined]
    with pytest.raises(ModelLost):
        extractor.submit(MIDDLE).result(60)
    with pytest.raises(ModelLost):
        extractor.submit(SHORT).result(60)


def test_admission_reckons_a_long_document_as_the_turn_that_the_model_takes() -> None:
    queue = Queue(documents=100, characters=10_000_000, clock=iter(range(1_000)).__next__)
    with queue.place([1_000], deadline=1e9):
        pass  # its time makes the speed known
    with queue.place([1_000_000], deadline=1e9):
        assert queue.wait(500) == pytest.approx(queue._seconds(TURN_CHARACTERS))
