"""The Extractor backend of vision models: pages to prompts, prompts to the engine, answers grounded
in the text that OCR read, where there is one.

Pages are decoded and cut in a thread of their own, for a few documents ahead of the engine: a queue
of ten thousand pictures does not hold ten thousand decoded ones.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ClassVar

from actors.config import ConfigError, GgufModel, ImageOptions
from actors.engine import PLACEHOLDER, Media, Request, RequestRefused, Techniques
from actors.gguf import GgufBackend, LlamaRunner, Reading, Unreadable, request_sampling
from actors.gguf.asking import Asking
from actors.gguf.runner import flash_attention
from actors.guideline import Guideline
from actors.pages import PageError
from actors.prompts import Prompt, PromptError, Segment
from actors.spans import Document, Extraction, Tell
from actors.vision.fitting import fitted, pixels_of
from actors.vision.projector import Picture, PictureRefused, Pixels, Projector
from actors.vision.runner import VisionRunner
from actors.weights import digest, fetch

_AHEAD = 2  # documents prepared beyond those in flight


class VisionBackend(GgufBackend):
    """A vision model behind ``submit``. Documents without a picture are read as text."""

    refusals: ClassVar = (PromptError, RequestRefused, Unreadable, PageError, PictureRefused)

    def __init__(
        self,
        config: GgufModel,
        threads: int | None = None,
        gpu: float | None = None,
        techniques: Techniques | None = None,
    ) -> None:
        """As of ``GgufBackend``; raises ConfigError also for an mmproj of another model."""
        if config.weights.mmproj is None:
            raise ConfigError(f"model {config.name}: no weights.mmproj")
        self._images = config.images or ImageOptions.model_validate({})
        self._mmproj = fetch(config.weights.mmproj, config.weights.mmproj_sha256)
        super().__init__(config, threads, gpu, techniques)
        self._pages = ThreadPoolExecutor(1, thread_name_prefix=f"pages-{config.name}")
        self._held, self._most = 0, self._config.context.slots + _AHEAD
        self._room = threading.Condition()
        self._closing = False

    @property
    def projector(self) -> Projector:
        """The encoder, for its counters."""
        return self._projector

    @property
    def took(self) -> dict[str, int]:
        """As of ``GgufBackend``, with what the encoder took."""
        return {**super().took, **self._projector.took}

    def _digests(self) -> dict[str, str]:
        encoder = self._config.weights.mmproj_sha256 or digest(self._mmproj)
        return {**super()._digests(), "mmproj": encoder}

    def _runner(self, threads: int, rows: int) -> LlamaRunner:
        context = self._config.context
        flash = flash_attention(context, self._model.on_card)
        self._projector = Projector(self._mmproj, self._model, self._images, threads, flash)
        try:
            return VisionRunner(self._model, context, threads, self._projector, rows)
        except Exception:
            self._projector.close()
            raise

    def submit(
        self, document: Document, guideline: Guideline | None = None, tell: Tell | None = None
    ) -> Future[Extraction]:
        """As of ``GgufBackend``: also a picture that cannot be read is an Extraction."""
        if document.image is None:
            return super().submit(document, guideline, tell)
        future: Future[Extraction] = Future()
        self._pages.submit(self._show, document, future, guideline, tell)
        return future

    def close(self) -> None:
        """Release the model; documents still queued are cancelled."""
        with self._room:
            self._closing = True
            self._room.notify_all()
        self._pages.shutdown()  # preparing uses the encoder, which goes with the runner
        super().close()

    def _show(
        self,
        document: Document,
        future: Future[Extraction],
        guideline: Guideline | None,
        tell: Tell | None,
    ) -> None:
        with self._room:
            self._room.wait_for(lambda: self._closing or self._held < self._most)
            if self._closing:
                future.cancel()
            if future.cancelled():
                return
            self._held += 1
        future.add_done_callback(self._shown)
        self._begin(document, future, guideline, tell)

    def _shown(self, _: Future[Extraction]) -> None:
        with self._room:
            self._held -= 1
            self._room.notify_all()

    def _read(
        self, document: Document, future: Future[Extraction], asking: Asking, tell: Tell | None
    ) -> Reading:
        if document.image is None:
            return super()._read(document, future, asking, tell)
        pages = list(pixels_of(document.image, self._images))
        text = document.text or ""
        printed = text if self._images.text else ""
        room = self._space(document, asking, printed)
        prompts, notes = fitted(pages, room, self._images, self._projector)
        requests = [
            self._picture_request(document, asking, index, printed, shown)
            for index, shown in enumerate(prompts)
        ]
        reading = Reading(document, future, asking, [(0, len(text))] * len(prompts), notes=notes)
        return self._asked(reading, requests, tell)

    def _space(self, document: Document, asking: Asking, printed: str) -> int:
        """Tokens that the pictures of one prompt may take, those around them included."""
        prompt = asking.format.render(printed, document.prompt, pictures=1)
        words = sum(len(self._model.tokenize(part)) for part in _between(prompt) if part)
        context, predict = self._config.context.length, self._config.sampling.n_predict
        output = self._images.output_tokens
        if output is None:
            output = min(predict, context // 2) if predict > 0 else context // 4
        if context - words - output < 1:
            raise Unreadable(
                f"{words} tokens of words leave no room for a picture in a context of {context} "
                f"with {output} kept for the answer"
            )
        return context - words - output

    def _picture_request(
        self,
        document: Document,
        asking: Asking,
        index: int,
        printed: str,
        shown: Sequence[Pixels],
    ) -> Request:
        prompt = asking.format.render(printed, document.prompt, pictures=len(shown))
        before, *between = _between(prompt)
        tokens = self._model.tokenize(before)
        media: list[tuple[int, Media]] = []
        for pixels, words in zip(shown, between, strict=True):
            for part in self._projector.prepare(pixels):
                if isinstance(part, Picture):
                    self._check(part)
                    media.append((len(tokens), part))
                    tokens += [PLACEHOLDER] * part.tokens
                else:
                    tokens += part
            tokens += self._model.tokenize(words, first=False)
        prefix = self._askings.prefix(prompt)
        if tuple(tokens[: len(prefix)]) != prefix:
            prefix = ()
        sampling = self._config.sampling
        grammar = asking.format.grammar(document.text or None)
        return Request(
            prefix=prefix,
            suffix=tuple(tokens[len(prefix) :]),
            grammar=grammar,
            sampling=request_sampling(self._config, document.id, index),
            max_tokens=sampling.n_predict if sampling.n_predict >= 0 else None,
            stop=() if grammar else sampling.stop,
            n_probs=sampling.n_probs,
            media=tuple(media),
            thinking=self._thinking(prompt, len(tokens), bool(grammar)),
        )

    def _check(self, picture: Picture) -> None:
        most = min(self._config.context.n_ubatch, self._config.context.n_batch)
        if picture.whole and picture.tokens > most:
            raise Unreadable(
                f"a picture of {picture.tokens} tokens that see each other needs context.n_ubatch "
                f"and n_batch of as many; they are {most}"
            )


def _between(prompt: Prompt) -> list[list[Segment]]:
    """The segments before the first picture, after it, and so on."""
    parts: list[list[Segment]] = [[]]
    for segment in prompt.prefix + prompt.suffix:
        if segment.picture:
            parts.append([])
        else:
            parts[-1].append(segment)
    return parts
