"""The GGUF backend against llama_cpp.Llama and against llama.cpp's own server.

    python benchmarks/gguf.py [--documents 32] [--repeats 3] [--cache /tmp/medspan-bench]
    python benchmarks/gguf.py --soak 2000

All in one run, on the same threads, a random-weight qwen2 model of 155M parameters in Q8_0 with
Qwen2's vocabulary, 20 labels, fresh notes in every pass. The answers of medspan and of Llama are
scripted: the answer's next token gets the largest logit. The server gets the same prompts and has
to print as many tokens under the same JSON schema. medspan does its whole way: prompt, verbatim
grammar, parse, grounding. The last line of stdout is one JSON document, kept as
benchmarks/results/gguf.json; a ratio is the median over the passes of peer seconds a document
over medspan's:

    vs_llama_grammar  Llama, one document at a time, GBNF grammar of the same JSON; medspan with
                      32 sequences
    vs_llama_plain    Llama without any grammar; medspan with 32 sequences
    vs_server_np8     llama-server -np 8, json_schema; medspan with 8 sequences
    vs_server_np16    llama-server -np 16, json_schema; medspan with 16 sequences
    vs_llama_latency  Llama without grammar; medspan one document at a time, without grammar

``ceiling_vs_llama_plain`` is what vs_llama_plain would be if every token were computed in blocks of
512, and the host took no time: see benchmarks/gguf_ceiling.py.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import llama_cpp
import llguidance
import numpy as np

from actors import Document, Status
from actors.config import GgufContext, GgufModel
from actors.engine import Block, Logits, Techniques
from actors.gguf import GgufBackend, LlamaModel, LlamaRunner, backend
from actors.prompts import chat_template, prompt_format
from benchmarks.gguf_ceiling import ceiling
from benchmarks.gguf_peers import Alone, Server, build_server, sources
from benchmarks.gguf_soak import soak
from benchmarks.gguf_work import LABELS, Job, make_model, make_note

ROOT = Path(__file__).resolve().parent.parent
PROMPT: dict[str, Any] = {
    "format": "template",
    "guideline": {"name": "bench", "labels": {label: {} for label in LABELS}},
    "chat_template": "chatml",
    "json_style": "compact",
}


def config(model: Path, context: dict[str, Any], prompt: dict[str, Any]) -> GgufModel:
    return GgufModel.model_validate(
        {
            "name": "bench",
            "kind": "gguf",
            "weights": {"model": str(model), "sha256": None},
            "context": {"n_ctx": 1024, "n_gpu_layers": 0, **context},
            "prompt": {**PROMPT, **prompt},
            "sampling": {"n_predict": 300},
        }
    )


class ScriptedRunner(LlamaRunner):
    """llama.cpp at its full cost, whose largest logit is the answer's next token."""

    jobs: dict[tuple[int, ...], Job] = {}  # noqa: RUF012 (set for each pass)

    def __init__(
        self, model: LlamaModel, options: GgufContext, threads: int, rows: int | None = None
    ) -> None:
        super().__init__(model, options, threads, rows)
        self._known: list[list[int]] = [[] for _ in range(self.sequences)]
        self._job: list[Job | None] = [None] * self.sequences
        self._tokenizer = model.constraint_tokenizer()

    def decode(self, blocks: Sequence[Block]) -> Logits:
        """As LlamaRunner, with the largest logit where the answer wants it."""
        rows = super().decode(blocks)
        place = 0
        for block in blocks:
            known = self._known[block.sequence]
            known += block.tokens
            for back in range(block.rows - 1, -1, -1):
                rows[place, self._next(block.sequence, known[: len(known) - back])] = 1e9
                place += 1
        return rows

    def _next(self, sequence: int, known: list[int]) -> int:
        job = self._job[sequence]
        if job is None:
            job = next(j for p, j in self.jobs.items() if known[: len(p)] == list(p))
            self._job[sequence] = job
        said = b"".join(self.pieces[t] for t in known[len(job.prompt_tokens) :])
        rest = job.answer.encode()[len(said) :]
        if not rest:
            return min(self.ends)
        place, at = 0, 0
        while at < len(said):
            at += len(self.pieces[job.answer_tokens[place]])
            place += 1
        if at == len(said):
            return job.answer_tokens[place]
        return int(self._tokenizer.tokenize_bytes(rest)[0])

    def copy(self, source: int, target: int, length: int) -> None:
        """As LlamaRunner."""
        super().copy(source, target, length)
        self._known[target] = self._known[source][:length]

    def trim(self, sequence: int, length: int) -> None:
        """As LlamaRunner."""
        super().trim(sequence, length)
        del self._known[sequence][length:]
        if length == 0:
            self._job[sequence] = None


class Ours:
    """medspan's backend with scripted answers."""

    def __init__(
        self,
        model: Path,
        slots: int,
        threads: int,
        techniques: Techniques | None = None,
        context: dict[str, Any] | None = None,
        **prompt: Any,
    ) -> None:
        settings = config(model, {"sequences": slots, **(context or {})}, prompt)
        with patch.object(backend, "LlamaRunner", ScriptedRunner):
            self.backend = GgufBackend(settings, threads=threads, techniques=techniques)
        # Once, at load: 0.5 s that a pass would see.
        self.backend._model.constraint_tokenizer()

    def run(self, jobs: Sequence[Job], in_flight: int | None = None) -> float:
        """Seconds for all jobs; checks that the answers came out, with all their entities."""
        ScriptedRunner.jobs = {job.prompt_tokens: job for job in jobs}
        began = time.perf_counter()
        documents = [Document(id=str(job.number), text=job.note) for job in jobs]
        if in_flight == 1:
            extractions = [self.backend.submit(document).result() for document in documents]
        else:
            futures = [self.backend.submit(document) for document in documents]
            extractions = [future.result() for future in futures]
        seconds = time.perf_counter() - began
        for job, extraction in zip(jobs, extractions, strict=True):
            said = sum(len(words) for words in json.loads(job.answer)["entities"][0].values())
            if extraction.status is not Status.OK or extraction.completion != job.answer:
                raise RuntimeError(f"medspan did not print the answer: {extraction.status}")
            if len(extraction.entities) != said:
                raise RuntimeError(f"{len(extraction.entities)} entities of {said}")
        return seconds

    def host_share(self) -> float:
        """The part of the steps that was not the model's."""
        counters = self.backend.engine.counters
        return counters.host_seconds / (counters.host_seconds + counters.model_seconds)

    def computed(self) -> tuple[int, int]:
        """Tokens computed so far, and rows of logits."""
        return self.backend.engine.counters.tokens, self.backend.engine.counters.rows

    def close(self) -> None:
        """Release the model."""
        self.backend.close()


def fresh_jobs(model: Path) -> Callable[[int], list[Job]]:
    """A maker of jobs that never gives the same note twice."""
    settings = config(model, {}, {})
    loaded = LlamaModel(model, settings.context)
    form = prompt_format(settings.prompt, chat_template("chatml", gguf=None))
    numbers: Iterator[int] = iter(range(10**9))

    def make(count: int) -> list[Job]:
        jobs = []
        for number in (next(numbers) for _ in range(count)):
            note, entities = make_note(number)
            prompt = form.render(note)
            answer = json.dumps({"entities": [entities]}, separators=(",", ":"))
            tokens = tuple(loaded.tokenize(prompt.prefix + prompt.suffix))
            answer_tokens = tuple(loaded.tokenize_text(answer))
            jobs.append(Job(number, note, prompt.text, tokens, answer, answer_tokens))
        return jobs

    return make


TECHNIQUES: dict[str, dict[str, Any]] = {
    "as shipped": {},
    "prefix not shared": {"techniques": Techniques(share=False)},
    "forced tokens one by one": {"techniques": Techniques(forced=False)},
    "lookup of 2 tokens": {"techniques": Techniques(lookup=2)},
    "lookup of 4 tokens": {"techniques": Techniques(lookup=4)},
    "prompts in chunks of 128": {"techniques": Techniques(chunk=128)},
    "one KV room": {"context": {"kv_tokens": 16384}},
    "one KV room, flash attention": {"context": {"kv_tokens": 16384, "flash_attn": "on"}},
    "flash attention": {"context": {"flash_attn": "on"}},
    "verbatim characters, not words": {"verbatim": "chars"},
    "grammar without verbatim": {"verbatim": "off"},
    "no grammar": {"constrained": False},
}


def technique_table(
    model: Path, jobs: Callable[[int], list[Job]], count: int, repeats: int, threads: int, cpu: bool
) -> dict[str, dict[str, float]]:
    """Documents a second at 16 sequences with one switch changed, beside the shipped settings."""
    taken: dict[str, list[float]] = {name: [] for name in TECHNIQUES}
    shares = {}
    for _ in range(repeats):
        for name, changes in TECHNIQUES.items():
            ours = Ours(model, 16, threads, **changes)
            try:
                work, before = jobs(count), time.process_time()
                wall = ours.run(work)
                taken[name].append(time.process_time() - before if cpu else wall)
                shares[name] = ours.host_share()
            finally:
                ours.close()
            print(f"  {name}: {count / taken[name][-1]:.2f} documents/s", flush=True)
    base = taken["as shipped"]
    return {
        name: {
            "documents_per_second": round(count / statistics.median(seconds), 3),
            "against_shipped": round(
                statistics.median(b / s for b, s in zip(base, seconds, strict=True)), 3
            ),
            "host_share": round(shares[name], 4),
        }
        for name, seconds in taken.items()
    }


# The server takes flash attention by itself; medspan does not on a CPU, where it is less exact.
# Which is faster depends on the processor, so both have both.
OURS: dict[str, dict[str, Any]] = {
    "": {},
    " with flash attention": {"context": {"kv_tokens": 32768, "flash_attn": "on"}},
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
        run: Callable[[list[Job]], float],
        clock: Callable[[], float] = time.process_time,
    ) -> None:
        work, before = jobs(count), clock()
        taken = run(work) / count
        used = (clock() - before) / count
        seconds.setdefault(name, []).append(used if options.cpu else taken)
        print(f"  {name}: {taken:.2f} s, {used:.2f} CPU s a document", flush=True)

    for _ in range(options.repeats):
        # OpenMP's threads belong to the thread that calls llama.cpp, and end with it: left behind,
        # they make those of whoever comes next sleep at every operator.
        with ThreadPoolExecutor(1) as own:
            alone = own.submit(Alone, model, threads).result()
            own.submit(alone.run, jobs(1), grammar=False).result()
            for name, grammar in (("llama plain", False), ("llama grammar", True)):
                take(name, few, lambda j, a=alone, o=own, g=grammar: o.submit(a.run, j, g).result())  # type: ignore[misc]
            own.submit(alone.close).result()
        ours = Ours(model, 1, threads, constrained=False)
        ours.run(jobs(1))
        take("medspan latency", few, lambda j, o=ours: o.run(j, 1))  # type: ignore[misc]
        ours.close()
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
    return seconds, statistics.median(shares)


def ratios(seconds: dict[str, list[float]]) -> dict[str, float | None]:
    """Peer over medspan, pass by pass; the median. None where the peer was not run."""

    def against(peer: str, ours: str) -> float | None:
        pairs = zip(seconds.get(peer, []), seconds[ours], strict=False)
        values = [one / other for one, other in pairs]
        return round(statistics.median(values), 3) if values else None

    def best(slots: int) -> float | None:
        names = [f"server np{slots}{name}" for name, _ in SERVERS]
        theirs = [statistics.median(seconds[name]) for name in names if name in seconds]
        mine = [f"medspan {slots}{name}" for name in OURS]
        ours = [statistics.median(seconds[name]) for name in mine if name in seconds]
        return round(min(theirs) / min(ours), 3) if theirs else None

    return {
        "vs_llama_grammar": against("llama grammar", "medspan 32"),
        "vs_llama_plain": against("llama plain", "medspan 32"),
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
    parser.add_argument("--quick", action="store_true", help="both with their defaults only")
    parser.add_argument("--no-techniques", action="store_true")
    parser.add_argument(
        "--soak", type=int, help="only this: memory and time over so many documents"
    )
    options = parser.parse_args()
    if options.soak:
        soak(options.soak)
        return
    options.cache.mkdir(parents=True, exist_ok=True)
    vocabulary = sources(options.cache) / "models" / "ggml-vocab-qwen2.gguf"
    model = make_model(options.cache / "bench.gguf", vocabulary)
    binary = None if options.no_server else build_server(options.cache)
    load = os.getloadavg()[0]
    seconds, share = peers(model, binary, options.cache, options)
    result: dict[str, Any] = {
        "benchmark": "gguf",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, load {load:.1f} before the run",
        "versions": {
            "llama-cpp-python": llama_cpp.__version__,
            "llguidance": llguidance.__version__ if hasattr(llguidance, "__version__") else "",
            "numpy": np.__version__,
        },
        "documents": options.documents,
        "threads": options.threads,
        "clock": "CPU seconds" if options.cpu else "seconds",
        "documents_per_second": {
            name: round(1 / statistics.median(values), 3) for name, values in seconds.items()
        },
        "ratios": ratios(seconds),
        "host_share_of_a_step": round(share, 4),
    }
    if not options.no_techniques:
        make = fresh_jobs(model)
        result["techniques"] = technique_table(
            model,
            make,
            options.documents // 2,
            max(1, options.repeats - 1),
            options.threads,
            options.cpu,
        )
    kept = ROOT / "benchmarks/results/gguf.json"
    kept.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
