"""Time and memory for a large synthetic vocabulary: building, opening, looking up.

Building and looking up run in processes of their own, so that each peak of memory is its own. Both
use one thread, so their processor time is the wall time of a machine with nothing else to do.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

from actors.linking import build_index, gather
from actors.linking.index import VocabularyIndex
from actors.linking.lookup import Lookup
from actors.linking.similar import Similar
from actors.linking.term_keys import words
from benchmarks.linking import synthetic

_LOOKED_UP = 4000


def measure(terms: int, folder: Path) -> dict[str, float | str]:
    """Numbers of one build and one process that looks up; leaves the index in ``folder``."""
    return _child("build", terms, folder) | _child("look", terms, folder)


def _child(task: str, terms: int, folder: Path) -> dict[str, float | str]:
    command = [sys.executable, "-m", "benchmarks.linking.scale", task, str(terms), str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float | str] = json.loads(done.stdout.splitlines()[-1])
    return found


def _build(terms: int, folder: Path) -> dict[str, float | str]:
    start, start_cpu = time.perf_counter(), time.process_time()
    vocabulary = gather("synthetic", str(terms), synthetic.names(terms))
    made, made_cpu = time.perf_counter(), time.process_time()
    target = build_index(vocabulary, folder)
    end, end_cpu = time.perf_counter(), time.process_time()
    size = sum(path.stat().st_size for path in target.iterdir())
    return {
        "terms": vocabulary.terms,
        "gather_s": round(made - start, 1),
        "gather_cpu_s": round(made_cpu - start_cpu, 1),
        "build_s": round(end - made, 1),
        "build_cpu_s": round(end_cpu - made_cpu, 1),
        "build_peak_gb": round(_peak_gb(), 2),
        "index_gb": round(size / 1e9, 3),
    }


def _look(terms: int, folder: Path) -> dict[str, float | str]:
    start = time.perf_counter()
    index = VocabularyIndex(folder / f"synthetic-{terms}")
    lookup = Lookup(index, Similar(index))
    opened = time.perf_counter() - start
    step = max(1, index.manifest.concepts // _LOOKED_UP)
    terms_wanted = [index.term(at) for at in range(0, index.manifest.concepts, step)]
    known = _rate(lookup, terms_wanted)
    # A letter left out of every second word, and the words turned around.
    changed = [
        " ".join(w[:3] + w[4:] if at % 2 == 0 else w for at, w in enumerate(words(term)[::-1]))
        for term in terms_wanted
    ]
    return {
        "open_s": round(opened, 3),
        "known_per_s": round(known),
        "misspelt_per_s": round(_rate(lookup, changed)),
        "resident_peak_gb": round(_peak_gb(), 3),
    }


def _rate(lookup: Lookup, mentions: list[str]) -> float:
    start = time.process_time()
    for mention in mentions:
        lookup.find(mention, 1, 0.5)
    return len(mentions) / (time.process_time() - start)


def _peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


if __name__ == "__main__":
    _task, _terms, _folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    print(json.dumps((_build if _task == "build" else _look)(_terms, _folder)))
