"""Documents as pictures before a vision model: pages to prompts, answers grounded in the text that
OCR read, where there is one.

Pages are decoded and cut in a thread of their own, for a few documents ahead of the engine: a queue
of ten thousand pictures does not hold ten thousand decoded ones.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from actors.config import ConfigError, GgufModel, ImageOptions
from actors.engine import PLACEHOLDER, Media, Request
from actors.gguf import (
    DocumentError,
    LlamaRunner,
    LoadedModel,
    Prepared,
    TextInputs,
    request_sampling,
    thinking,
)
from actors.gguf.asking import Asking
from actors.gguf.runner import flash_attention
from actors.pages import PageError
from actors.prompts import Prompt, Segment
from actors.spans import Document, Extraction
from actors.vision.fitting import fitted, pixels_of
from actors.vision.projector import Picture, PictureRefused, Pixels, Projector
from actors.vision.runner import VisionRunner
from actors.weights import digest, fetch

_AHEAD = 2  # documents prepared beyond those in flight


class PageInputs:
    """Documents as pictures; those without one are read as text. See ``actors.gguf.Inputs``."""

    document_errors: tuple[type[Exception], ...] = (
        *TextInputs.document_errors,
        PageError,
        PictureRefused,
    )

    def __init__(self, config: GgufModel) -> None:
        """Raises ConfigError where the model file names no encoder."""
        if config.weights.mmproj is None:
            raise ConfigError(f"model {config.name}: no weights.mmproj")
        self._images = config.images or ImageOptions.model_validate({})
        self._mmproj = fetch(config.weights.mmproj, config.weights.mmproj_sha256)
        self._digest = config.weights.mmproj_sha256
        self._text = TextInputs()
        self._pages = ThreadPoolExecutor(1, thread_name_prefix=f"pages-{config.name}")
        self._held = self._most = 0
        self._room = threading.Condition()
        self._closing = False

    @property
    def digests(self) -> Mapping[str, str]:
        """As Inputs.digests."""
        return {"mmproj": self._digest or digest(self._mmproj)}

    @property
    def memory_used(self) -> Mapping[str, int]:
        """As Inputs.memory_used."""
        return self.projector.took

    def open(self, loaded: LoadedModel, threads: int, rows: int) -> LlamaRunner:
        """As Inputs.open; raises ConfigError for an mmproj of another model."""
        self._text.bind(loaded)
        self._loaded, context = loaded, loaded.config.context
        self._most = context.slots + _AHEAD
        flash = flash_attention(context, loaded.model.on_card)
        self.projector = Projector(self._mmproj, loaded.model, self._images, threads, flash)
        try:
            return VisionRunner(loaded.model, context, threads, self.projector, rows)
        except Exception:
            self.projector.close()
            raise

    def schedule(
        self, document: Document, future: Future[Extraction], prepare: Callable[[], None]
    ) -> None:
        """As Inputs.schedule: pictures are prepared in a thread of their own."""
        if document.image is None:
            prepare()
        else:
            self._pages.submit(self._when_there_is_room, future, prepare)

    def prepare(self, document: Document, plan: Asking) -> Prepared:
        """As Inputs.prepare."""
        if document.image is None:
            return self._text.prepare(document, plan)
        pages = list(pixels_of(document.image, self._images))
        text = document.text or ""
        printed = text if self._images.text else ""
        room = self._space(document, plan, printed)
        prompts, notes = fitted(pages, room, self._images, self.projector)
        requests = [
            self._request(document, plan, index, printed, shown)
            for index, shown in enumerate(prompts)
        ]
        return Prepared(requests, [(0, len(text))] * len(prompts), notes)

    def close(self) -> None:
        """As Inputs.close: preparing uses the encoder, which goes with the runner."""
        with self._room:
            self._closing = True
            self._room.notify_all()
        self._pages.shutdown()

    def _when_there_is_room(self, future: Future[Extraction], prepare: Callable[[], None]) -> None:
        with self._room:
            self._room.wait_for(lambda: self._closing or self._held < self._most)
            if self._closing:
                future.cancel()
            if future.cancelled():
                return
            self._held += 1
        future.add_done_callback(self._release)
        prepare()

    def _release(self, _: Future[Extraction]) -> None:
        with self._room:
            self._held -= 1
            self._room.notify_all()

    def _space(self, document: Document, plan: Asking, printed: str) -> int:
        """Tokens that the pictures of one prompt may take, those around them included."""
        prompt = plan.format.render(printed, document.prompt, pictures=1)
        words = sum(len(self._loaded.model.tokenize(part)) for part in _between(prompt) if part)
        context, predict = (
            self._loaded.config.context.length,
            self._loaded.config.sampling.n_predict,
        )
        output = self._images.output_tokens
        if output is None:
            output = min(predict, context // 2) if predict > 0 else context // 4
        if context - words - output < 1:
            raise DocumentError(
                f"{words} tokens of words leave no room for a picture in a context of {context} "
                f"with {output} kept for the answer"
            )
        return context - words - output

    def _request(
        self,
        document: Document,
        plan: Asking,
        index: int,
        printed: str,
        shown: Sequence[Pixels],
    ) -> Request:
        prompt = plan.format.render(printed, document.prompt, pictures=len(shown))
        before, *between = _between(prompt)
        tokens = self._loaded.model.tokenize(before)
        media: list[tuple[int, Media]] = []
        for pixels, words in zip(shown, between, strict=True):
            for part in self.projector.prepare(pixels):
                if isinstance(part, Picture):
                    self._check(part)
                    media.append((len(tokens), part))
                    tokens += [PLACEHOLDER] * part.tokens
                else:
                    tokens += part
            tokens += self._loaded.model.tokenize(words, first=False)
        prefix = self._loaded.plans.prefix(prompt)
        if tuple(tokens[: len(prefix)]) != prefix:
            prefix = ()
        sampling = self._loaded.config.sampling
        grammar = plan.format.grammar(document.text or None)
        return Request(
            prefix=prefix,
            suffix=tuple(tokens[len(prefix) :]),
            grammar=grammar,
            sampling=request_sampling(self._loaded.config, document.id, index),
            max_tokens=sampling.limit,
            stop=() if grammar else sampling.stop,
            n_probs=sampling.n_probs,
            media=tuple(media),
            thinking=thinking(self._loaded, prompt, len(tokens), bool(grammar)),
        )

    def _check(self, picture: Picture) -> None:
        most = min(self._loaded.config.context.n_ubatch, self._loaded.config.context.n_batch)
        if picture.whole and picture.tokens > most:
            raise DocumentError(
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
