"""The GGUF backend against llama_cpp.Llama and against llama.cpp's own server.

    python benchmarks/gguf.py [--documents 32] [--repeats 3] [--append] [--cache FOLDER]
    python benchmarks/gguf.py --techniques
    python benchmarks/gguf.py --soak 2000

All in one run, on the same threads, a random-weight qwen2 model of 155M parameters in Q8_0 with
Qwen2's vocabulary, 20 labels, fresh notes in every pass. The answers of medspan and of Llama are
scripted: the answer's next token gets the largest logit. The server gets the same prompts and has
to print as many tokens under the same JSON schema. medspan does its whole way: prompt, verbatim
grammar, parse, grounding. The last line of stdout is one JSON document, kept as
benchmarks/results/gguf-<instructions>.json; a ratio is the median over the passes of peer seconds a
document over medspan's:

    vs_llama_grammar  Llama, one document at a time, GBNF grammar of the same JSON; medspan with
                      16 sequences
    vs_llama_plain    Llama without any grammar; medspan with 16 sequences
    vs_server_np8     llama-server -np 8, json_schema; medspan with 8 sequences
    vs_server_np16    llama-server -np 16, json_schema; medspan with 16 sequences
    vs_llama_latency  Llama without grammar; medspan one document at a time, without grammar

``ceiling_vs_llama_plain`` is what vs_llama_plain would be if every token were computed in blocks of
512, and the host took no time: see benchmarks/gguf_ceiling.py.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import llama_cpp
import llguidance
import numpy as np

from benchmarks.gguf_ceiling import ceiling
from benchmarks.gguf_ours import Ours, config, fresh_jobs
from benchmarks.gguf_peers import Alone, Server, build_server, sources
from benchmarks.gguf_soak import soak
from benchmarks.gguf_techniques import technique_table
from benchmarks.gguf_work import OcrJob, make_model
from benchmarks.machine import machine, result_file

# The server takes flash attention by itself; medspan does so with AVX-512. Which is faster depends
# on the processor, so both have both.
OURS: dict[str, dict[str, Any]] = {
    "": {},
    " with flash attention": {"context": {"flash_attn": "on"}},
}
SERVERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("", ()),
    (" without flash attention", ("-fa", "off")),
)


def peers(
    model: Path, binary: Path | None, cache: Path, options: argparse.Namespace
) -> tuple[dict[str, list[float]], float]:
    """Seconds a document of every contestant, pass by pass, and the host's share of a step."""
    jobs, threads = fresh_jobs(model), options.threads
    few = max(2, options.documents // 4)
    seconds: dict[str, list[float]] = {}
    shares = []

    def take(
        name: str,
        count: int,
        run: Callable[[list[OcrJob]], float],
        clock: Callable[[], float] = time.process_time,
    ) -> None:
        work, before = jobs(count), clock()
        taken = run(work) / count
        used = (clock() - before) / count
        seconds.setdefault(name, []).append(used if options.cpu else taken)
        print(f"  {name}: {taken:.2f} s, {used:.2f} CPU s a document", flush=True)

    def by_llama(name: str, grammar: bool) -> None:
        # OpenMP's threads belong to the thread that calls llama.cpp, and end with it: left behind,
        # they make those of whoever comes next sleep at every operator.
        with ThreadPoolExecutor(1) as own:
            alone = own.submit(Alone, model, threads).result()
            own.submit(alone.run, jobs(1), grammar).result()
            take(name, few, lambda work: own.submit(alone.run, work, grammar).result())
            own.submit(alone.close).result()

    def one_by_one() -> None:
        ours = Ours(model, 1, threads, constrained=False)
        ours.run(jobs(1))
        take("medspan latency", few, lambda work: ours.run(work, 1))
        ours.close()

    for number in range(options.repeats):
        # In turns: the speed of a virtual machine changes within a pass.
        singles = [lambda: by_llama("llama plain", grammar=False), one_by_one]
        for single in singles if number % 2 == 0 else reversed(singles):
            single()
        if options.alone:
            continue
        # After these two: whatever runs after it in the same process is slower.
        by_llama("llama grammar", grammar=True)
        for slots in (8, 16, 32):
            if binary is not None and slots < 32:
                for name, flags in SERVERS[: 1 if options.quick else None]:
                    server = Server(
                        binary, model, slots, threads, *flags, log=cache / "llama-server.log"
                    )
                    try:
                        server.run(jobs(2))
                        take(f"server np{slots}{name}", options.documents, server.run, server.cpu)
                    finally:
                        server.close()
            for name, changes in list(OURS.items())[: 1 if options.quick else None]:
                ours = Ours(model, slots, threads, **changes)
                ours.run(jobs(2))
                before = ours.computed()
                take(f"medspan {slots}{name}", options.documents, ours.run)
                shares.append(ours.host_share())
                each = [
                    (b - a) / options.documents
                    for a, b in zip(before, ours.computed(), strict=True)
                ]
                ours.close()
        least = ceiling(config(model, {"sequences": 16}, {}), each[0], each[1], threads)
        seconds.setdefault("ceiling", []).append(least)
    return seconds, round(statistics.median(shares), 4) if shares else 0.0


def tokens(model: Path, documents: int) -> tuple[float, float]:
    """Tokens of a prompt and of an answer in the mean; the same for every contestant."""
    jobs = fresh_jobs(model)(documents)
    prompts = statistics.mean(len(job.prompt_tokens) for job in jobs)
    return prompts, statistics.mean(len(job.answer_tokens) for job in jobs)


def ratios(seconds: dict[str, list[float]]) -> dict[str, float | None]:
    """Peer over medspan, pass by pass; the median. None where one of them was not run."""

    def against(peer: str, ours: str) -> float | None:
        pairs = zip(seconds.get(peer, []), seconds.get(ours, []), strict=False)
        values = [one / other for one, other in pairs]
        return round(statistics.median(values), 3) if values else None

    def best(slots: int) -> float | None:
        names = [f"server np{slots}{name}" for name, _ in SERVERS]
        theirs = [statistics.median(seconds[name]) for name in names if name in seconds]
        mine = [f"medspan {slots}{name}" for name in OURS]
        ours = [statistics.median(seconds[name]) for name in mine if name in seconds]
        return round(min(theirs) / min(ours), 3) if theirs else None

    return {
        "vs_llama_grammar": against("llama grammar", "medspan 16"),
        "vs_llama_plain": against("llama plain", "medspan 16"),
        "vs_server_np8": against("server np8", "medspan 8"),
        "vs_server_np16": against("server np16", "medspan 16"),
        "vs_server_np8_best_of_each": best(8),
        "vs_server_np16_best_of_each": best(16),
        "vs_llama_latency": against("llama plain", "medspan latency"),
        "ceiling_vs_llama_plain": against("llama plain", "ceiling"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--documents", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cache", type=Path, default=Path("/tmp/medspan-bench"))
    parser.add_argument("--no-server", action="store_true", help="without building llama-server")
    parser.add_argument(
        "--cpu",
        action="store_true",
        help="compare CPU seconds instead of seconds: for a busy machine, with --threads 1",
    )
    parser.add_argument("--append", action="store_true", help="to the passes of the kept result")
    parser.add_argument(
        "--alone", action="store_true", help="only one document at a time; with --append"
    )
    parser.add_argument("--quick", action="store_true", help="both with their defaults only")
    parser.add_argument(
        "--techniques",
        action="store_true",
        help="only this: what each technique gives, on and off, kept as gguf_techniques.json",
    )
    parser.add_argument(
        "--soak", type=int, help="only this: memory and time over so many documents"
    )
    options = parser.parse_args()
    if options.alone and not options.append:
        parser.error("--alone needs --append")
    if options.soak:
        soak(options.soak)
        return
    options.cache.mkdir(parents=True, exist_ok=True)
    vocabulary = sources(options.cache) / "models" / "ggml-vocab-qwen2.gguf"
    model = make_model(options.cache / "bench.gguf", vocabulary)
    result: dict[str, Any] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": {
            "llama-cpp-python": llama_cpp.__version__,
            "llguidance": llguidance.__version__ if hasattr(llguidance, "__version__") else "",
            "numpy": np.__version__,
        },
        "threads": options.threads,
        "clock": "CPU seconds" if options.cpu else "seconds",
    }
    if options.techniques:
        count, repeats = options.documents // 2, max(1, options.repeats - 1)
        table = technique_table(
            model, fresh_jobs(model), count, repeats, options.threads, options.cpu
        )
        ratios_of = {name: row["against_shipped"] for name, row in table.items()}
        keep("gguf_techniques", result | {"documents": count, "table": table}, ratios_of)
        return
    binary = None if options.no_server else build_server(options.cache)
    seconds, share = peers(model, binary, options.cache, options)
    if options.append:
        before = json.loads(result_file("gguf").read_text())
        if before["documents"] != options.documents or before["versions"] != result["versions"]:
            raise SystemExit("the kept result is of other versions or documents: run without it")
        kept = before["seconds_per_document"]
        seconds = {name: kept.get(name, []) + seconds.get(name, []) for name in kept | seconds}
    prompt, answer = tokens(model, options.documents)
    result |= {
        "documents": options.documents,
        "prompt_tokens_per_document": round(prompt, 1),
        "answer_tokens_per_document": round(answer, 1),
        "seconds_per_document": {
            name: [round(value, 3) for value in values] for name, values in seconds.items()
        },
        "documents_per_second": {
            name: round(1 / statistics.median(values), 3) for name, values in seconds.items()
        },
        "answer_tokens_per_second": {
            name: round(answer / statistics.median(values), 1) for name, values in seconds.items()
        },
        "host_share_of_a_step": before["host_share_of_a_step"] if options.alone else share,
    }
    keep("gguf", result, ratios(seconds))


def keep(name: str, result: dict[str, Any], figures: dict[str, Any]) -> None:
    """Write the result where results are kept, and print it."""
    whole = {"benchmark": name, **result, "ratios": figures}
    result_file(name).write_text(json.dumps(whole, indent=1) + "\n")
    print(json.dumps(whole))


if __name__ == "__main__":
    main()
