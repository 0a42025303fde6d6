"""Equal content is answered once, and each document gets the answer under its own id."""

from __future__ import annotations

from concurrent.futures import CancelledError, Future
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.spans import Document, Extraction, Failure, Status, Usage, spanning
from pipelines.batch import copies
from pipelines.batch.copies import Copies


class Model:
    """Answers when told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Document, Future[Extraction]]] = []

    def submit(self, document: Document) -> Future[Extraction]:
        future: Future[Extraction] = Future()
        self.asked.append((document, future))
        return future

    def answer(self, at: int, status: Status = Status.OK, entities: int = 1) -> None:
        document, future = self.asked[at]
        text = document.text or ""
        failure = Failure("TooLong", "no") if status is Status.FAILED else None
        found = tuple(spanning(text, 0, 1, "X") for _ in range(entities))
        usage = Usage(5, 6, 0.7)
        future.set_result(
            Extraction(document.id, "m", "f", status, found, failure=failure, usage=usage)
        )


def test_a_copy_waits_for_the_first_and_costs_nothing() -> None:
    model = Model()
    guard = Copies(model.submit)
    first, second = guard.submit(Document("a", "pain")), guard.submit(Document("b", "pain"))
    other = guard.submit(Document("c", "fever"))
    assert [document.id for document, _ in model.asked] == ["a", "c"]
    assert not second.done()
    model.answer(0)
    assert not first.result().copied
    assert second.result() == replace(first.result(), document_id="b", usage=Usage(), copied=True)
    assert not other.done()
    late = guard.submit(Document("d", "pain")).result()
    assert (late.document_id, late.copied, len(model.asked)) == ("d", True, 2)


def test_prompt_and_picture_belong_to_the_content() -> None:
    model = Model()
    guard = Copies(model.submit)
    documents = [
        Document("a", "pain"),
        Document("b", "pain", prompt=""),
        Document("c", None, image=b"pain"),
        Document("d", "pain", image=b""),
        Document("e", "pai", prompt="n"),
        Document("f", "\ud800"),
    ]
    for document in documents:
        guard.submit(document)
    assert [document for document, _ in model.asked] == documents


def test_a_failure_is_shared_with_those_that_wait_and_not_remembered() -> None:
    model = Model()
    guard = Copies(model.submit)
    guard.submit(Document("a", "pain"))
    waiting = guard.submit(Document("b", "pain"))
    model.answer(0, Status.FAILED)
    assert waiting.result().status is Status.FAILED
    guard.submit(Document("c", "pain"))
    assert [document.id for document, _ in model.asked] == ["a", "c"]


@pytest.mark.parametrize("cancelled", [True, False])
def test_a_lost_model_reaches_those_that_wait(cancelled: bool) -> None:
    model = Model()
    guard = Copies(model.submit)
    guard.submit(Document("a", "pain"))
    waiting = guard.submit(Document("b", "pain"))
    if cancelled:
        model.asked[0][1].cancel()
    else:
        model.asked[0][1].set_exception(RuntimeError("lost"))
    with pytest.raises(CancelledError if cancelled else RuntimeError):
        waiting.result(1)


def test_a_submit_that_raises_leaves_nothing_waiting() -> None:
    def refuse(document: Document) -> Future[Extraction]:
        raise ValueError("closed")

    guard = Copies(refuse)
    for _ in range(2):
        with pytest.raises(ValueError, match="closed"):
            guard.submit(Document("a", "pain"))


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "_MEMORY", 4000)
    model = Model()
    guard = Copies(model.submit)
    for index, entities in enumerate((1, 1, 100, 1)):
        guard.submit(Document(str(index), f"text {index}"))
        model.answer(index, entities=entities)
    remembered = [guard.submit(Document("x", f"text {index}")).done() for index in (3, 2, 1)]
    assert remembered == [True, False, True]  # the long answer alone is above the bound


@given(st.lists(st.sampled_from(["pain", "fever", "cough"]), max_size=30), st.data())
def test_every_document_is_answered_in_any_order(texts: list[str], data: st.DataObject) -> None:
    model = Model()
    guard = Copies(model.submit)
    futures = []
    answered = 0
    for index, text in enumerate(texts):
        futures.append(guard.submit(Document(str(index), text)))
        while answered < len(model.asked) and data.draw(st.booleans()):
            model.answer(answered)
            answered += 1
    for at in range(answered, len(model.asked)):
        model.answer(at)
    found = [future.result(1) for future in futures]
    assert [one.document_id for one in found] == [str(index) for index in range(len(texts))]
    assert len(model.asked) == len(set(texts))
    assert sum(one.copied for one in found) == len(texts) - len(set(texts))
