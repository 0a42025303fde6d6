"""One class for every kind of model: load it from its configuration, submit documents, close.

Batch and online use this same class, so they cannot differ. Windows, prompts and grounding are
behind it; merging several models is not (see ``actors.merge``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from actors.closing import Closing
from actors.config import ConfigError, GgufModel, ModelConfig, load_model
from actors.guideline import Guideline
from actors.memory import cores
from actors.spans import Document, Extraction, Moved, Tell, unheard


@dataclass(frozen=True, slots=True)
class Share:
    """The part of a machine that a model may take.

    ``threads``: CPU threads for computation; None: all that this process may run on.
    ``gpu``: the fraction of one card, 0 for none; None: whatever card is visible, whole.
    ``cpu_fallback``: run on the CPU, with a warning, where the runtime cannot use the card of a
    fraction; without it that is an error.
    """

    threads: int | None = None
    gpu: float | None = None
    cpu_fallback: bool = False


class Backend(Protocol):
    """What a kind of model offers to the Extractor."""

    @property
    def fingerprint(self) -> str:
        """Digest of the configuration and the weights: equal fingerprints, equal entities."""

    @property
    def took(self) -> Mapping[str, int]:
        """Bytes that loading took, by place and purpose, as the runtime or the system says."""

    def submit(
        self, document: Document, guideline: Guideline | None = None, tell: Tell | None = None
    ) -> Future[Extraction]:
        """Queue a document. The future holds an Extraction, also for a document that failed; it
        holds an exception only when the model itself is lost (then the process should end)."""

    def close(self) -> None:
        """Release the model; documents still queued are cancelled."""


class Extractor(Closing):
    """A loaded model. ``submit`` is thread-safe; ``extract`` wraps it. A context manager."""

    def __init__(
        self,
        config: ModelConfig,
        share: Share | None = None,
        moved: Moved = unheard,
    ) -> None:
        """``moved`` is called after each batch of a token classifier; that a language model gets
        on is told by what it prints (``submit``)."""
        self.config = config
        share = share or Share()
        if share.threads is not None and share.threads > (there := cores()):
            raise ConfigError(
                f"model {config.name}: {share.threads} threads are asked for, and this process "
                f"may run on {there} cores: they would share them; lower the pool's num_cpus"
            )
        self._backend = _load(config, share, moved)

    @property
    def name(self) -> str:
        """The model's name, as in its configuration."""
        return self.config.name

    @property
    def fingerprint(self) -> str:
        """Digest of the configuration and the weights: equal fingerprints, equal entities."""
        return self._backend.fingerprint

    @property
    def took(self) -> Mapping[str, int]:
        """Bytes that loading took, by place and purpose, as the runtime or the system says."""
        return self._backend.took

    def submit(
        self, document: Document, guideline: Guideline | None = None, tell: Tell | None = None
    ) -> Future[Extraction]:
        """Queue one document; its Extraction comes by the future, in whatever order.

        ``guideline``: instead of the model file's own; a token classifier's labels are its
        weights', so there it chooses among them. ``tell`` hears what a language model prints as it
        comes; a token classifier prints nothing.
        """
        return self._backend.submit(document, guideline, tell)

    def extract(self, documents: Iterable[Document]) -> list[Extraction]:
        """The Extractions of the documents, in their order."""
        futures = [self._backend.submit(document) for document in documents]
        return [future.result() for future in futures]

    def close(self) -> None:
        """Release the model; documents still queued are cancelled."""
        self._backend.close()


def load_extractor(reference: str | Path, share: Share | None = None) -> Extractor:
    """An Extractor from a model file or from ``starter:<name>``.

    Raises ConfigError for a file that cannot be used and FileNotFoundError for missing weights.
    """
    return Extractor(load_model(reference), share)


def _load(config: ModelConfig, share: Share, moved: Moved) -> Backend:
    # Imported here: a process pays only for the runtime of the model that it holds.
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

    return OnnxBackend(config, share.threads, share.gpu, moved, cpu_fallback=share.cpu_fallback)
