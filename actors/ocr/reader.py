"""The OCR model: documents in, results out; pages of several documents are read in waves.

One thread decodes and assembles; detection and recognition run in a few worker threads, each with
its share of the CPUs. While the lines of one wave are recognised, the pages of the next are decoded
and searched, so no worker waits at a page boundary.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np

from actors.closeable import Closeable
from actors.config import fingerprint, results_of
from actors.config.ocr import OcrModel
from actors.memory import (
    cores,
    memory_by_place,
    memory_growth,
    reading_workers,
    wave_pixels,
)
from actors.ocr.form_boxes import FormBoxes, form_boxes, without_checks
from actors.ocr.form_fields import with_form_fields
from actors.ocr.layer_merge import KnownWords, known_words, without_known
from actors.ocr.line_crops import (
    LineCrop,
    across,
    apart,
    cut,
    inked_columns,
    is_sideways,
    is_tall,
    line_boxes,
    source_box,
    strips,
    turned,
)
from actors.ocr.marks import SmallPage, page_marks, small_page
from actors.ocr.missing_letters import MissingLetters, doubted
from actors.ocr.networks import OcrNetworks, Quad, weights_digest
from actors.ocr.page_feed import OcrJob, OnPage, PageFeed, ignore_page
from actors.ocr.recognized import RecognizedLine
from actors.ocr.tesseract import BATCH_PIXELS
from actors.pages import (
    Coverage,
    DecodeLimits,
    Note,
    OcrResult,
    Page,
    Picture,
    PixelBudget,
    Strip,
    size_of,
    turned_box,
)
from actors.spans import (
    Box,
    Document,
    Failure,
    MarkKind,
    OnProgress,
    PageMark,
    ignore_progress,
)

_LOG = logging.getLogger(__name__)
_GPU_WAVE_PAGES = 8  # pages recognised together
_DOUBTFUL = 0.85  # a page read with less confidence may be upside down
_FEWEST_ACROSS = 3  # characters of a line across the others, or doubtful: fewer are specks, rules
_TRIED = 3  # number of longest lines to try upside down: a hundred letters suffice
_BETTER = 0.05
_SURE = 0.9  # a line of which the detector was not sure counts if it is read with this confidence
_MARKS = {
    MarkKind.STAMP: "stamps, which may hide text",
    MarkKind.SIGNATURE: "signatures",
    MarkKind.HANDWRITING: "lines that look handwritten and may be read wrong",
}
_NAMED_BOXES = 50  # of the lines left out of a page: a page of noise has thousands


class OcrLost(RuntimeError):
    """The OCR model itself is lost; retry its documents elsewhere."""


@dataclass(slots=True)
class _DetectedPage:
    """A page after detection; ``turn`` and ``cuts`` refer to the image rotated upright. ``across``:
    words already read of lines that run across the others. ``known``: the words that it has beside
    those of the cuts. ``small``: a copy of the page as it came. ``boxes``: those of forms.
    ``doubtful``: lines of which the detector was not sure."""

    job: OcrJob
    number: int
    size: tuple[int, int]
    turn: int
    cuts: list[LineCrop]
    across: list[Strip]
    known: KnownWords
    small: SmallPage
    boxes: FormBoxes
    doubtful: list[LineCrop]


@dataclass(slots=True)
class _Wave:
    """Pages under recognition; ``batches`` hold lines as (page of the wave, line)."""

    pages: list[_DetectedPage]
    batches: list[tuple[list[tuple[int, int]], Future[list[RecognizedLine]]]]


class OcrReader(Closeable):
    """A loaded OCR model and context manager. ``submit`` is thread-safe."""

    def __init__(
        self,
        config: OcrModel,
        threads: int | None = None,
        gpu: float | None = None,
        on_progress: OnProgress = ignore_progress,
        cpu_fallback: bool = False,
    ) -> None:
        """``on_progress`` is called after each page, and while one is decoded. ``cpu_fallback``:
        warn
        instead of failing if the GPU cannot be used."""
        threads = threads or cores()
        workers = reading_workers(threads, bool(gpu))
        self.config = config
        program = config.recognizer == "tesseract"
        self._batch_pixels = BATCH_PIXELS if program else config.batch_pixels
        content = {"model": config.identity(), "results": results_of(config.kind)}
        self.fingerprint = fingerprint(content, weights=weights_digest(config))
        self._fatal = bool(gpu)  # after a GPU error, every later call fails too
        before = memory_by_place()
        self._models = OcrNetworks(config, max(1, threads // workers), gpu, cpu_fallback)
        self.memory_used = memory_growth(before)
        """Bytes by which the process has grown while the networks were loaded."""
        self._wave_pixels = wave_pixels(workers, bool(gpu))
        # On a CPU larger batches are no faster, and who comes next waits for two waves.
        self._wave_pages = _GPU_WAVE_PAGES if gpu else workers
        self._feed = PageFeed(DecodeLimits.of(config.pages))
        self._workers = ThreadPoolExecutor(workers, thread_name_prefix="ocr")
        self._thread = threading.Thread(target=self._run, name="ocr-reader", daemon=True)
        self._in_flight: list[OcrJob] = []
        self._on_progress = on_progress
        self._closed = False
        self._thread.start()

    def submit(
        self,
        document: Document,
        budget: PixelBudget | None = None,
        on_page: OnPage = ignore_page,
    ) -> Future[OcrResult | Failure]:
        """Queue a document. The future resolves to a Reading, or to the Failure of an unreadable
        file; it raises ReadFailure only if the OCR model itself is lost. Cancelling it skips the
        pages that have not started. ``budget``: pixels shared by this document and others.
        ``on_page`` is called after each page."""
        if self._closed:
            raise RuntimeError("the OCR model is closed")
        job = OcrJob(document, Future(), self._on_progress, budget, on_page)
        self._feed.put(job)
        return job.future

    def read(self, documents: Iterable[Document]) -> list[OcrResult | Failure]:
        """Read documents and return the results in the same order."""
        return [future.result() for future in [self.submit(d) for d in documents]]

    def close(self) -> None:
        """Finish what was submitted, and release the models."""
        if not self._closed:
            self._closed = True
            self._feed.put(None)
            self._thread.join()
            self._workers.shutdown()

    def _run(self) -> None:
        current: _Wave | None = None
        try:
            while not self._feed.ended or current is not None:
                following = self._start(self._detect_wave(block=current is None))
                if current is not None:
                    self._finish(current)
                current = following
        except BaseException as error:
            _LOG.critical("the OCR model is lost: %s", type(error).__name__)
            self._closed = True
            for job in [*self._in_flight, *self._feed.abandon()]:
                job.lose(OcrLost(type(error).__name__))

    def _detect_wave(self, block: bool) -> list[_DetectedPage]:
        """Detect the lines of the next pages; empty if none is available."""
        detections: list[Future[_DetectedPage | None]] = []
        pixels = 0
        while len(detections) < self._wave_pages and pixels < self._wave_pixels:
            item = self._feed.next(wait=block and not detections)
            if item is None:
                break
            self._in_flight.append(item[0])
            pixels += item[2].width * item[2].height
            detections.append(self._workers.submit(self._detect, *item))
        return [page for page in [future.result() for future in detections] if page is not None]

    def _detect(self, job: OcrJob, number: int, page: Page) -> _DetectedPage | None:
        picture = page.picture
        assert picture is not None  # the feed only yields pages with an image
        if job.over():
            return None
        size = (page.width, page.height)
        try:
            sure = Coverage(size, page.strips, page.covered)
            turn, upright, cuts, doubtful = self._cuts(picture, page.region or (0, 0, *size), sure)
            boxes = form_boxes(upright, cuts)
            if boxes.checks:  # the recogniser would take them for letters
                clean = without_checks(upright, boxes.checks)
                cuts = cut(clean, [one.quad for one in cuts if not boxes.is_check(one.quad)])
            known = known_words(page, sure, cuts, turn, self._read_cuts, self._models.can_write)
            if known.strips:
                cuts = [
                    one for one in cuts if known.coverage.lacks(source_box(one.quad, size, turn))
                ]
            cuts, strips_across = self._across(upright, cuts, size, turn)
            small = small_page(picture)
            doubtful = [one for one in doubtful if sure.lacks(source_box(one.quad, size, turn))]
            return _DetectedPage(
                job, number, size, turn, cuts, strips_across, known, small, boxes, doubtful
            )
        except Exception as error:
            self._failed([job], error)
            return None

    def _cuts(
        self, picture: Picture, region: tuple[int, int, int, int], sure: Coverage
    ) -> tuple[int, Picture, list[LineCrop], list[LineCrop]]:
        """Return the degrees by which a page was rotated to find its lines upright, the page so
        rotated, and the lines and the doubtful ones in a region. Those that are covered do not tell
        how the others run."""
        size = (picture.shape[1], picture.shape[0])
        quads, doubtful = self._lines(picture, region)
        others = [quad for quad in quads if sure.lacks(source_box(quad, size, 0))]
        turn = 90 if is_sideways(others) else 0
        if turn:
            x0, y0, x1, y1 = turned_box(region, size, turn)
            picture = np.asarray(cv2.rotate(picture, cv2.ROTATE_90_CLOCKWISE), np.uint8)
            quads, doubtful = self._lines(picture, (int(x0), int(y0), int(x1), int(y1)))
        return turn, picture, cut(picture, quads), cut(picture, apart(doubtful, quads))

    def _across(
        self, picture: Picture, cuts: list[LineCrop], size: tuple[int, int], turn: int
    ) -> tuple[list[LineCrop], list[Strip]]:
        """Read the lines that run across the others of an upright page, upwards or downwards, such
        as a note in the margin. Returns the other lines, and those as strips of the source page."""
        tall = [one for one in cuts if is_tall(one)]
        if not tall:
            return cuts, []
        upwards = across(picture, tall)
        downwards = turned(upwards, picture.shape[0], picture.shape[1])
        directions = [(upwards, self._read_cuts(upwards)), (downwards, self._read_cuts(downwards))]
        best = [
            max((0, 1), key=lambda way: directions[way][1][i].confidence) for i in range(len(tall))
        ]
        found: list[Strip] = []
        done: set[int] = set()
        for way, (lines, read) in enumerate(directions):
            sure = [
                i
                for i, one in enumerate(read)
                if best[i] == way
                and one.confidence >= max(_DOUBTFUL, self.config.min_confidence)
                and len(one.text.strip()) >= _FEWEST_ACROSS
            ]
            way_turn = (turn + 90 + 180 * way) % 360
            found += strips([lines[i] for i in sure], [read[i] for i in sure], size, way_turn)
            done |= {id(tall[i]) for i in sure}
        return [one for one in cuts if id(one) not in done], found

    def _lines(
        self, picture: Picture, region: tuple[int, int, int, int]
    ) -> tuple[list[Quad], list[Quad]]:
        x0, y0, x1, y1 = region
        corner = np.array([x0, y0], np.float32)
        quads, doubtful = self._models.lines(picture[y0:y1, x0:x1])
        return [quad + corner for quad in quads], [quad + corner for quad in doubtful]

    def _start(self, pages: list[_DetectedPage]) -> _Wave | None:
        """Queue the lines of some pages for recognition."""
        if not pages:
            return None
        lines = [(p, i) for p, page in enumerate(pages) for i in range(len(page.cuts))]
        crops = [pages[p].cuts[i].crop for p, i in lines]
        return _Wave(
            pages,
            [
                (
                    [lines[k] for k in batch],
                    self._workers.submit(self._models.read, [crops[k] for k in batch]),
                )
                for batch in _batches(crops, self._batch_pixels)
            ],
        )

    def _finish(self, wave: _Wave) -> None:
        letters: dict[tuple[int, int], RecognizedLine] = {}
        for lines, future in wave.batches:
            try:
                letters.update(zip(lines, future.result(), strict=True))
            except Exception as error:
                self._failed([wave.pages[p].job for p, _ in lines], error)
        for p, page in enumerate(wave.pages):
            if not page.job.over():
                self._assemble(page, [letters[p, i] for i in range(len(page.cuts))])
        self._in_flight = [job for job in self._in_flight if not job.over()]

    def _assemble(self, page: _DetectedPage, letters: list[RecognizedLine]) -> None:
        try:
            if _confidence(letters) < _DOUBTFUL:
                letters = self._upside_down(page, letters)
            doubtful = self._read_cuts(page.doubtful)
        except Exception as error:
            self._failed([page.job], error)
            return
        marks = page_marks(page.small, page.cuts, letters, page.size, page.turn, page.number)
        minimum = self.config.min_confidence
        kept = [i for i, read in enumerate(letters) if read.text and read.confidence >= minimum]
        dropped = [one for i, one in enumerate(page.cuts) if i not in set(kept)]
        read_well = []
        for one, read in zip(page.doubtful, doubtful, strict=True):
            if len(read.text.strip()) >= _FEWEST_ACROSS and read.confidence >= minimum:
                if read.confidence >= _SURE:
                    read_well.append((one, read))
                else:
                    dropped.append(one)
        boxes = line_boxes(dropped, page.number, page.size, page.turn)
        problems = [_left_out(boxes, minimum)] if boxes else []
        problems += _marks(marks)
        cuts = [*(page.cuts[i] for i in kept), *(one for one, _ in read_well)]
        read_lines = [*(letters[i] for i in kept), *(read for _, read in read_well)]
        if self.config.recognizer == "onnx":  # the program does not say where its letters are
            read_lines, missing = doubted(read_lines, [inked_columns(one) for one in cuts])
            problems += [_missing_letters(missing)] if missing.many else []
        made = [*strips(cuts, read_lines, page.size, page.turn), *page.across]
        made = with_form_fields(made, page.boxes, page.size, page.turn)
        known, notes = page.known, page.known.notes
        if known.strips:
            made = without_known(made, known.coverage, page.size)
            notes = notes | {Note.PICTURES: len(made)}
        found = [*known.strips, *made]
        page.job.add(page.number, size_of(*page.size, found), found, notes, problems, marks)

    def _upside_down(
        self, page: _DetectedPage, letters: list[RecognizedLine]
    ) -> list[RecognizedLine]:
        """Read a page with low confidence upside down, and return the better result."""
        if not page.cuts:
            return letters
        width, height = page.size if page.turn == 0 else page.size[::-1]
        other = turned(page.cuts, width, height)
        sample = sorted(range(len(other)), key=lambda i: -other[i].crop.shape[1])[:_TRIED]
        trial = self._read([other[i].crop for i in sample])
        if _confidence(trial) < _confidence([letters[i] for i in sample]) + _BETTER:
            return letters
        page.cuts, page.turn = other, page.turn + 180
        page.doubtful = turned(page.doubtful, width, height)
        page.boxes = page.boxes.turned(width, height)
        return self._read_cuts(other)

    def _read_cuts(self, cuts: Sequence[LineCrop]) -> list[RecognizedLine]:
        return self._read([one.crop for one in cuts])

    def _read(self, crops: Sequence[Picture]) -> list[RecognizedLine]:
        read: dict[int, RecognizedLine] = {}
        for batch in _batches(crops, self._batch_pixels):
            read.update(zip(batch, self._models.read([crops[k] for k in batch]), strict=True))
        return [read[k] for k in range(len(crops))]

    def _failed(self, jobs: Sequence[OcrJob], error: Exception) -> None:
        if self._fatal:
            raise error
        for job in jobs:
            job.fail("OcrFailed", f"the page could not be read: {type(error).__name__}")


def _batches(crops: Sequence[Picture], budget: int) -> list[list[int]]:
    """Group crops of similar width, widest first, up to a total padded width."""
    batches: list[list[int]] = []
    for k in sorted(range(len(crops)), key=lambda k: -crops[k].shape[1]):
        if batches and (len(batches[-1]) + 1) * crops[batches[-1][0]].shape[1] <= budget:
            batches[-1].append(k)
        else:
            batches.append([k])
    return batches


def _left_out(boxes: Sequence[Box], minimum: float) -> str:
    """Say that lines were left out, and where: corners in pixels, left, top, right, bottom."""
    return f"lines left out, unreadable or doubtful (min_confidence {minimum:g}): {_places(boxes)}"


def _marks(marks: Sequence[PageMark]) -> list[str]:
    """Say how many marks of each kind there are, and where."""
    problems = []
    for kind, what in _MARKS.items():
        boxes = [mark.box for mark in marks if mark.kind is kind]
        if boxes:
            problems.append(f"{what}: {_places(boxes)}")
    return problems


def _places(boxes: Sequence[Box]) -> str:
    places = [f"({b.x0:.0f} {b.y0:.0f} {b.x1:.0f} {b.y1:.0f})" for b in boxes[:_NAMED_BOXES]]
    more = len(boxes) - len(places)
    return f"{len(boxes)}, at " + ", ".join(places) + (f" and {more} more" if more else "")


def _missing_letters(found: MissingLetters) -> str:
    return (
        f"letters are missing: {found.with_room} of {found.words} words have room for a letter "
        "that is not written; the recogniser may lack letters of the page's language, see language "
        "and recognizer of the OCR model file"
    )


def _confidence(letters: Sequence[RecognizedLine]) -> float:
    """Return the mean probability of all characters."""
    odds = [one.probabilities for one in letters if len(one.probabilities)]
    return float(np.concatenate(odds).mean()) if odds else 0.0
