"""The server against the actor in it, against overload, and against a plain FastAPI.

    python benchmarks/serve.py [--parts onnx cpu gguf pictures fastapi] [--seconds 20]
                               [--overload-s 60] [--cache /tmp/medspan-bench]
                               [--peer-python /path/to/python] [--llama-python /path/to/python]

Load comes from this process, so it shares the machine with the server. The last line of stdout is
one JSON document, kept as benchmarks/results/serve.json; parts that are not measured this time stay
there as they were, each with its date and machine under `measured`.

onnx: `medspan serve` with one replica of the starter on one thread, and eight documents a request,
of 300 characters each: a sentence or two, so that seconds hold enough requests for percentiles. The
actor is an Extractor in this process, on one thread, over the same documents; it and the server
take turns and never run at the same time.

    onnx_vs_actor   documents a second of the saturated server over those of the actor
    goodput_at_3x   answered documents a second at three times the capacity, over the capacity

cpu: CPU milliseconds of the proxy, of the front that it asks, and of the model, for requests of one
short note that follow one another, and for requests of eight documents. No ratio: see `cpu`.

gguf: prose of 48 tokens by a random-weight model of 155M parameters in Q8_0, one document a
request.

    gguf_vs_engine  documents a second over HTTP over those of the Extractor in this process
    vs_llama_server the same over llama-cpp-python's own server with the same file and prompts;
                    needs its `server` extra, in this interpreter or in that of --llama-python

pictures: a picture of ten lines a request, read by OCR and then by the starter.

onnx, gguf and pictures: percentiles of the requests one after the other, and in an open loop at
parts of the capacity, both without and with one huge document beside them that is sent again
whenever it is answered (a million characters, 1,600 notes, 60 pages).

    NAME_p95_at_half              p95 at half of the capacity, over the median of a lone request
    NAME_p95_at_half_beside_huge  the same with the huge document beside

fastapi: needs --peer-python with torch, transformers, fastapi.

    vs_fastapi_hf   the saturated server over a saturated FastAPI with transformers' pipeline, both
                    with the same fp32 model and all cores: FastAPI's threads run requests side by
                    side
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from actors import Document, Extractor
from actors.config import OnnxModel, load_model
from actors.extractor import Share
from benchmarks import serve_gguf, serve_load, serve_pictures
from benchmarks.machine import RESULTS, machine
from benchmarks.onnx import STARTER, _folder, abstracts, peer
from benchmarks.serve_cpu import cpu_of_requests
from benchmarks.serve_levels import latency_by_load, ratios
from benchmarks.serve_process import PER_REQUEST, ROOT, free_port, medspan, members, process

CLIENTS = 8
CHARACTERS = 300
LINE = "Metformin 500 mg daily for diabetes, insulin at night.\n"
RESULT = RESULTS / "serve.json"
Part = tuple[dict[str, Any], dict[str, float | None]]
"""The measurements of a part, and its ratios."""


def short(count: int) -> list[str]:
    """Documents of at most ``CHARACTERS``, cut from abstracts."""
    pieces = [piece for text in abstracts(count) for piece in textwrap.wrap(text, CHARACTERS)]
    return pieces[:count]


def actor(model: OnnxModel, texts: list[str], seconds: float) -> float:
    """Documents a second of an Extractor on one thread."""
    documents = [Document(str(i), text) for i, text in enumerate(texts)]
    with Extractor(model, Share(threads=1, gpu=0)) as extractor:
        extractor.extract(documents[:16])
        count, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            extractor.extract(documents)
            count += len(documents)
        return count / (time.perf_counter() - began)


def memory(session: int) -> float:
    """MB that the server's processes hold, without what they share with others."""
    total = 0.0
    for folder in members(session):
        with suppress(OSError):  # it has just ended
            pages = (folder / "statm").read_text().split()
            total += (int(pages[1]) - int(pages[2])) * 4096 / 1e6
    return total


def bodies(texts: list[str], **more: Any) -> serve_load.Bodies:
    """Requests of eight documents each."""
    return [
        {"documents": [{"text": text} for text in texts[i : i + PER_REQUEST]], **more}
        for i in range(0, len(texts) - PER_REQUEST + 1, PER_REQUEST)
    ]


def overload(
    url: str, session: int, texts: list[str], rate: float, seconds: float
) -> dict[str, Any]:
    """Three times the capacity, and the memory meanwhile."""
    over = threading.Event()
    grown: list[float] = []
    watching = threading.Thread(
        target=lambda: grown.extend(serve_load.watch(lambda: memory(session), 2.0, over.is_set))
    )
    watching.start()
    outcome = serve_load.opened(url, bodies(texts, deadline_s=15), rate, seconds)
    over.set()
    watching.join()
    quarter = max(1, len(grown) // 4)
    return outcome.as_dict() | {
        "rate_per_s": round(rate, 3),
        "memory_mb_first_quarter": round(statistics.median(grown[:quarter]), 1),
        "memory_mb_last_quarter": round(statistics.median(grown[-quarter:]), 1),
    }


def onnx_part(options: argparse.Namespace, folder: Path) -> Part:
    """The starter behind HTTP, beside its actor, by load and under overload."""
    texts = short(options.documents)
    shipped = load_model(STARTER)
    assert isinstance(shipped, OnnxModel)
    alone = [actor(shipped, texts, options.seconds / 2)]
    with medspan(STARTER, folder) as (url, session):
        serve_load.closed(url, bodies(texts), 2, 3)
        full = serve_load.closed(url, bodies(texts), CLIENTS, options.seconds)
        capacity = full.good_per_s
        huge = {"text": LINE * 18_000, "deadline_s": 300}
        levels = latency_by_load(url, bodies(texts), huge, capacity, options.seconds)
        worst = overload(url, session, texts, 3 * capacity, options.overload_s)
        again = serve_load.closed(url, bodies(texts), CLIENTS, options.seconds / 2)
    alone.append(actor(shipped, texts, options.seconds / 2))
    served = capacity * PER_REQUEST
    found = {
        "documents_per_request": PER_REQUEST,
        "clients": CLIENTS,
        "characters_per_document": CHARACTERS,
        "actor_documents_per_s": [round(value, 2) for value in alone],
        "saturated": full.as_dict() | {"documents_per_s": round(served, 2)},
        **levels,
        "overload": worst,
        "after_overload_documents_per_s": round(again.good_per_s * PER_REQUEST, 2),
    }
    return found, {
        "onnx_vs_actor": served / statistics.mean(alone),
        "goodput_at_3x": worst["good_per_s"] / capacity,
        **ratios("onnx", levels),
    }


def cpu_part(options: argparse.Namespace, folder: Path) -> Part:
    """CPU time of a request by process."""
    with medspan(STARTER, folder) as (url, session):
        one = cpu_of_requests(url, session, {"text": LINE})
        eight = cpu_of_requests(url, session, bodies(short(PER_REQUEST))[0], 100)
    return {"one_note": one, "eight_documents": eight}, {}


def gguf_part(options: argparse.Namespace, folder: Path) -> Part:
    """A language model behind HTTP."""
    return serve_gguf.measure(options.cache, folder, 2 * options.seconds, options.llama_python)


def pictures_part(options: argparse.Namespace, folder: Path) -> Part:
    """OCR behind HTTP."""
    return serve_pictures.measure(folder, 2 * options.seconds)


def fastapi_part(options: argparse.Namespace, folder: Path) -> Part:
    """The same fp32 model behind medspan and behind FastAPI with transformers' pipeline."""
    texts = short(options.documents)
    shipped = load_model(STARTER)
    assert isinstance(shipped, OnnxModel)
    peer(options.peer_python, "export", str(folder), str(_folder(shipped)))
    model = shipped.model_dump(mode="json") | {"name": "fp32"}
    model["weights"] = {"model": str(folder)}
    (folder / "fp32.yaml").write_text(yaml.safe_dump(model))
    with medspan(str(folder / "fp32.yaml"), folder, os.cpu_count() or 1) as (url, _):
        serve_load.closed(url, bodies(texts), 2, 3)
        ours = serve_load.closed(url, bodies(texts), CLIENTS, options.seconds)
    port = free_port()
    window = shipped.window
    script = str(ROOT / "benchmarks/serve_peer.py")
    arguments = [str(port), "1", str(window.size or 512), str(window.overlap or 0)]
    command = [options.peer_python, "-P", "-W", "ignore", script, str(folder), *arguments]
    with process(command, f"http://127.0.0.1:{port}/"):
        url = f"http://127.0.0.1:{port}/v1/extract"
        serve_load.closed(url, bodies(texts), 1, 3)
        theirs = serve_load.closed(url, bodies(texts), CLIENTS, options.seconds)
    found = {"medspan": ours.as_dict(), "fastapi_hf": theirs.as_dict()}
    return found, {"vs_fastapi_hf": ours.good_per_s / theirs.good_per_s}


PARTS: dict[str, Callable[[argparse.Namespace, Path], Part]] = {
    "onnx": onnx_part,
    "cpu": cpu_part,
    "gguf": gguf_part,
    "pictures": pictures_part,
    "fastapi": fastapi_part,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--parts", nargs="+", choices=PARTS, help="default: all that can run")
    parser.add_argument("--peer-python", help="an interpreter with torch, transformers, fastapi")
    parser.add_argument("--documents", type=int, default=192)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--overload-s", type=float, default=60)
    parser.add_argument("--llama-python", help="an interpreter with llama-cpp-python[server]")
    parser.add_argument("--cache", type=Path, default=Path("/tmp/medspan-bench"))
    options = parser.parse_args()
    chosen = options.parts or [p for p in PARTS if p != "fastapi" or options.peer_python]
    if "fastapi" in chosen and options.peer_python is None:
        parser.error(
            "fastapi needs an interpreter with torch, transformers, fastapi: --peer-python"
        )
    result = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    for section in ("ratios", "measured"):
        result.setdefault(section, {})
    for part in chosen:
        measured = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine()}
        with tempfile.TemporaryDirectory() as name:
            found, ratios_of_part = PARTS[part](options, Path(name))
        result |= {"benchmark": "serve", "python": platform.python_version(), part: found}
        result["ratios"] |= ratios_of_part
        result["measured"][part] = measured
        RESULT.write_text(json.dumps(result, indent=1) + "\n")  # a later part may fail
    print(json.dumps(result))


if __name__ == "__main__":
    main()
