"""Pages of many kinds, made from a seed: how much of them medspan, rapidocr's defaults and Debian's
Tesseract read, and medspan's pages a second and peak memory over mixed files. Ratios are of the
peers' errors to medspan's: characters wrong, and words not found, each over all pages.

    python -m benchmarks.pages [--each 2] [--pages 200] [--threads 2] [--seed 1]

The character error rate compares text in reading order, with white space folded; word recall
ignores the order. Vietnamese is read with `recognizer: tesseract` by medspan, with the data `vie`
by Tesseract, and as it is by rapidocr. Mixed files are pages of all kinds in English, each also as
a page of a TIFF, with every tenth a PDF of a text layer and a scan. The last line of stdout is one
JSON document, also kept in benchmarks/results/pages.json.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
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
from actors.spans import Document
from benchmarks.pages.made import KINDS, MadePage, fonts, made
from benchmarks.pages.peers import Program, Rapid

HERE = Path(__file__).resolve().parents[1]
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


def ours(pages: Sequence[MadePage], threads: int) -> list[str]:
    """What medspan reads, with a model per language."""
    texts: dict[int, str] = {}
    for language in sorted({page.language for page in pages}):
        config = load_ocr("starter:ocr")
        if language == "vi" and shutil.which("tesseract"):
            config = OcrModel.model_validate(
                {"name": "vi", "kind": "ocr", "language": "vi", "recognizer": "tesseract"}
            )
        numbers = [i for i, page in enumerate(pages) if page.language == language]
        with OcrReader(config, threads=threads) as reader:
            found = reader.read([Document(id=str(i), image=pages[i].content) for i in numbers])
        for i, reading in zip(numbers, found, strict=True):
            texts[i] = reading.text if isinstance(reading, OcrResult) else ""
    return [texts[i] for i in range(len(pages))]


def quality(each: int, seed: int, threads: int) -> dict[str, Any]:
    """Scores by kind and engine, and seconds a page by engine."""
    pages = [made(kind, seed + number) for kind in KINDS for number in range(each)]
    engines: dict[str, Callable[[], list[str]]] = {"medspan": lambda: ours(pages, threads)}
    rapid = Rapid(threads)
    engines["rapidocr"] = lambda: [rapid.read(page) for page in pages]
    if shutil.which("tesseract"):
        program = Program(threads)
        engines["tesseract"] = lambda: [program.read(page) for page in pages]
    counts: dict[str, list[dict[str, int]]] = {}
    seconds: dict[str, float] = {}
    for name, read in engines.items():
        began = time.perf_counter()
        texts = read()
        seconds[name] = round((time.perf_counter() - began) / len(pages), 3)
        print(f"{name}: {seconds[name]} s a page", flush=True)
        counts[name] = [errors(p.text, text) for p, text in zip(pages, texts, strict=True)]
    scores: dict[str, Any] = {}
    for kind in KINDS:
        of_kind = [i for i, page in enumerate(pages) if page.kind == kind]
        scores[kind] = {name: scored([found[i] for i in of_kind]) for name, found in counts.items()}
    wrong = {name: sum(c["edits"] for c in found) for name, found in counts.items()}
    lost = {name: sum(c["words"] - c["found"] for c in found) for name, found in counts.items()}
    ratios = {
        f"{what}_vs_{name}": round(of[name] / max(of["medspan"], 1), 2)
        for what, of in (("characters_wrong", wrong), ("words_lost", lost))
        for name in engines
        if name != "medspan"
    }
    return {"scores": scores, "ratios": ratios, "seconds_a_page": seconds, "each": each}


def throughput(count: int, seed: int, threads: int) -> dict[str, Any]:
    """Pages a second over mixed files, and the growth of memory with the decoding processes."""
    kinds = [kind for kind in KINDS if kind != "vietnamese"]
    documents: list[Document] = []
    total = 0
    while total < count:
        number = len(documents)
        page = made(kinds[number % len(kinds)], seed + 1000 + number)
        if number % 10 == 9:
            content, pages = _SAMPLE_PDF.read_bytes(), 2
        elif number % 5 == 4:
            content, pages = _tiff([page, made(kinds[0], seed + 5000 + number)]), 2
        else:
            content, pages = page.content, 1
        documents.append(Document(id=str(number), image=content))
        total += pages
    with OcrReader(load_ocr("starter:ocr"), threads=threads) as reader:
        reader.read(documents[:1])
        with _PeakMemory() as memory:
            began, cpu = time.perf_counter(), time.process_time()
            found = reader.read(documents)
            seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    read = [reading for reading in found if isinstance(reading, OcrResult)]
    return {
        "pages": sum(len(reading.pages) for reading in read),
        "documents": len(documents),
        "failed": len(documents) - len(read),
        "pages_per_second": round(total / seconds, 3),
        "pages_per_cpu_second": round(total / cpu, 3),
        "memory_mb": {"before": memory.before, "peak": memory.peak},
    }


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
    options = parser.parse_args()
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
    result |= quality(options.each, options.seed, options.threads)
    for kind, engines in result["scores"].items():
        told = (f"{n} {s['cer']:7.2%} {s['word_recall']:7.2%}" for n, s in engines.items())
        print(f"{kind:14}", "   ".join(told), flush=True)
    if options.pages:
        result["throughput"] = throughput(options.pages, options.seed, options.threads)
        result["scores"]["throughput"] = {
            key: result["throughput"][key] for key in ("pages_per_second", "pages_per_cpu_second")
        }
    content = json.dumps(result)
    (HERE / "results" / "pages.json").write_text(content + "\n", encoding="utf-8")
    print(content)


if __name__ == "__main__":
    main()
