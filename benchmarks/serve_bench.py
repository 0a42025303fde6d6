"""The server against the actor in it, against overload, and against a plain FastAPI.

    python benchmarks/serve.py [--peer-python /path/to/python] [--llama-python /path/to/python]
                               [--seconds 20] [--overload-s 60] [--cache /tmp/medspan-bench]

`medspan serve` with one replica of the starter on one thread, and eight documents a request, of
300 characters each: a sentence or two, so that seconds hold enough requests for percentiles. The
actor is an Extractor in this process, on one thread, over the same documents; it and the server
take turns and never run at the same time. Load comes from this process too. The last line of
stdout is one JSON document, kept as benchmarks/results/serve.json:

    onnx_vs_actor   documents a second of the saturated server over those of the actor
    p95_beside_long p95 of a short request while documents of a million characters are read one
                    after the other, over its p95 alone
    goodput_at_3x   answered documents a second at three times the capacity, over the capacity
    vs_fastapi_hf   the saturated server over a saturated FastAPI with transformers' pipeline, both
                    with the same fp32 model and all cores: FastAPI's threads run requests side by
                    side; needs --peer-python with torch, transformers, fastapi

    gguf_vs_engine  prose of 48 tokens by a random-weight model of 155M parameters in Q8_0:
                    documents a second over HTTP, one a request, over those of the Extractor in
                    this process
    vs_llama_server the same over llama-cpp-python's own server with the same file and prompts;
                    needs its `server` extra, in this interpreter or in that of --llama-python
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
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from actors import Document, Extractor
from actors.config import OnnxModel, load_model
from actors.extractor import Share
from benchmarks import serve_gguf, serve_load
from benchmarks.machine import machine
from benchmarks.onnx import STARTER, _folder, abstracts, peer
from benchmarks.serve_process import LEVELS, PER_REQUEST, ROOT, free_port, medspan, process

CLIENTS = 8
CHARACTERS = 300


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
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if int((folder / "stat").read_text().rsplit(")", 1)[1].split()[3]) != session:
                continue
            pages = (folder / "statm").read_text().split()
            total += (int(pages[1]) - int(pages[2])) * 4096 / 1e6
        except (OSError, ValueError):
            continue
    return total


def bodies(texts: list[str], **more: Any) -> serve_load.Bodies:
    """Requests of eight documents each."""
    return [
        {"documents": [{"text": text} for text in texts[i : i + PER_REQUEST]], **more}
        for i in range(0, len(texts) - PER_REQUEST + 1, PER_REQUEST)
    ]


def beside_long(url: str, seconds: float) -> dict[str, Any]:
    """Short requests one after the other, alone and beside documents of a million characters."""
    short_one: serve_load.Bodies = [{"text": "Metformin 500 mg twice daily for type 2 diabetes."}]
    long = "Metformin 500 mg daily for diabetes, insulin at night.\n" * 18_500
    alone = serve_load.closed(url, short_one, 1, seconds)
    endless: serve_load.Bodies = [{"text": long, "deadline_s": 300}]
    reading = threading.Thread(target=serve_load.closed, args=(url, endless, 1, seconds + 2))
    reading.start()
    time.sleep(2)
    beside = serve_load.closed(url, short_one, 1, seconds)
    reading.join()
    return {"alone": alone.as_dict(), "beside_long": beside.as_dict()}


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


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Everything, in the order in which it is reported."""
    texts = short(options.documents)
    shipped = load_model(STARTER)
    assert isinstance(shipped, OnnxModel)
    alone = [actor(shipped, texts, options.seconds / 2)]
    with medspan(STARTER, folder) as (url, session):
        serve_load.closed(url, bodies(texts), 2, 3)
        full = serve_load.closed(url, bodies(texts), CLIENTS, options.seconds)
        capacity = full.good_per_s
        levels = {
            str(level): serve_load.opened(
                url, bodies(texts), capacity * level, options.seconds
            ).as_dict()
            for level in LEVELS
        }
        company = beside_long(url, options.seconds)
        worst = overload(url, session, texts, 3 * capacity, options.overload_s)
        again = serve_load.closed(url, bodies(texts), CLIENTS, options.seconds / 2)
    alone.append(actor(shipped, texts, options.seconds / 2))
    served = capacity * PER_REQUEST
    return {
        "benchmark": "serve",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "python": platform.python_version(),
        "documents_per_request": PER_REQUEST,
        "clients": CLIENTS,
        "characters_per_document": CHARACTERS,
        "actor_documents_per_s": [round(value, 2) for value in alone],
        "saturated": full.as_dict() | {"documents_per_s": round(served, 2)},
        "open_loop": levels,
        "short_requests": company,
        "overload": worst,
        "after_overload_documents_per_s": round(again.good_per_s * PER_REQUEST, 2),
        "ratios": {
            "onnx_vs_actor": served / statistics.mean(alone),
            "p95_beside_long": company["beside_long"]["p95_s"] / company["alone"]["p95_s"],
            "goodput_at_3x": worst["good_per_s"] / capacity,
            "vs_fastapi_hf": None,
        },
        "reasons": {},
    }


def against_fastapi(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
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
    return {"medspan": ours.as_dict(), "fastapi_hf": theirs.as_dict()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--peer-python", help="an interpreter with torch, transformers, fastapi")
    parser.add_argument("--documents", type=int, default=192)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--overload-s", type=float, default=60)
    parser.add_argument("--llama-python", help="an interpreter with llama-cpp-python[server]")
    parser.add_argument("--cache", type=Path, default=Path("/tmp/medspan-bench"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result = measure(options, folder)
        gguf = serve_gguf.measure(options.cache, folder, 2 * options.seconds, options.llama_python)
        result["ratios"] |= gguf.pop("ratios")
        result["gguf"] = gguf
        if options.peer_python is None:
            reason = "needs an interpreter with torch, transformers and fastapi: --peer-python"
            result["reasons"]["vs_fastapi_hf"] = reason
        else:
            result["fp32"] = against_fastapi(options, folder)
            ours, theirs = (
                result["fp32"][name]["good_per_s"] for name in ("medspan", "fastapi_hf")
            )
            result["ratios"]["vs_fastapi_hf"] = ours / theirs
    line = json.dumps(result)
    (ROOT / "benchmarks/results").mkdir(exist_ok=True)
    (ROOT / "benchmarks/results/serve.json").write_text(json.dumps(result, indent=1) + "\n")
    print(line)


if __name__ == "__main__":
    main()
