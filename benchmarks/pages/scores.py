"""How much of made pages each engine reads, in how many CPU seconds."""

from __future__ import annotations

import contextlib
import resource
import shutil
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psutil
from rapidfuzz.distance import Levenshtein

from actors.config.ocr import OcrModel, load_ocr
from actors.ocr import OcrReader
from actors.pages import OcrResult
from actors.spans import Document
from benchmarks.pages.made import KINDS, MadePage, made
from benchmarks.pages.peers import Program, Rapid

_SMOOTHING = 0.001  # one error in a thousand
_REGION = 5  # words in a row


def errors(expected: str, found: str) -> dict[str, int]:
    """Counts of a page: characters, edits, words, words that were found, and whether a region of it
    was lost."""
    expected, found = " ".join(expected.split()), " ".join(found.split())
    wanted, read = Counter(expected.split()), Counter(found.split())
    return {
        "characters": len(expected),
        "edits": Levenshtein.distance(expected, found),
        "words": wanted.total(),
        "found": (wanted & read).total(),
        "lost": int(_has_lost_region(expected.split(), found.split())),
    }


def _has_lost_region(expected: Sequence[str], found: Sequence[str]) -> bool:
    """Return True if so many words in a row are missing, in their place and elsewhere."""
    missing = Counter(expected) - Counter(found)
    for block in Levenshtein.opcodes(expected, found):
        run = 0
        for word in expected[block.src_start : block.src_end] if block.tag != "equal" else ():
            run = run + 1 if missing[word] else 0
            missing[word] -= missing[word] > 0
            if run >= _REGION:
                return True
    return False


def scored(counts: Sequence[dict[str, int]]) -> dict[str, float]:
    """Character error rate and word recall over pages."""
    total = Counter[str]()
    for one in counts:
        total.update(one)
    return {
        "cer": round(total["edits"] / total["characters"], 4),
        "word_recall": round(total["found"] / total["words"], 4),
        "pages_with_lost_regions": total["lost"],
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
