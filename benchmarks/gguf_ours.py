"""medspan in the GGUF benchmark: its backend at full cost, with scripted answers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from actors import Document, Status
from actors.config import GgufModel
from actors.engine import Block, Logits, Techniques
from actors.gguf import GenerativeBackend, LlamaModel, LlamaRunner, inputs
from actors.prompts import chat_template, prompt_format
from benchmarks.gguf_work import LABELS, OcrJob, make_note

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

    jobs: dict[tuple[int, ...], OcrJob] = {}  # noqa: RUF012 (set for each pass)

    def __init__(self, model: LlamaModel, *given: Any, **named: Any) -> None:
        super().__init__(model, *given, **named)
        self._known: list[list[int]] = [[] for _ in range(self.sequences)]
        self._job: list[OcrJob | None] = [None] * self.sequences
        self._tokenizer = model.constraint_tokenizer()

    def decode(self, blocks: Sequence[Block]) -> Sequence[Logits]:
        """As LlamaRunner, with the largest logit where the answer wants it."""
        rows = super().decode(blocks)
        place = 0
        for block in blocks:
            known = self._known[block.sequence]
            known += block.tokens
            for back in range(block.rows - 1, -1, -1):
                token = self._next(block.sequence, known[: len(known) - back])
                if block.wanted is not None:
                    token = int(np.searchsorted(block.wanted, token))
                rows[place][token] = 1e9
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
        with patch.object(inputs, "LlamaRunner", ScriptedRunner):
            self.backend = GenerativeBackend(settings, threads=threads, techniques=techniques)
        # Once, at load: 0.5 s that a pass would see.
        self.backend._model.constraint_tokenizer()

    def run(self, jobs: Sequence[OcrJob], in_flight: int | None = None) -> float:
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


def fresh_jobs(model: Path) -> Callable[[int], list[OcrJob]]:
    """A maker of jobs that never gives the same note twice."""
    settings = config(model, {}, {})
    loaded = LlamaModel(model, settings.context)
    form = prompt_format(settings.prompt, chat_template("chatml", gguf=None))
    numbers: Iterator[int] = iter(range(10**9))

    def make(count: int) -> list[OcrJob]:
        jobs = []
        for number in (next(numbers) for _ in range(count)):
            note, entities = make_note(number)
            prompt = form.render(note)
            answer = json.dumps({"entities": [entities]}, separators=(",", ":"))
            tokens = tuple(loaded.tokenize(prompt.prefix + prompt.suffix))
            answer_tokens = tuple(loaded.tokenize_text(answer))
            jobs.append(OcrJob(number, note, prompt.text, tokens, answer, answer_tokens))
        return jobs

    return make
