"""Pages are decoded in another process, and what takes too much there ends that process alone."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from time import process_time

import numpy as np
import pytest
from PIL import Image
from support import ROOT
from support.images import encoded
from support.pages_bombs import (
    endless_pdf,
    inflating_pdf,
    long_gif,
    long_tiff,
    many_frames,
    text_pdf,
)

from actors.pages import (
    DamagedFile,
    DecodeLimits,
    Page,
    TooLarge,
    TooManyPages,
    TooSlow,
    UnknownFormat,
    open_pages,
    process,
)
from actors.pages.decoding import decode_pages

SAMPLES = ROOT / "configs" / "samples" / "pages"
SHORT = DecodeLimits(page_seconds=0.5)


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The ids of the processes that a test has started, all ended after it."""
    ids: list[int] = []
    begin = process._Child.__init__

    def count(self: process._Child) -> None:
        begin(self)
        ids.append(self._process.pid)

    process._CHILDREN.end()
    monkeypatch.setattr(process._Child, "__init__", count)
    yield ids
    process._CHILDREN.end()


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.*")), ids=lambda path: path.name)
def test_pages_are_the_same_as_in_this_process(path: Path) -> None:
    content = path.read_bytes()
    here, there = list(decode_pages(content, DecodeLimits())), list(open_pages(content))
    assert len(here) == len(there)
    for one, other in zip(here, there, strict=True):
        assert (one.width, one.height, one.strips) == (other.width, other.height, other.strips)
        assert (one.picture is None) == (other.picture is None)
        if one.picture is not None and other.picture is not None:
            assert np.array_equal(one.picture, other.picture)
            assert other.picture.flags.writeable
            assert other.picture.flags.c_contiguous


def test_one_process_reads_file_after_file(started: list[int]) -> None:
    for _ in range(3):
        assert len(list(open_pages(text_pdf(b"Metformin")))) == 1
    assert len(started) == 1


def test_files_that_are_open_at_once_do_not_mix(started: list[int]) -> None:
    first = open_pages(many_frames("TIFF", 3))
    second = open_pages(text_pdf(b"Metformin"))
    assert next(first).width == 8
    assert next(second).strips
    assert [page.width for page in first] == [8, 8]
    assert list(second) == []
    assert len(started) == 2


def test_a_page_that_draws_itself_for_ever_is_too_slow(started: list[int]) -> None:
    with pytest.raises(TooSlow, match=r"page 1 needs more than 0\.5 s"):
        list(open_pages(endless_pdf(), SHORT))
    assert not runs(started[0])
    assert len(list(open_pages(text_pdf(b"Metformin"), SHORT))) == 1


def test_the_seconds_are_a_page_s_and_not_a_file_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "CLOCK", 1e6)
    noise = Image.effect_noise((1000, 1000), 200)
    content = encoded(
        noise, "TIFF", save_all=True, append_images=[noise] * 79, compression="tiff_lzw"
    )
    began = process_time()
    list(decode_pages(content, DecodeLimits()))
    half = (process_time() - began) / 2
    assert sum(1 for _ in open_pages(content, DecodeLimits(page_seconds=half))) == 80


def test_a_page_that_inflates_is_too_large_and_memory_comes_back(started: list[int]) -> None:
    content = inflating_pdf(300)
    assert len(content) < 100_000
    with pytest.raises(TooLarge, match="more than 150 MB"):
        list(open_pages(content, DecodeLimits(page_seconds=60, page_bytes=150_000_000)))
    assert not runs(started[0])


def test_memory_of_an_image_is_limited() -> None:
    content = encoded(Image.new("RGB", (7000, 5000)), "PNG")
    with pytest.raises(TooLarge):
        list(open_pages(content, DecodeLimits(page_bytes=100_000_000)))


def test_a_process_that_has_kept_memory_is_ended(
    started: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_KEPT", -1)
    for _ in range(2):
        assert len(list(open_pages(text_pdf(b"Metformin")))) == 1
    assert len(started) == 2
    assert not any(map(runs, started))


def test_whoever_gives_up_does_not_wait_for_the_page(started: list[int]) -> None:
    over = threading.Event()
    threading.Timer(0.3, over.set).start()
    assert list(open_pages(endless_pdf(), DecodeLimits(page_seconds=300), over.is_set)) == []
    assert not runs(started[0])


def test_pages_that_nobody_asks_for_are_not_decoded(started: list[int]) -> None:
    with closing(open_pages(many_frames("TIFF", 50))) as pages:
        next(pages)
    assert len(list(open_pages(text_pdf(b"Metformin")))) == 1
    assert len(started) == 1


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (signal.SIGSEGV, DamagedFile),
        (signal.SIGABRT, DamagedFile),
        (signal.SIGKILL, TooLarge),
        (signal.SIGTERM, RuntimeError),
    ],
)
def test_a_decoder_that_crashes_fails_its_file_alone(
    number: signal.Signals, error: type[Exception], started: list[int]
) -> None:
    pages = open_pages(many_frames("TIFF", 3))
    next(pages)
    os.kill(started[0], number)
    with pytest.raises(error):
        list(pages)
    assert len(list(open_pages(text_pdf(b"Metformin")))) == 1
    assert len(started) == 2


def test_an_idle_process_that_has_died_is_replaced(started: list[int]) -> None:
    for _ in range(2):
        assert len(list(open_pages(text_pdf(b"Metformin")))) == 1
        os.kill(started[-1], signal.SIGKILL)
        os.waitid(os.P_PID, started[-1], os.WEXITED | os.WNOWAIT)
    assert len(started) == 2


@pytest.mark.parametrize("form", ["TIFF", "GIF", "WEBP", "PNG"])
def test_frames_are_pages_and_are_counted_before_they_are_decoded(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(list(open_pages(many_frames(form, 5)))) == 5
    decoded: list[Page] = []
    with pytest.raises(TooManyPages, match="5 pages, more than 4"):
        decoded.extend(open_pages(many_frames(form, 5), DecodeLimits(max_pages=4)))
    assert decoded == []


@pytest.mark.parametrize("content", [long_tiff(5000), long_gif(3000)], ids=["tiff", "gif"])
def test_thousands_of_frames_are_refused(content: bytes) -> None:
    with pytest.raises(TooManyPages, match="000 pages, more than 500"):
        list(open_pages(content))


def test_unknown_format_starts_no_process(started: list[int]) -> None:
    with pytest.raises(UnknownFormat):
        list(open_pages(b"a note"))
    assert started == []
