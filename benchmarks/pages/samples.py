"""The project's sample pages: medspan's reader beside rapidocr called in a plain loop, and how well
it reads their entities.

    python -m benchmarks.pages.samples [--repeats 3] [--threads 2] [--copies 3] [--quality-only]

Both have the same two networks, detection limits and threads, and both give words with boxes.
rapidocr runs once as its defaults are and once without its classifier of angles, which is the
comparison of equals: medspan finds a page's rotation in another way. Turns alternate, and ratios
are of medians; vs_rapidocr_cpu is of CPU seconds, for machines that others use, too. Quality is
measured on the project's pages, and on ../shared/images where it is. The last line of stdout is
one JSON document, also kept in benchmarks/results/pages_samples.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rapidfuzz.distance import Levenshtein
from rapidocr import RapidOCR

from actors.config.ocr import load_ocr
from actors.ocr import OcrReader
from actors.pages import OcrResult, place
from actors.spans import Box, Document, spanning

HERE = Path(__file__).resolve().parents[1]
SAMPLES = HERE.parent / "configs" / "samples"
RECORDS = HERE.parents[1] / "shared" / "images" / "patient_records"
# What rapidocr reads by itself: neither PDF nor the second page of a TIFF.
PICTURES = (".png", ".jpg", ".webp")


def error_rate(expected: str, found: str) -> float:
    """Edits a character of the expected text; white space is folded."""
    expected, found = " ".join(expected.split()), " ".join(found.split())
    return Levenshtein.distance(expected, found) / max(len(expected), 1)


def overlap(a: dict[str, float], b: Box) -> float:
    """Intersection over union of a gold box and a box."""
    wide = min(a["x1"], b.x1) - max(a["x0"], b.x0)
    high = min(a["y1"], b.y1) - max(a["y0"], b.y0)
    if wide <= 0 or high <= 0 or a["page"] != b.page:
        return 0.0
    both = (a["x1"] - a["x0"]) * (a["y1"] - a["y0"]) + (b.x1 - b.x0) * (b.y1 - b.y0)
    return wide * high / (both - wide * high)


def entities(gold: dict[str, Any], reading: OcrResult) -> dict[str, float]:
    """Score gold entities: the number read exactly, and the mean overlap of their boxes."""
    text, places = gold["text"], {}
    for block in Levenshtein.opcodes(text, reading.text):
        if block.tag == "equal":
            for i in range(block.src_end - block.src_start):
                places[block.src_start + i] = block.dest_start + i
    right, fits = 0, []
    for entity in gold["entities"]:
        at = [places.get(i) for i in range(entity["start"], entity["end"])]
        first = at[0]
        if first is None or at != list(range(first, first + len(at))):
            continue
        right += 1
        span = spanning(reading.text, first, first + len(at), entity["label"])
        (placed,) = place([span], reading)
        fits += [max((overlap(b, c) for c in placed.boxes), default=0.0) for b in entity["boxes"]]
    return {
        "entities": len(gold["entities"]),
        "read_right": right,
        "box_overlap": round(statistics.mean(fits), 3) if fits else 0.0,
    }


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the wall and of the CPUs."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def speed(reader: OcrReader, threads: int, repeats: int, copies: int) -> dict[str, Any]:
    # Several times each: a lake has no end after seven pages, where workers would stand idle.
    pages = copies * [
        path.read_bytes()
        for path in sorted((SAMPLES / "pages").iterdir())
        if path.suffix in PICTURES
    ]
    documents = [Document(id=str(i), image=content) for i, content in enumerate(pages)]
    loops = {name: _rapidocr(threads, cls) for name, cls in (("equal", False), ("default", True))}

    def ours() -> object:
        return reader.read(documents)

    def loop(name: str) -> Callable[[], object]:
        return lambda: [loops[name](content) for content in pages]

    times: dict[str, list[tuple[float, float]]] = {"medspan": [], "equal": [], "default": []}
    for engine in loops.values():  # the first call loads the networks
        engine(pages[0])
    reader.read(documents[:1])
    for _ in range(repeats):
        times["medspan"].append(timed(ours))
        for name in loops:
            times[name].append(timed(loop(name)))
    wall = {name: statistics.median(w for w, _ in pairs) for name, pairs in times.items()}
    cpu = {name: statistics.median(c for _, c in pairs) for name, pairs in times.items()}
    return {
        "pages": len(pages),
        "pages_per_second": {name: round(len(pages) / s, 3) for name, s in wall.items()},
        "pages_per_cpu_second": {name: round(len(pages) / s, 3) for name, s in cpu.items()},
        "seconds": {n: [[round(w, 2), round(c, 2)] for w, c in t] for n, t in times.items()},
        "ratios": {
            "vs_rapidocr": round(wall["equal"] / wall["medspan"], 3),
            "vs_rapidocr_default": round(wall["default"] / wall["medspan"], 3),
            "vs_rapidocr_cpu": round(cpu["equal"] / cpu["medspan"], 3),
        },
    }


def _rapidocr(threads: int, cls: bool) -> RapidOCR:
    return RapidOCR(
        params={
            "Global.log_level": "error",
            "Global.return_word_box": True,
            "Global.use_cls": cls,
            "EngineConfig.onnxruntime.intra_op_num_threads": threads,
        }
    )


def quality(reader: OcrReader, threads: int) -> dict[str, Any]:
    lines = (SAMPLES / "pages-gold.jsonl").read_text(encoding="utf-8").splitlines()
    golds = [json.loads(line) for line in lines]
    found: dict[str, Any] = {"pages": {}, "records": {}}
    documents = [
        Document(id=gold["id"], image=(SAMPLES / "pages" / gold["id"]).read_bytes())
        for gold in golds
    ]
    for gold, reading in zip(golds, reader.read(documents), strict=True):
        assert isinstance(reading, OcrResult)
        rate = error_rate(gold["text"], reading.text)
        found["pages"][gold["id"]] = {"cer": round(rate, 4), **entities(gold, reading)}
    if RECORDS.exists():
        engine = _rapidocr(threads, cls=True)
        paths = sorted(RECORDS.glob("*.png"))
        records = [Document(id=path.stem, image=path.read_bytes()) for path in paths]
        for path, reading in zip(paths, reader.read(records), strict=True):
            assert isinstance(reading, OcrResult)
            text = path.with_suffix(".txt").read_text(encoding="utf-8")
            peer = " ".join(engine(path.read_bytes()).txts)
            found["records"][path.stem] = {
                "cer": round(error_rate(text, reading.text), 4),
                "cer_rapidocr": round(error_rate(text, peer), 4),
            }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=min(2, len(os.sched_getaffinity(0))))
    parser.add_argument("--copies", type=int, default=3, help="of every page, for the speed")
    parser.add_argument("--quality-only", action="store_true")
    options = parser.parse_args()
    result: dict[str, Any] = {
        "benchmark": "pages_samples",
        "machine": {"cpus": os.cpu_count(), "threads": options.threads, "load": os.getloadavg()[0]},
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("rapidocr", "onnxruntime-gpu")},
        },
        "ratios": {},
    }
    with OcrReader(load_ocr("starter:ocr"), threads=options.threads) as reader:
        if not options.quality_only:
            result |= speed(reader, options.threads, options.repeats, options.copies)
        result["quality"] = quality(reader, options.threads)
    for name, page in result["quality"]["pages"].items():
        print(f"{name:32} CER {page['cer']:.4f}  {page['read_right']}/{page['entities']} entities")
    for name, page in result["quality"]["records"].items():
        print(f"{name:32} CER {page['cer']:.4f}  rapidocr {page['cer_rapidocr']:.4f}")
    content = json.dumps(result)
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "pages_samples.json").write_text(content + "\n", encoding="utf-8")
    print(content)


if __name__ == "__main__":
    main()
