"""A generative model behind ``submit``: documents to requests, requests to the engine, answers to
Extractions.

Prompts are made where the inputs say, tokens in the engine's thread; parsing and grounding have a
thread of their own, so that no document's answer holds up the next step of the others.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import Lock
from time import perf_counter

from actors.config import GgufModel
from actors.engine import Completion, Engine, EngineLost, RequestRefused, Techniques
from actors.futures import settle
from actors.gguf.answers import extraction
from actors.gguf.asking import Askings, check_labels
from actors.gguf.inputs import Inputs, LoadedModel, TextInputs
from actors.gguf.library import usable_share
from actors.gguf.model import LlamaModel
from actors.gguf.parameters import check_parameters
from actors.gguf.reading import Reading
from actors.guideline import Guideline
from actors.memory import (
    card_memory,
    check_gguf,
    cores,
    is_open,
    output_rows,
    read_gguf,
    settled_gguf,
    usual_gguf,
)
from actors.prompts import chat_template
from actors.spans import Document, Extraction, Failure, Status, Tell
from actors.weights import digest, fetch, open_weights


class GenerativeBackend:
    """A language model behind ``submit``. Its configuration says what it is (``GgufModel``).

    ``threads``: CPU threads, None for all of this process. ``gpu``: the share of one card, 0 for
    none, None for whatever is visible. ``techniques``: the engine's switches, for measuring.
    ``cpu_fallback``: a share that llama.cpp cannot use is a warning, not an error. ``inputs``: how
    documents are put before the model; None: as text.
    Raises ConfigError, FileNotFoundError or ValueError where the model cannot be loaded.
    """

    def __init__(
        self,
        config: GgufModel,
        threads: int | None = None,
        gpu: float | None = None,
        techniques: Techniques | None = None,
        cpu_fallback: bool = False,
        inputs: Inputs | None = None,
    ) -> None:
        if config.context.n_gpu_layers:
            gpu = usable_share(config.name, gpu, cpu_fallback)
        path = fetch(config.weights.model, config.weights.sha256)
        check_labels(config)
        check_parameters(config.name, config.context.llama_cpp)
        self.inputs: Inputs = inputs or TextInputs()
        self._config = config = _settled(config, gpu)
        weights = {"weights": config.weights.sha256 or digest(path), **self.inputs.digests}
        for number, adapter in enumerate(config.weights.lora):
            found = adapter.sha256 or digest(fetch(adapter.model))
            weights[f"lora {number}"] = f"{adapter.scale} {found}"
        self._model = model = LlamaModel(path, config.context, gpu=gpu != 0)
        try:
            for adapter in config.weights.lora:
                model.attach(fetch(adapter.model, adapter.sha256), adapter.scale)
            bos, eos = model.special_texts
            chat = chat_template(
                config.prompt.chat_template, gguf=model.chat_template, bos=bos, eos=eos
            )
            self._askings = Askings(config, weights, model, chat)
            runner = self.inputs.open(
                LoadedModel(config, model, self._askings),
                threads or cores(),
                output_rows(config.context),
            )
        except Exception:
            model.close()
            raise
        self._buffers = runner.buffers
        self._engine = Engine(runner, config.context.slots, techniques)
        self._answers = ThreadPoolExecutor(1, thread_name_prefix=f"gguf-{config.name}")

    @property
    def fingerprint(self) -> str:
        """Digest of the weights and of the settings that can change an answer.

        Where the weights lie and how many documents run beside each other are not in it.
        """
        return self._askings.own.fingerprint

    @property
    def took(self) -> dict[str, int]:
        """Bytes that llama.cpp says to have taken, by place and purpose, such as "CUDA0 KV"."""
        total: Counter[str] = Counter()
        for buffer in self._buffers:
            total[f"{buffer.place} {buffer.kind}"] += buffer.size
        return {**total, **self.inputs.memory_used}

    @property
    def engine(self) -> Engine:
        """The engine, for its counters."""
        return self._engine

    def submit(
        self, document: Document, guideline: Guideline | None = None, tell: Tell | None = None
    ) -> Future[Extraction]:
        """Queue a document; thread-safe. The future has an exception only if the model is lost.

        Cancelling it frees the model for others at the next step. ``guideline`` takes the place of
        the model file's own; ``tell`` is called with what is printed.
        """
        future: Future[Extraction] = Future()
        self.inputs.schedule(
            document, future, partial(self._begin, document, future, guideline, tell)
        )
        return future

    def close(self) -> None:
        """Release the model; documents still queued are cancelled."""
        self.inputs.close()
        self._engine.close()
        self._answers.shutdown()

    def _begin(
        self,
        document: Document,
        future: Future[Extraction],
        guideline: Guideline | None,
        tell: Tell | None,
    ) -> None:
        """Ask the engine; a document that it cannot be asked about is a failed Extraction."""
        began = perf_counter()
        try:
            plan = self._askings.under(guideline)
            prepared = self.inputs.prepare(document, plan)
        except self.inputs.document_errors as error:
            settle(future, self._failed(document, Failure(type(error).__name__, str(error))))
            return
        except Exception as error:
            # Only the type: the message of an unforeseen error may quote the document.
            failure = Failure(type(error).__name__, "while making the prompt")
            settle(future, self._failed(document, failure))
            return
        reading = Reading(document, future, plan, prepared.places, notes=prepared.notes)
        reading.asked = [
            self._engine.submit(
                request, None if tell is None else partial(tell, index), asker=future
            )
            for index, request in enumerate(prepared.requests)
        ]
        reading.seconds = perf_counter() - began
        self._wait(reading)

    def _wait(self, reading: Reading) -> None:
        """Schedule the result for when the last window completes."""
        left, lock = len(reading.asked), Lock()

        def one_done(_: Future[Completion]) -> None:
            nonlocal left
            with lock:  # the steps, the preparing and the caller's thread may all come here
                left -= 1
                last = left == 0
            if last:
                self._answers.submit(self._answer, reading)

        def all_off(future: Future[Extraction]) -> None:
            if future.cancelled():
                for asked in reading.asked:
                    asked.cancel()

        reading.future.add_done_callback(all_off)
        for asked in reading.asked:
            asked.add_done_callback(one_done)

    def _answer(self, reading: Reading) -> None:
        if any(asked.cancelled() for asked in reading.asked):
            reading.future.cancel()  # the backend was closed
        if reading.future.cancelled():
            reading.future.set_running_or_notify_cancel()
            return
        outcome: Extraction | EngineLost
        try:
            completions = [asked.result() for asked in reading.asked]
            outcome = extraction(reading, completions, self._config, self._model)
        except EngineLost as lost:
            outcome = lost
        except RequestRefused as refused:
            outcome = self._failed(reading.document, Failure("RequestRefused", str(refused)))
        except Exception as error:
            failure = Failure(type(error).__name__, "while reading the answer")
            outcome = self._failed(reading.document, failure)
        settle(reading.future, outcome)

    def _failed(self, document: Document, failure: Failure) -> Extraction:
        return Extraction(
            document.id, self._config.name, self.fingerprint, Status.FAILED, failure=failure
        )


def _settled(config: GgufModel, gpu: float | None) -> GgufModel:
    """The model with numbers for what its file leaves open, checked against a share that is stated.
    Pools have settled this before the actor began; a notebook has not."""
    card = card_memory() if gpu != 0 else None
    if card is not None and (gpu or is_open(config)):
        file = read_gguf(open_weights, config)
        # Nobody said that this process may take a whole card: it is not filled.
        config = settled_gguf(file, config, gpu or 1.0, card, grow=bool(gpu))
        if gpu:
            check_gguf(config.name, file, config, gpu, card)
        return config
    if config.context.n_ctx == "auto":
        return usual_gguf(read_gguf(open_weights, config), config)
    return config
