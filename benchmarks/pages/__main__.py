"""Pages of many kinds, made from a seed: how much of them medspan, rapidocr's defaults and Debian's
Tesseract read, in how many CPU seconds; which stamps, signatures, handwriting and fields of scanned
forms medspan finds; and the pages a second and peak memory of a run over mixed files.

    python -m benchmarks.pages [--parts scores,marks,forms,run] [--each 4] [--pages 200] [--core 1]
                               [--threads 2] [--seed 1] [--minutes 60]

`scores`: the character error rate compares text in reading order, with white space folded; word
recall ignores the order. A page has lost a region if five words in a row are missing, in their
place and elsewhere. Vietnamese is read with `recognizer: tesseract` by medspan, with the data `vie`
by Tesseract, and as it is by rapidocr. Engines take turns page by page, so that a busy machine is
as busy for each, and are loaded before. Ratios are of the peer's error rates to medspan's, each
with one error in a thousand added (an engine without errors has no finite ratio), and of CPU
seconds, with those of child processes.

`marks`: a mark counts as found where the rectangles share half of their area. Those named unseen
are of kinds that no number of the code was chosen on.

`forms`: a field of a scanned form counts as found where label and value are right in every
character; check boxes are on or off.

`run`: a Ray run of OCR and a token classifier, with half of the cores each. Mixed files are pages
of all kinds in English, every fifth with a second page, of a TIFF or as a PDF of a text layer and a
scan.

With `--core`, everything runs on that core, and a peer has one thread as medspan's actors have.
After `--minutes`, `scores`, `marks` and `forms` begin no further page; the result says how many
there were. The last line of stdout is one JSON document, kept in benchmarks/results/pages.json;
parts that were not asked for stay in it as they were.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from benchmarks.machine import RESULTS, machine
from benchmarks.pages.fields_found import fields_found
from benchmarks.pages.made import fonts
from benchmarks.pages.marks_found import marks_found
from benchmarks.pages.mixed_run import mixed_run
from benchmarks.pages.scores import quality

_PARTS = ("scores", "marks", "forms", "run")
_FILE = RESULTS / "pages.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--parts", default=",".join(_PARTS), help="of " + ", ".join(_PARTS))
    parser.add_argument("--each", type=int, default=4, help="pages of each kind to score")
    parser.add_argument("--pages", type=int, default=200, help="mixed pages of the run")
    parser.add_argument("--core", type=int, help="keep everything on this core")
    parser.add_argument("--threads", type=int, help="of scores and marks; default: 2 at most")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60, help="begin no page after this long")
    options = parser.parse_args()
    parts = options.parts.split(",")
    if unknown := set(parts) - set(_PARTS):
        parser.error(f"unknown parts: {', '.join(sorted(unknown))}")
    allowed = os.sched_getaffinity(0)
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    threads = options.threads or min(2, len(os.sched_getaffinity(0)))
    until = time.monotonic() + 60 * options.minutes
    result: dict[str, Any] = json.loads(_FILE.read_text("utf-8")) if _FILE.exists() else {}
    result |= {
        "benchmark": "pages",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine() | {"threads": threads},
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("rapidocr", "onnxruntime-gpu", "pillow", "ray")},
        },
        "seed": options.seed,
        "fonts": fonts(),
    }
    if options.core is not None:
        result["machine"]["note"] = "all on one core, another was in use by other work"
    if "scores" in parts:
        result |= quality(options.each, options.seed, threads, until)
        for kind, engines in result["scores"].items():
            told = (f"{n} {s['cer']:7.2%} {s['word_recall']:7.2%}" for n, s in engines.items())
            print(f"{kind:14}", "   ".join(told), flush=True)
    if "marks" in parts:
        result["marks"] = marks_found(options.each, options.seed + 500, threads, until)
        print("marks", json.dumps(result["marks"]), flush=True)
    if "forms" in parts:
        result["forms"] = fields_found(options.each, options.seed + 700, threads, until)
        print("forms", json.dumps(result["forms"]), flush=True)
    if "run" in parts:
        os.sched_setaffinity(0, allowed)  # medspan must see a core for each actor
        result["run"] = mixed_run(options.pages, options.seed, options.core)
    result["machine"]["load_at_the_end"] = round(os.getloadavg()[0], 1)
    content = json.dumps(result)
    _FILE.write_text(content + "\n", encoding="utf-8")
    print(content)


if __name__ == "__main__":
    main()
