"""A generative model behind ``submit``: documents to engine requests, completions to Extractions.

The inputs decide on which thread prompts are made; the engine's own threads compute tokens. Parsing
and grounding run on a separate thread, so no document's answer delays the next step of the others.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import Lock
from time import perf_counter

from actors.config import GgufModel
from actors.engine import Completion, Engine, EngineLost, RequestRefused, Techniques
from actors.extras import optional_imports
from actors.futures import settle
from actors.gguf.answers import extraction
from actors.gguf.inputs import Inputs, LoadedModel, TextInputs
from actors.gguf.llama_library import usable_share
from actors.gguf.model import LlamaModel
from actors.gguf.parameters import check_parameters
from actors.gguf.prompt_plans import PromptPlans, check_labels
from actors.gguf.prompted_document import PromptedDocument
from actors.guideline import Guideline
from actors.memory import (
    check_gguf,
    cores,
    gpu_memory,
    has_auto_context,
    output_rows,
    read_gguf,
    resolve_gguf_context,
    with_default_context,
)
from actors.prompts import section_template
from actors.spans import Document, Extraction, Failure, OnText, Status
from actors.weights import digest, fetch_weights, open_weights, weights_digest


class GenerativeBackend:
    """A language model behind ``submit``, configured by a ``GgufModel``.

    ``threads``: CPU threads; None: all cores of this process. ``gpu``: the share of one GPU, 0 for
    none; None: whatever is visible. ``techniques``: the engine's switches, for benchmarks.
    ``cpu_fallback``: warn instead of failing if llama.cpp cannot use the GPU. ``inputs``: how
    documents are presented to the model; None: as text. Raises ConfigError, FileNotFoundError or
    ValueError if the model cannot be loaded, MissingExtraError if ``prompt.check`` needs an extra.
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
        path = fetch_weights(config.weights.model, config.weights.sha256)
        check_labels(config)
        if config.prompt.check:
            with optional_imports("prompt.check"):  # missing now, not at the first answer
                import actors.claims  # noqa: F401
        check_parameters(config.name, config.context.llama_cpp)
        self.inputs: Inputs = inputs or TextInputs()
        self._config = config = _resolve(config, gpu)
        weights = {"weights": weights_digest(path, config.weights.sha256), **self.inputs.digests}
        for number, adapter in enumerate(config.weights.lora):
            found = adapter.sha256 or digest(fetch_weights(adapter.model))
            weights[f"lora {number}"] = f"{adapter.scale} {found}"
        self._model = model = LlamaModel(path, config.context, gpu=gpu != 0)
        try:
            for adapter in config.weights.lora:
                model.attach(fetch_weights(adapter.model, adapter.sha256), adapter.scale)
            bos, eos = model.special_texts
            chat = section_template(config.prompt, gguf=model.chat_template, bos=bos, eos=eos)
            self._plans = PromptPlans(config, weights, model, chat)
            runner = self.inputs.open(
                LoadedModel(config, model, self._plans),
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

        It excludes the location of the weights and the number of documents in flight.
        """
        return self._plans.own.fingerprint

    @property
    def memory_used(self) -> dict[str, int]:
        """Bytes allocated by llama.cpp, by place and purpose, such as "CUDA0 KV"."""
        total: Counter[str] = Counter()
        for buffer in self._buffers:
            total[f"{buffer.place} {buffer.kind}"] += buffer.size
        return {**total, **self.inputs.memory_used}

    @property
    def engine(self) -> Engine:
        """The engine, for its counters."""
        return self._engine

    def submit(
        self, document: Document, guideline: Guideline | None = None, on_text: OnText | None = None
    ) -> Future[Extraction]:
        """Queue a document; thread-safe. The future raises only if the model is lost.

        Cancelling it frees its KV cache at the next step. ``guideline`` overrides the model file's
        own; ``on_text`` receives the output as it streams.
        """
        future: Future[Extraction] = Future()
        self.inputs.schedule(
            document, future, partial(self._begin, document, future, guideline, on_text)
        )
        return future

    def close(self) -> None:
        """Release the model and cancel documents that are still queued."""
        self.inputs.close()
        self._engine.close()
        self._answers.shutdown()

    def _begin(
        self,
        document: Document,
        future: Future[Extraction],
        guideline: Guideline | None,
        on_text: OnText | None,
    ) -> None:
        """Submit a document to the engine; if that is impossible, settle a failed Extraction."""
        start = perf_counter()
        try:
            plan = self._plans.under(guideline)
            prepared = self.inputs.prepare(document, plan)
        except self.inputs.document_errors as error:
            settle(future, self._failed(document, Failure(type(error).__name__, str(error))))
            return
        except Exception as error:
            # Only the type: the message of an unexpected error may quote the document.
            failure = Failure(type(error).__name__, "while building the prompt")
            settle(future, self._failed(document, failure))
            return
        in_flight = PromptedDocument(document, future, plan, prepared.places, notes=prepared.notes)
        in_flight.window_futures = [
            self._engine.submit(
                request, None if on_text is None else partial(on_text, index), client=future
            )
            for index, request in enumerate(prepared.requests)
        ]
        in_flight.seconds = perf_counter() - start
        self._wait(in_flight)

    def _wait(self, in_flight: PromptedDocument) -> None:
        """Schedule the result when the last window completes."""
        left, lock = len(in_flight.window_futures), Lock()

        def on_window_done(_: Future[Completion]) -> None:
            nonlocal left
            with lock:  # called from the stepping, preparing and calling threads
                left -= 1
                last = left == 0
            if last:
                self._answers.submit(self._answer, in_flight)

        def cancel_windows(future: Future[Extraction]) -> None:
            if future.cancelled():
                for window_future in in_flight.window_futures:
                    window_future.cancel()

        in_flight.future.add_done_callback(cancel_windows)
        for window_future in in_flight.window_futures:
            window_future.add_done_callback(on_window_done)

    def _answer(self, in_flight: PromptedDocument) -> None:
        if any(window_future.cancelled() for window_future in in_flight.window_futures):
            in_flight.future.cancel()  # the backend was closed
        if in_flight.future.cancelled():
            in_flight.future.set_running_or_notify_cancel()
            return
        outcome: Extraction | EngineLost
        try:
            completions = [window_future.result() for window_future in in_flight.window_futures]
            outcome = extraction(in_flight, completions, self._config, self._model)
        except EngineLost as lost:
            outcome = lost
        except RequestRefused as refused:
            outcome = self._failed(in_flight.document, Failure("RequestRefused", str(refused)))
        except Exception as error:
            failure = Failure(type(error).__name__, "while parsing the answer")
            outcome = self._failed(in_flight.document, failure)
        settle(in_flight.future, outcome)

    def _failed(self, document: Document, failure: Failure) -> Extraction:
        return Extraction(
            document.id, self._config.name, self.fingerprint, Status.FAILED, failure=failure
        )


def _resolve(config: GgufModel, gpu: float | None) -> GgufModel:
    """Resolve the settings that the model file leaves open, and check them against an explicit GPU
    share. Pools resolve them before the actor starts; a notebook does not."""
    gpu_total = gpu_memory() if gpu != 0 else None
    if gpu_total is not None and (gpu or has_auto_context(config)):
        file = read_gguf(open_weights, config)
        # Without an explicit share this process may not own the whole GPU, so do not fill it.
        config = resolve_gguf_context(file, config, gpu or 1.0, gpu_total, grow=bool(gpu))
        if gpu:
            check_gguf(config.name, file, config, gpu, gpu_total)
        return config
    if config.context.n_ctx == "auto":
        return with_default_context(read_gguf(open_weights, config), config)
    return config
