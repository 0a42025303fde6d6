"""A run over mixed files, on a Ray started here: pages a second, overlap of stages, peak memory."""

from __future__ import annotations

import io
import itertools
import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
from PIL import Image

from actors.memory import cores
from benchmarks.pages.made import KINDS, MadePage, made
from pipelines.batch.run import begin_run, drive_run
from pipelines.config import load_pipeline
from pipelines.ray_cluster import cluster
from pipelines.runs.store import RunStore
from pipelines.runs.tally import Tally
from pipelines.source.units import plan_source

_SAMPLE_PDF = (
    Path(__file__).resolve().parents[2] / "configs" / "samples" / "pages" / "letter-and-scan.pdf"
)
_EVERY = 2.0  # seconds between looks at the memory
_OCR, _MODEL = "ocr", "starter-token-classifier"
_PIPELINE = """\
name: mixed-pages
source: {{path: files/, unit_images: 8}}
ocr: {{model: "starter:ocr", pool: {{num_cpus: {cpus:g}}}}}
steps: [{{model: "starter:token-classifier", pool: {{num_cpus: {cpus:g}}}}}]
sink: {{path: out/}}
"""


def mixed_run(count: int, seed: int, core: int | None) -> dict[str, Any]:
    """Read files of at least ``count`` pages and search them with a token classifier, each with
    half of the cores. Rates include loading the models, but not starting Ray. ``core``: keep what
    the run starts on this core; medspan wants one for each actor, so it must see two.

    ``overlap``: the least share of the classifier's busy time in which OCR was busy, too: both
    together were busy for longer than the run took.
    """
    cpus = max(1.0, cores() / 2)
    with tempfile.TemporaryDirectory() as folder, cluster():
        path = Path(folder)
        pages = write_files(path / "files", count, seed)
        (path / "run.yaml").write_text(_PIPELINE.format(cpus=cpus))
        loaded = load_pipeline(path / "run.yaml")
        run_id = begin_run(loaded, plan_source(loaded.pipeline.source))
        with _Watched(core) as watched:
            outcome = drive_run(RunStore(loaded.pipeline.sink.path), run_id, _Printed())
    stages = outcome.marker["timing"]["stages"]
    busy = {name: stages[name]["seconds"] for name in (_OCR, _MODEL)}
    shared = max(0.0, sum(busy.values()) - outcome.seconds)
    return {
        "pages": pages,
        "documents": dict(outcome.tally.documents),
        "seconds": round(outcome.seconds, 1),
        "pages_per_second": round(pages / outcome.seconds, 3),
        "pages_per_cpu_second": round(pages / watched.cpu_seconds, 3),
        "busy_seconds": busy,
        "overlap": round(shared / busy[_MODEL], 3),
        "peak_memory_mb": watched.peaks,
    }


def write_files(folder: Path, count: int, seed: int) -> int:
    """Write mixed files of at least ``count`` pages; returns how many they have."""
    folder.mkdir(parents=True)
    pages = 0
    for number, (name, content, own) in enumerate(_mixed(seed)):
        if pages >= count:
            break
        (folder / f"{number:04}{name}").write_bytes(content)
        pages += own
    return pages


def _mixed(seed: int) -> Iterator[tuple[str, bytes, int]]:
    """Yield files without end: a suffix, the content, its number of pages. English only: one OCR
    model reads a run."""
    kinds = [kind for kind in KINDS if kind != "vietnamese"]
    for number in itertools.count():
        page = made(kinds[number % len(kinds)], seed + 1000 + number)
        if number % 10 == 9:
            yield ".pdf", _SAMPLE_PDF.read_bytes(), 2
        elif number % 5 == 4:
            yield ".tiff", _tiff([page, made(kinds[0], seed + 5000 + number)]), 2
        else:
            yield _SUFFIXES.get(page.content[:2], ".png"), page.content, 1


_SUFFIXES = {b"\xff\xd8": ".jpg", b"II": ".tiff", b"MM": ".tiff"}


def _tiff(pages: Sequence[MadePage]) -> bytes:
    images = [Image.open(io.BytesIO(page.content)).convert("L") for page in pages]
    out = io.BytesIO()
    images[0].save(out, "TIFF", save_all=True, append_images=images[1:], compression="tiff_deflate")
    return out.getvalue()


class _Printed:
    """Prints how many documents are done."""

    def working(self, documents: float, steps: int) -> None:
        """Nothing."""

    def update(self, tally: Tally, documents: int) -> None:
        """Print the count."""
        print(f"{tally.total} of {documents} files", flush=True)


class _Watched:
    """Peaks of memory in MB: of the OCR actor with its decoder, of the model's actor, of everything
    that the run started, and of all together. Pages that processes share count once. Processes are
    kept on ``core``."""

    def __init__(self, core: int | None) -> None:
        self._core = core
        self._spent: dict[tuple[int, float], float] = {}
        self._pinned: set[int] = set()
        self.peaks: dict[str, int] = {}

    def __enter__(self) -> _Watched:
        self._look()
        self._before = dict(self._spent)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds of all these processes."""
        return sum(self._spent.values()) - sum(self._before.values())

    def _watch(self) -> None:
        while not self._done.wait(_EVERY):
            self._look()

    def _look(self) -> None:
        now = {"ocr_actor": 0.0, "model_actor": 0.0, "driver_and_ray": 0.0}
        own = psutil.Process()
        for process in [own, *own.children(recursive=True)]:
            try:
                if self._core is not None and process.pid not in self._pinned and process != own:
                    _pin(process, self._core)
                    self._pinned.add(process.pid)
                times, began = process.cpu_times(), process.create_time()
                self._spent[process.pid, began] = times.user + times.system
                now[_role(" ".join(process.cmdline()))] += process.memory_full_info().pss / 1e6
            except (psutil.Error, ProcessLookupError):  # it has just ended
                continue
        now["all"] = sum(now.values())
        for name, value in now.items():
            self.peaks[name] = max(self.peaks.get(name, 0), round(value))


def _pin(process: psutil.Process, core: int) -> None:
    for thread in process.threads():
        os.sched_setaffinity(thread.id, {core})


def _role(command: str) -> str:
    if "actors.pages.child" in command or "OcrActor" in command:
        return "ocr_actor"
    return "model_actor" if "ExtractActor" in command else "driver_and_ray"
