"""Pages of many kinds, made from a seed: how much of them medspan, rapidocr's defaults and Debian's
Tesseract read, in how many CPU seconds; which stamps, signatures and handwriting medspan finds; and
its pages a second and peak memory over mixed files.

    python -m benchmarks.pages [--each 2] [--pages 200] [--threads 2] [--seed 1] [--minutes 60]

The character error rate compares text in reading order, with white space folded; word recall
ignores the order. Vietnamese is read with `recognizer: tesseract` by medspan, with the data `vie`
by Tesseract, and as it is by rapidocr. Mixed files are pages of all kinds in English, each also as
a page of a TIFF, with every tenth a PDF of a text layer and a scan.

Engines take turns page by page, so that a busy machine is as busy for each, and are loaded before.
Ratios are of the peer's error rates to medspan's, each with one error in a thousand added (an
engine without errors has no finite ratio), and of CPU seconds, with those of child processes.
Marks count as found where the rectangles share half of their area. After `--minutes` no further
page is begun: 0.4 of the time is for scores, 0.2 for marks, the rest for mixed files; the result
says how many there were. The last line of stdout is one JSON document, also kept in
benchmarks/results/pages.json.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import os
import platform
import resource
import shutil
import statistics
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from PIL import Image
from rapidfuzz.distance import Levenshtein

from actors.config.ocr import OcrModel, load_ocr
from actors.ocr import OcrReader
from actors.pages import OcrResult
from actors.spans import Document, Failure, MarkKind, PageMark
from benchmarks.pages.made import KINDS, MadePage, fonts, made
from benchmarks.pages.marked import MARKED_KINDS, marked_page
from benchmarks.pages.peers import Program, Rapid

HERE = Path(__file__).resolve().parents[1]
_SMOOTHING = 0.001  # one error in a thousand
_IN_FLIGHT = 8  # documents, as a run's actor has
_SAMPLE_PDF = HERE.parent / "configs" / "samples" / "pages" / "letter-and-scan.pdf"


def errors(expected: str, found: str) -> dict[str, int]:
    """Counts of a page: characters, edits, words, and words that were found."""
    expected, found = " ".join(expected.split()), " ".join(found.split())
    wanted, read = Counter(expected.split()), Counter(found.split())
    return {
        "characters": len(expected),
        "edits": Levenshtein.distance(expected, found),
        "words": wanted.total(),
        "found": (wanted & read).total(),
    }


def scored(counts: Sequence[dict[str, int]]) -> dict[str, float]:
    """Character error rate and word recall over pages."""
    total = Counter[str]()
    for one in counts:
        total.update(one)
    return {
        "cer": round(total["edits"] / total["characters"], 4),
        "word_recall": round(total["found"] / total["words"], 4),
    }


class Ours:
    """medspan, with a model per language."""

    def __init__(self, threads: int) -> None:
        self._readers = {"en": OcrReader(load_ocr("starter:ocr"), threads=threads)}
        if shutil.which("tesseract"):
            config = OcrModel.model_validate(
                {"name": "vi", "kind": "ocr", "language": "vi", "recognizer": "tesseract"}
            )
            self._readers["vi"] = OcrReader(config, threads=threads)

    def read(self, page: MadePage) -> str:
        """Return the text of a page."""
        reader = self._readers.get(page.language, self._readers["en"])
        [found] = reader.read([Document(id="page", image=page.content)])
        return found.text if isinstance(found, OcrResult) else ""

    def close(self) -> None:
        """Release the models."""
        for reader in self._readers.values():
            reader.close()


def cpu_seconds() -> float:
    """CPU seconds of this process and its children, those that have ended too."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = time.process_time() + ended.ru_utime + ended.ru_stime
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it has just ended
            spent = child.cpu_times()
            total += spent.user + spent.system
    return total


def quality(each: int, seed: int, threads: int, until: float) -> dict[str, Any]:
    """Scores and CPU seconds a page, by kind and engine. No page begins after ``until``."""
    mine, rapid = Ours(threads), Rapid(threads)
    engines: dict[str, Callable[[MadePage], str]] = {"medspan": mine.read, "rapidocr": rapid.read}
    if shutil.which("tesseract"):
        engines["tesseract"] = Program(threads).read
    first = made("table", seed + 900)
    for read in engines.values():
        read(first)  # the first call of some loads more
    counts: dict[str, dict[str, list[dict[str, int]]]] = {kind: {} for kind in KINDS}
    seconds: dict[str, dict[str, list[float]]] = {kind: {} for kind in KINDS}
    for number in range(each):
        for kind in KINDS:
            if time.monotonic() > until:
                break
            page = made(kind, seed + number)
            for name, read in engines.items():
                began = cpu_seconds()
                text = read(page)
                spent = cpu_seconds() - began
                counts[kind].setdefault(name, []).append(errors(page.text, text))
                seconds[kind].setdefault(name, []).append(spent)
            print(f"{kind} {number + 1}", flush=True)
    mine.close()
    return summary(counts, seconds)


def summary(
    counts: Mapping[str, Mapping[str, Sequence[dict[str, int]]]],
    seconds: Mapping[str, Mapping[str, Sequence[float]]],
) -> dict[str, Any]:
    """Scores of every kind, and ratios over all pages to which every engine has the same share."""
    scores: dict[str, Any] = {}
    for kind, by_engine in counts.items():
        if not by_engine:
            continue
        scores[kind] = {
            name: scored(found) | {"cpu_seconds": round(statistics.median(seconds[kind][name]), 2)}
            for name, found in by_engine.items()
        }
    names = {name for by_engine in counts.values() for name in by_engine}
    overall = {
        name: scored([one for by_engine in counts.values() for one in by_engine.get(name, ())])
        for name in sorted(names)
    }
    spent = {
        name: statistics.mean(s for by_engine in seconds.values() for s in by_engine.get(name, ()))
        for name in sorted(names)
    }
    ratios: dict[str, float] = {}
    for name in sorted(names - {"medspan"}):
        mine, other = overall["medspan"], overall[name]
        ratios |= {
            f"characters_wrong_vs_{name}": _ratio(other["cer"], mine["cer"]),
            f"words_lost_vs_{name}": _ratio(1 - other["word_recall"], 1 - mine["word_recall"]),
            f"cpu_seconds_vs_{name}": round(spent[name] / spent["medspan"], 2),
        }
    return {
        "scores": scores | {"all pages": overall},
        "cpu_seconds_a_page": {name: round(s, 2) for name, s in spent.items()},
        "scored_pages": sum(len(found.get("medspan", ())) for found in counts.values()),
        "ratios": ratios,
    }


def _ratio(other: float, mine: float) -> float:
    return round((other + _SMOOTHING) / (mine + _SMOOTHING), 2)


def marks_found(each: int, seed: int, threads: int, until: float) -> dict[str, dict[str, int]]:
    """Marks on made pages by kind, how many of them were found, and how many found are none."""
    counts = {kind.value: {"marks": 0, "found": 0, "false": 0} for kind in MarkKind}
    pages = 0
    with OcrReader(load_ocr("starter:ocr"), threads=threads) as reader:
        for number, kind in itertools.product(range(each), MARKED_KINDS):
            if time.monotonic() > until:
                break
            pages += 1
            page = marked_page(kind, seed + number)
            [reading] = reader.read([Document(id="page", image=page.content)])
            found = list(reading.marks) if isinstance(reading, OcrResult) else []
            for mark in page.marks:
                counts[mark.kind]["marks"] += 1
                match = next((one for one in found if _is_same(one, mark)), None)
                if match is not None:
                    found.remove(match)
                    counts[mark.kind]["found"] += 1
            for one in found:
                counts[one.kind]["false"] += 1
    return counts | {"all": {"pages": pages}}


def _is_same(a: PageMark, b: PageMark) -> bool:
    width = min(a.box.x1, b.box.x1) - max(a.box.x0, b.box.x0)
    height = min(a.box.y1, b.box.y1) - max(a.box.y0, b.box.y0)
    areas = [(m.box.x1 - m.box.x0) * (m.box.y1 - m.box.y0) for m in (a, b)]
    shared = max(0.0, width) * max(0.0, height)
    return a.kind is b.kind and shared > 0.5 * (sum(areas) - shared)


def throughput(count: int, seed: int, threads: int, until: float) -> dict[str, Any]:
    """Pages a second over mixed files, and the growth of memory with the decoding processes. No
    document begins after ``until``."""
    with OcrReader(load_ocr("starter:ocr"), threads=threads) as reader:
        reader.read([Document(id="first", image=made("table", seed).content)])
        with _PeakMemory() as memory:
            began, cpu = time.perf_counter(), cpu_seconds()
            pending: deque[Future[OcrResult | Failure]] = deque()
            results: list[OcrResult | Failure] = []
            begun = 0
            for number, (content, pages) in enumerate(mixed_files(seed)):
                if begun >= count or time.monotonic() > until:
                    break
                begun += pages
                pending.append(reader.submit(Document(id=str(number), image=content)))
                if len(pending) >= _IN_FLIGHT:
                    results.append(pending.popleft().result())
            results += [future.result() for future in pending]
            seconds, cpu = time.perf_counter() - began, cpu_seconds() - cpu
    read = [found for found in results if isinstance(found, OcrResult)]
    done = sum(len(found.pages) for found in read)
    return {
        "pages": done,
        "documents": len(results),
        "failed": len(results) - len(read),
        "pages_per_second": round(done / seconds, 3),
        "pages_per_cpu_second": round(done / cpu, 3),
        "memory_mb": {"before": memory.before, "peak": memory.peak},
    }


def mixed_files(seed: int) -> Iterator[tuple[bytes, int]]:
    """Yield files of many kinds without end, each with its number of pages."""
    kinds = [kind for kind in KINDS if kind != "vietnamese"]
    for number in itertools.count():
        page = made(kinds[number % len(kinds)], seed + 1000 + number)
        if number % 10 == 9:
            yield _SAMPLE_PDF.read_bytes(), 2
        elif number % 5 == 4:
            yield _tiff([page, made(kinds[0], seed + 5000 + number)]), 2
        else:
            yield page.content, 1


def _tiff(pages: Sequence[MadePage]) -> bytes:
    images = [Image.open(io.BytesIO(page.content)).convert("L") for page in pages]
    out = io.BytesIO()
    images[0].save(out, "TIFF", save_all=True, append_images=images[1:], compression="tiff_deflate")
    return out.getvalue()


class _PeakMemory:
    """Memory of this process and its children in MB, sampled ten times a second."""

    def __enter__(self) -> _PeakMemory:
        self.before = self.peak = self._now()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.1):
            self.peak = max(self.peak, self._now())

    def _now(self) -> int:
        own = psutil.Process()
        total = 0
        for process in [own, *own.children(recursive=True)]:
            try:
                total += process.memory_info().rss
            except psutil.Error:  # it has just ended
                continue
        return round(total / 1e6)


def _machine(threads: int) -> dict[str, Any]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    facts = {line.split(":")[0].strip(): line.split(":", 1)[-1].strip() for line in lines}
    flags = facts.get("flags", "").split()
    return {
        "name": facts.get("model name", platform.processor()),
        "features": [flag for flag in flags if flag.startswith(("avx", "amx", "sse4"))],
        "cpus": os.cpu_count(),
        "threads": threads,
        "load": round(os.getloadavg()[0], 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--each", type=int, default=2, help="pages of each kind to score")
    parser.add_argument("--pages", type=int, default=200, help="mixed pages to time; 0: none")
    parser.add_argument("--threads", type=int, default=min(2, len(os.sched_getaffinity(0))))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60, help="begin no page after this long")
    options = parser.parse_args()
    began, seconds = time.monotonic(), 60 * options.minutes
    result: dict[str, Any] = {
        "benchmark": "pages",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": _machine(options.threads),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("rapidocr", "onnxruntime-gpu", "pillow")},
        },
        "seed": options.seed,
        "fonts": fonts(),
    }
    result |= quality(options.each, options.seed, options.threads, began + 0.4 * seconds)
    for kind, engines in result["scores"].items():
        told = (f"{n} {s['cer']:7.2%} {s['word_recall']:7.2%}" for n, s in engines.items())
        print(f"{kind:14}", "   ".join(told), flush=True)
    until = began + 0.6 * seconds
    result["marks"] = marks_found(options.each, options.seed + 500, options.threads, until)
    print("marks", json.dumps(result["marks"]), flush=True)
    if options.pages:
        until = began + seconds
        result["throughput"] = throughput(options.pages, options.seed, options.threads, until)
    result["machine"]["load_at_the_end"] = round(os.getloadavg()[0], 1)
    content = json.dumps(result)
    (HERE / "results" / "pages.json").write_text(content + "\n", encoding="utf-8")
    print(content)


if __name__ == "__main__":
    main()
