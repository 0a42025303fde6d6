"""One class for every kind of model: load it from its configuration, submit documents, close it.

Batch and online use this same class, so their results cannot differ. It handles windows, prompts
and grounding; merging the results of several models is up to the caller (see ``actors.merge``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from actors.closeable import Closeable
from actors.config import ConfigError, GgufModel, ModelConfig, load_model
from actors.guideline import Guideline
from actors.memory import cores
from actors.spans import Document, Extraction, OnProgress, OnText, ignore_progress


@dataclass(frozen=True, slots=True)
class Share:
    """The resources of a machine that a model may use.

    ``threads``: CPU threads for computation; None: all cores available to this process. ``gpu``:
    the fraction of one GPU, 0 for none; None: the whole visible GPU, if any. ``cpu_fallback``: run
    on the CPU, with a warning, if the runtime cannot use the GPU; otherwise that is an error.
    """

    threads: int | None = None
    gpu: float | None = None
    cpu_fallback: bool = False


class Backend(Protocol):
    """The interface that each kind of model implements for the Extractor."""

    @property
    def fingerprint(self) -> str:
        """Digest of the configuration and the weights: equal fingerprints, equal entities."""

    @property
    def memory_used(self) -> Mapping[str, int]:
        """Bytes allocated while loading, by place and purpose, as the runtime or the system
        reports."""

    def submit(
        self, document: Document, guideline: Guideline | None = None, on_text: OnText | None = None
    ) -> Future[Extraction]:
        """Queue a document. The future resolves to an Extraction, even if the document failed; it
        raises only if the model itself is lost, and then the process should exit."""

    def close(self) -> None:
        """Release the model and cancel documents that are still queued."""


class Extractor(Closeable):
    """A loaded model and context manager. ``submit`` is thread-safe; ``extract`` wraps it."""

    def __init__(
        self,
        config: ModelConfig,
        share: Share | None = None,
        on_progress: OnProgress = ignore_progress,
    ) -> None:
        """``on_progress`` is called after each batch of a token classifier; language models report
        progress through ``on_text`` (see ``submit``)."""
        self.config = config
        share = share or Share()
        if share.threads is not None and share.threads > (there := cores()):
            raise ConfigError(
                f"model {config.name}: {share.threads} threads requested, but this process may use "
                "only "
                f"{there} cores, so they would be oversubscribed; lower the pool's num_cpus"
            )
        self._backend = _load(config, share, on_progress)

    @property
    def name(self) -> str:
        """Name of the model, from its configuration."""
        return self.config.name

    @property
    def fingerprint(self) -> str:
        """Digest of the configuration and the weights: equal fingerprints, equal entities."""
        return self._backend.fingerprint

    @property
    def memory_used(self) -> Mapping[str, int]:
        """Bytes allocated while loading, by place and purpose, as the runtime or the system
        reports."""
        return self._backend.memory_used

    def submit(
        self, document: Document, guideline: Guideline | None = None, on_text: OnText | None = None
    ) -> Future[Extraction]:
        """Queue one document and return the future of its Extraction; futures may complete in any
        order.

        ``guideline`` overrides the model file's own; the label set of a token classifier is fixed,
        so a guideline can only select from it. ``on_text`` receives the output of a language model
        as it streams; a token classifier never calls it.
        """
        return self._backend.submit(document, guideline, on_text)

    def extract(self, documents: Iterable[Document]) -> list[Extraction]:
        """Extract from all documents and return the results in the same order."""
        futures = [self._backend.submit(document) for document in documents]
        return [future.result() for future in futures]

    def close(self) -> None:
        """Release the model and cancel documents that are still queued."""
        self._backend.close()


def load_extractor(reference: str | Path, share: Share | None = None) -> Extractor:
    """Load an Extractor from a model file or from ``starter:<name>``.

    Raises ConfigError for an invalid file and FileNotFoundError for missing weights.
    """
    return Extractor(load_model(reference), share)


def _load(config: ModelConfig, share: Share, on_progress: OnProgress) -> Backend:
    # Imported here: a process pays only for the runtime of the model it loads.
    if isinstance(config, GgufModel):
        from actors.gguf import GenerativeBackend, Inputs, TextInputs

        inputs: Inputs = TextInputs()
        if config.sees:
            from actors.vision import PageInputs

            inputs = PageInputs(config)
        return GenerativeBackend(
            config, share.threads, share.gpu, cpu_fallback=share.cpu_fallback, inputs=inputs
        )
    from actors.onnx import OnnxBackend

    return OnnxBackend(
        config, share.threads, share.gpu, on_progress, cpu_fallback=share.cpu_fallback
    )
