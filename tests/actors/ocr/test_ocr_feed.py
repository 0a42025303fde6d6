"""Documents that are read page by page: given up between two of them, answered once."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import Future, wait
from threading import Timer
from time import monotonic
from typing import Any

import pypdfium2 as pdfium
import pytest
from PIL import Image
from support.images import Blank
from support.pages_bombs import endless_pdf, text_pdf

from actors.config.ocr import OcrModel, PageLimits
from actors.memory import device
from actors.ocr import OcrReader, reader
from actors.ocr.page_feed import OcrJob, PageFeed
from actors.pages import DecodeLimits, OcrResult, Picture
from actors.spans import Document, Failure

PAGES = 60


def pages(count: int) -> Document:
    """A file of blank pages."""
    file = io.BytesIO()
    sheets = [Image.new("L", (64, 64), 255) for _ in range(count)]
    sheets[0].save(file, "TIFF", save_all=True, append_images=sheets[1:])
    return Document(id=str(count), image=file.getvalue())


def endless() -> Document:
    """A file with an endless page."""
    return Document(id="endless", image=endless_pdf())


@pytest.fixture
def told() -> list[float]:
    """When the reader said that it got on."""
    return []


@pytest.fixture
def blank(monkeypatch: pytest.MonkeyPatch, told: list[float]) -> Iterator[OcrReader]:
    monkeypatch.setattr(reader, "OcrNetworks", Blank)
    monkeypatch.setattr(reader, "weights_digest", lambda config: "none")
    config = OcrModel.model_validate({"name": "ocr", "kind": "ocr", "pages": {"page_seconds": 0.5}})
    with OcrReader(config, threads=1, on_progress=lambda: told.append(monotonic())) as made:
        yield made
        Blank.last.go.set()  # also where a test failed before it did


def test_the_pages_of_a_document_that_is_given_up_are_not_read(blank: OcrReader) -> None:
    long = blank.submit(pages(PAGES))
    assert Blank.last.begun.wait(30)
    assert long.cancel()
    short = blank.submit(pages(1))
    Blank.last.go.set()
    found = short.result(30)
    assert isinstance(found, OcrResult)
    assert len(found.pages) == 1
    assert Blank.last.count < 6, f"of {PAGES}"
    assert wait([long], 30).done == {long}


def test_a_short_document_waits_for_few_pages_of_a_long_one(blank: OcrReader) -> None:
    long = blank.submit(pages(PAGES))
    assert Blank.last.begun.wait(30)
    before: list[int] = []
    short = blank.submit(pages(1))
    short.add_done_callback(lambda _: before.append(Blank.last.count))
    Blank.last.go.set()
    short.result(30)
    long.result(60)
    assert before[0] <= 5, f"of {PAGES}"


def test_a_finished_page_is_reported_before_the_document(
    blank: OcrReader, told: list[float]
) -> None:
    future = blank.submit(pages(PAGES))
    before: list[int] = []
    future.add_done_callback(lambda _: before.append(len(told)))
    Blank.last.go.set()
    blank.close()  # after which everybody was told
    assert len(before) == 1
    assert before[0] >= PAGES  # more where pages take long to decode


def test_ocr_reader_logs_network_memory(blank: OcrReader, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the GPU as well, where the process had nothing before."""
    memory, card = iter([100, 350]), iter([None, 50])
    monkeypatch.setattr(device, "main_memory_used", lambda: next(memory))
    monkeypatch.setattr(device, "gpu_memory_used", lambda: next(card))
    with OcrReader(blank.config, threads=1) as made:
        assert made.memory_used == {"main memory": 250, "GPU": 50}


def test_a_document_that_failed_is_not_read_on(
    blank: OcrReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def fault(picture: Picture) -> list[Any]:
        seen.append(picture)
        raise ValueError("no lines")

    monkeypatch.setattr(Blank.last, "lines", fault)
    found = blank.submit(pages(PAGES)).result(30)
    assert isinstance(found, Failure)
    assert blank.submit(pages(1)).result(30) == found
    assert len(seen) < 6


def test_the_first_answer_counts_and_none_after_a_cancellation() -> None:
    future: Future[OcrResult | Failure] = Future()
    job = OcrJob(pages(1), future, lambda: None)
    job.fail("First", "it was first")
    job.fail("Second", "it was not")
    job.lose(RuntimeError())
    assert future.result(0) == Failure("First", "it was first")
    gone = OcrJob(pages(1), Future(), lambda: None)
    assert not gone.over()
    assert gone.future.cancel()
    assert gone.over()
    gone.fail("Late", "nobody waits")
    gone.expected = 0
    gone.settle()
    assert gone.future.cancelled()


def test_a_page_that_never_ends_fails_its_document_alone(blank: OcrReader) -> None:
    good = Document(id="good", image=text_pdf(b"Metformin"))
    Blank.last.go.set()
    first, bomb, last = blank.read([good, endless(), good])
    assert isinstance(bomb, Failure)
    assert bomb.type == "TooSlow"
    assert isinstance(first, OcrResult)
    assert isinstance(last, OcrResult)
    assert first.text == last.text == "Metformin"


def test_a_page_that_is_decoded_is_a_sign_of_life(blank: OcrReader, told: list[float]) -> None:
    blank.read([endless()])
    assert len(told) > 3


def test_a_request_that_is_given_up_ends_the_page_that_is_decoded(
    blank: OcrReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blank._feed, "_limits", DecodeLimits(page_seconds=600))
    future = blank.submit(endless())
    Timer(0.3, future.cancel).start()
    found = blank.submit(Document(id="good", image=text_pdf(b"Metformin"))).result(120)
    assert isinstance(found, OcrResult)
    assert future.cancelled()


def test_the_limits_of_pages_are_those_of_the_model_file() -> None:
    asked = PageLimits(max_pages=3, max_megapixels=2, page_seconds=1.5, page_memory_mb=500)
    assert DecodeLimits.of(asked) == DecodeLimits(200, 3, 2_000_000, True, 1.5, 500_000_000)


def test_a_short_document_does_not_wait_for_a_long_one(blank: OcrReader) -> None:
    """Nor do several of them, which come while the long one is read; it is read on meanwhile."""
    long = blank.submit(pages(PAGES))
    assert Blank.last.begun.wait(30)
    short = [blank.submit(pages(1)) for _ in range(8)]
    done: list[int] = []
    for future in short:
        future.add_done_callback(lambda _: done.append(Blank.last.count))
    Blank.last.go.set()
    assert all(isinstance(one.result(30), OcrResult) for one in short)
    assert max(done) < PAGES, "before the last page of the long one"
    found = long.result(30)
    assert isinstance(found, OcrResult)
    assert len(found.pages) == PAGES


def test_turns_of_documents() -> None:
    """The one with the fewest pages so far comes first, and each fourth turn is the oldest's."""
    feed = PageFeed(DecodeLimits())
    jobs = [OcrJob(pages(count), Future(), lambda: None) for count in (9, 3, 1, 1)]
    for job in jobs:
        feed.put(job)
    feed.put(None)
    seen = []
    while (page := feed.next(wait=True)) is not None:
        seen.append(jobs.index(page[0]))
    assert feed.ended
    assert [seen.count(i) for i in range(4)] == [9, 3, 1, 1]
    assert max(seen.index(2), seen.index(3)) < 5
    assert seen[-4:] == [0, 0, 0, 0]
    assert [job.expected for job in jobs] == [9, 3, 1, 1]


def test_a_document_without_pictures_takes_turns_too() -> None:
    feed = PageFeed(DecodeLimits())
    whole = pdfium.PdfDocument.new()
    for _ in range(12):
        whole.import_pages(pdfium.PdfDocument(text_pdf(b"Metformin")))
    file = io.BytesIO()
    whole.save(file)
    layer = OcrJob(Document(id="text", image=file.getvalue()), Future(), lambda: None)
    scan = OcrJob(pages(1), Future(), lambda: None)
    feed.put(layer)
    feed.put(scan)
    feed.put(None)
    page = feed.next(wait=True)
    assert page is not None
    assert page[0] is scan
    assert len(layer.pages) < 12
    assert feed.next(wait=True) is None
    assert feed.ended
    assert isinstance(layer.future.result(0), OcrResult)
