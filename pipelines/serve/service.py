"""Where the application gets Extractions from: a protocol, and models in this very process."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol, TypeVar

from actors.config import GgufModel, ModelConfig
from actors.guideline import Guideline
from actors.pages import Reading
from actors.spans import Document, Extraction, Failure, Status

# Not a patient's text, and every model has something to say about it.
PROBE = Document(id="probe", text="Metformin 500 mg twice daily for type 2 diabetes.")


class ModelUnavailable(RuntimeError):
    """No replica of the model can answer now; the same request may succeed later."""


class QueueFull(RuntimeError):
    """The model's own queue is full."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is known of a loaded model. ``labels`` is empty where they are not known beforehand;
    ``prompts``: whether documents may bring prompts of their own."""

    name: str
    kind: str
    fingerprint: str
    labels: tuple[str, ...]
    prompts: bool


class Submits(Protocol):
    """What is asked of an Extractor here."""

    @property
    def fingerprint(self) -> str:
        """As of an Extractor."""

    def submit(self, document: Document) -> Future[Extraction]:
        """As of an Extractor."""


class Reads(Protocol):
    """What is asked of an OcrReader here."""

    def submit(self, document: Document) -> Future[Reading | Failure]:
        """As of an OcrReader."""


class Models(Protocol):
    """The models behind the application, by name."""

    async def extract(self, model: str, documents: Sequence[Document]) -> list[Extraction]:
        """The Extractions of the documents, in order; cancelling it cancels the work.

        Raises ModelUnavailable or QueueFull.
        """

    async def facts(self, model: str) -> ModelFacts:
        """What is known of the model; raises ModelUnavailable."""

    async def read(self, documents: Sequence[Document]) -> list[Reading | Failure]:
        """The texts of documents that are pictures, in order; as ``extract``. Only where the
        catalogue has an ``ocr``."""


_T = TypeVar("_T")


async def gather(futures: Sequence[Future[_T]]) -> list[_T]:
    """The results of futures; a cancelled wait cancels what is still queued."""
    try:
        return list(await asyncio.gather(*(asyncio.wrap_future(future) for future in futures)))
    finally:
        for future in futures:
            future.cancel()  # nothing happens to those that are done


async def probe(models: Models, model: str) -> bool:
    """Whether the model reads a document now."""
    [extraction] = await models.extract(model, [PROBE])
    return extraction.status is not Status.FAILED


def facts_of(config: ModelConfig, fingerprint: str) -> ModelFacts:
    """The facts of a model whose weights are on this machine."""
    return ModelFacts(
        name=config.name,
        kind=config.kind,
        fingerprint=fingerprint,
        labels=_labels(config),
        prompts=isinstance(config, GgufModel) and config.prompt.format == "prose",
    )


def _labels(config: ModelConfig) -> tuple[str, ...]:
    if isinstance(config, GgufModel):
        guideline = config.prompt.guideline
        if not isinstance(guideline, Guideline):
            return ()
        known = set(guideline.labels)
    else:
        # Imported here, as in actors.extractor: only a process that holds such a model pays.
        from actors.onnx.folder import FILES, read_folder
        from actors.onnx.labels import read_labels
        from actors.weights import fetch

        folder = read_folder(fetch(config.weights.model, config.weights.sha256, FILES))
        known = set(read_labels(folder.labels, config.decode.scheme).types)
    wanted = (set(config.labels.white_list) or known) - set(config.labels.black_list)
    return tuple(sorted({config.labels.replace.get(label, label) for label in wanted}))


class LocalModels:
    """Extractors in this process, for one machine without Ray and for tests."""

    def __init__(
        self,
        extractors: Mapping[str, Submits],
        facts: Mapping[str, ModelFacts],
        reader: Reads | None = None,
    ) -> None:
        self._extractors, self._facts, self._reader = extractors, facts, reader

    async def extract(self, model: str, documents: Sequence[Document]) -> list[Extraction]:
        """As Models.extract."""
        try:
            extractor = self._extractors[model]
            return await gather([extractor.submit(document) for document in documents])
        except Exception as error:
            # An Extractor makes a document's failure data: what is raised is a lost model.
            raise ModelUnavailable(f"the model {model} is lost") from error

    async def facts(self, model: str) -> ModelFacts:
        """As Models.facts."""
        return self._facts[model]

    async def read(self, documents: Sequence[Document]) -> list[Reading | Failure]:
        """As Models.read."""
        reader = self._reader
        if reader is None:
            raise ModelUnavailable("there is no reader of pictures")
        try:
            return await gather([reader.submit(document) for document in documents])
        except Exception as error:
            raise ModelUnavailable("the reader of pictures is lost") from error
