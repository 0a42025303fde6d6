"""The GGUF part of benchmarks/serve.py: HTTP against the engine alone, and against
llama-cpp-python's own server with the same file.

Prose of a fixed number of tokens, whatever a random-weight model says: every document costs the
same prompt and the same output in all three. One thread computes; twelve requests are under way,
of the peer two: it answers one at a time.
"""

from __future__ import annotations

import itertools
import json
import socket
import statistics
import sys
import time
from collections import deque
from concurrent.futures import Future
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from actors import Document, Extraction, Extractor, Status
from actors.config import GgufModel
from actors.extractor import Share
from actors.prompts import chat_template, prompt_format
from benchmarks import serve_load
from benchmarks.gguf_peers import sources
from benchmarks.gguf_work import make_model, make_note
from benchmarks.serve_levels import latency_by_load, ratios
from benchmarks.serve_process import medspan, process

TOKENS, SLOTS, UNDER_WAY = 48, 8, 12
INSTRUCTION = "Summarise the note for the ward round: problems, treatment, what is to be done next."


def model_file(cache: Path, folder: Path) -> Path:
    """The model file of the random-weight model, made once in the cache."""
    vocabulary = sources(cache) / "models" / "ggml-vocab-qwen2.gguf"
    content = {
        "name": "prose",
        "kind": "gguf",
        "weights": {"model": str(make_model(cache / "medspan-bench.gguf", vocabulary))},
        "context": {"n_ctx": 1024, "n_gpu_layers": 0, "sequences": SLOTS},
        "prompt": {"format": "prose", "instruction": INSTRUCTION, "chat_template": "chatml"},
        "sampling": {"n_predict": TOKENS, "ignore_eos": True},
    }
    path = folder / "prose.yaml"
    path.write_text(json.dumps(content))
    return path


def alone(config: GgufModel, notes: list[str], seconds: float) -> float:
    """Documents a second of the Extractor with as many under way as HTTP has."""
    ring = (Document(str(i), note) for i, note in enumerate(itertools.cycle(notes)))
    spans: list[tuple[float, float]] = []
    waiting: deque[tuple[float, Future[Extraction]]] = deque()
    with Extractor(config, Share(threads=1, gpu=0)) as extractor:

        def ask() -> None:
            waiting.append((time.perf_counter(), extractor.submit(next(ring))))

        def done() -> None:
            sent, future = waiting.popleft()
            said = future.result()
            # Prose of a fixed length always reaches its limit.
            if said.status is Status.FAILED or said.usage.completion_tokens != TOKENS:
                raise RuntimeError("a document has another number of tokens")
            spans.append((sent, time.perf_counter()))

        for _ in range(UNDER_WAY):
            ask()
        for _ in range(UNDER_WAY):
            done()
            ask()
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            done()
            ask()
        ended = time.perf_counter()
        while waiting:
            done()
    return sum(serve_load.part(*span, began, ended) for span in spans) / (ended - began)


def _llama(python: str, config: GgufModel, notes: list[str], seconds: float) -> serve_load.Outcome:
    """llama-cpp-python's server: the same prompts and as many tokens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    form = prompt_format(config.prompt, chat_template(config.prompt.chat_template))
    bodies: list[dict[str, Any]] = [
        {
            "prompt": form.render(note).text,
            "max_tokens": TOKENS,
            "temperature": 0.0,
            "logit_bias": {"151645": -100.0, "151643": -100.0},  # as ignore_eos
        }
        for note in notes
    ]
    script = str(Path(__file__).parent / "llama_peer.py")
    command = [python, "-P", script, config.weights.model, str(port), "1"]
    with process(command, f"http://127.0.0.1:{port}/v1/models"):
        url = f"http://127.0.0.1:{port}/v1/completions"
        serve_load.closed(url, bodies[-8:], 1, 2)
        # It answers one request at a time, so two clients keep it busy.
        return serve_load.closed(url, bodies, 2, seconds)


def measure(
    cache: Path, folder: Path, seconds: float, llama_python: str | None
) -> tuple[dict[str, Any], dict[str, float | None]]:
    """The part of the result that is about GGUF, and its ratios. ``llama_python``: an interpreter
    with llama-cpp-python's server; this one if it has it, else the server is left out."""
    cache.mkdir(parents=True, exist_ok=True)
    path = model_file(cache, folder)
    config = GgufModel.model_validate(json.loads(path.read_text()))
    notes = [make_note(i)[0] for i in range(400)]
    engine = [alone(config, notes, seconds / 2)]
    bodies = [{"text": note} for note in notes]
    huge = {"text": "\n\n".join(notes * 4)[:1_000_000], "deadline_s": 300}
    with medspan(str(path), folder) as (url, _):
        served = serve_load.closed(url, bodies, UNDER_WAY, seconds)
        levels = latency_by_load(url, bodies, huge, served.good_per_s, seconds)
    engine.append(alone(config, notes[::-1], seconds / 2))
    found = {
        "output_tokens": TOKENS,
        "under_way": UNDER_WAY,
        "engine_documents_per_s": [round(value, 3) for value in engine],
        "medspan": served.as_dict(),
        **levels,
    }
    compared: dict[str, float | None] = {
        "gguf_vs_engine": served.good_per_s / statistics.mean(engine),
        **ratios("gguf", levels),
    }
    if llama_python is not None or find_spec("starlette_context"):
        peer = _llama(llama_python or sys.executable, config, notes, seconds)
        found["llama_cpp_server"] = peer.as_dict()
        compared["vs_llama_server"] = served.good_per_s / peer.good_per_s
    return found, compared
