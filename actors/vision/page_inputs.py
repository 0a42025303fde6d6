"""Documents as images for a vision model: pages to prompts, answers grounded in the OCR text if
there is one.

Pages are decoded and prepared on a separate thread, for a few documents ahead of the engine: a
queue of ten thousand images does not hold ten thousand decoded ones.
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
from actors.gguf.llama_runner import flash_attention
from actors.gguf.prompt_plans import PromptPlan
from actors.pages import PageError
from actors.prompts import Prompt, Segment
from actors.spans import Document, Extraction
from actors.vision.image_budget import fit_pages, pixels_of
from actors.vision.projector import EncodedImage, PictureRefused, Pixels, Projector
from actors.vision.vision_runner import VisionRunner
from actors.weights import digest, fetch_weights

_AHEAD = 2  # documents prepared beyond those in flight


class PageInputs:
    """Documents as images; those without one are read as text. See ``actors.gguf.Inputs``."""

    document_errors: tuple[type[Exception], ...] = (
        *TextInputs.document_errors,
        PageError,
        PictureRefused,
    )

    def __init__(self, config: GgufModel) -> None:
        """Raises ConfigError if the model file names no image encoder."""
        if config.weights.mmproj is None:
            raise ConfigError(f"model {config.name}: no weights.mmproj")
        self._images = config.images or ImageOptions.model_validate({})
        self._mmproj = fetch_weights(config.weights.mmproj, config.weights.mmproj_sha256)
        self._digest = config.weights.mmproj_sha256
        self._text = TextInputs()
        self._pages = ThreadPoolExecutor(1, thread_name_prefix=f"pages-{config.name}")
        self._in_flight = self._max_in_flight = 0
        self._slot_free = threading.Condition()
        self._closing = False

    @property
    def digests(self) -> Mapping[str, str]:
        """See Inputs.digests."""
        return {"mmproj": self._digest or digest(self._mmproj)}

    @property
    def memory_used(self) -> Mapping[str, int]:
        """See Inputs.memory_used."""
        return self.projector.memory_used

    def open(self, loaded: LoadedModel, threads: int, rows: int) -> LlamaRunner:
        """See Inputs.open; raises ConfigError for an mmproj of another model."""
        self._text.bind(loaded)
        self._loaded, context = loaded, loaded.config.context
        self._max_in_flight = context.slots + _AHEAD
        flash = flash_attention(context, loaded.model.on_gpu)
        self.projector = Projector(self._mmproj, loaded.model, self._images, threads, flash)
        try:
            return VisionRunner(
                loaded.model, context, threads, self.projector, rows, narrow=loaded.constrained
            )
        except Exception:
            self.projector.close()
            raise

    def schedule(
        self, document: Document, future: Future[Extraction], prepare: Callable[[], None]
    ) -> None:
        """See Inputs.schedule: images are prepared on a separate thread."""
        if document.image is None:
            prepare()
        else:
            self._pages.submit(self._prepare_when_free, future, prepare)

    def prepare(self, document: Document, plan: PromptPlan) -> Prepared:
        """See Inputs.prepare."""
        if document.image is None:
            return self._text.prepare(document, plan)
        pages = list(pixels_of(document.image, self._images))
        text = document.text or ""
        printed = text if self._images.text else ""
        budget = self._image_budget(document, plan, printed)
        prompts, notes = fit_pages(pages, budget, self._images, self.projector)
        content = document.content_digest()
        requests = [
            self._request(document, content, plan, index, printed, images)
            for index, images in enumerate(prompts)
        ]
        return Prepared(requests, [(0, len(text))] * len(prompts), notes)

    def close(self) -> None:
        """See Inputs.close: stops preparing, which uses the encoder that closes with the runner."""
        with self._slot_free:
            self._closing = True
            self._slot_free.notify_all()
        self._pages.shutdown()

    def _prepare_when_free(self, future: Future[Extraction], prepare: Callable[[], None]) -> None:
        with self._slot_free:
            self._slot_free.wait_for(lambda: self._closing or self._in_flight < self._max_in_flight)
            if self._closing:
                future.cancel()
            if future.cancelled():
                return
            self._in_flight += 1
        future.add_done_callback(self._release)
        prepare()

    def _release(self, _: Future[Extraction]) -> None:
        with self._slot_free:
            self._in_flight -= 1
            self._slot_free.notify_all()

    def _image_budget(self, document: Document, plan: PromptPlan, printed: str) -> int:
        """Return the tokens available for the images of one prompt, including their delimiters."""
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
                f"{words} tokens of text leave no space for an image in a context of {context} "
                f"with {output} reserved for the answer"
            )
        return context - words - output

    def _request(
        self,
        document: Document,
        content: bytes,
        plan: PromptPlan,
        index: int,
        printed: str,
        images: Sequence[Pixels],
    ) -> Request:
        prompt = plan.format.render(printed, document.prompt, pictures=len(images))
        before, *between = _between(prompt)
        tokens = self._loaded.model.tokenize(before)
        media: list[tuple[int, Media]] = []
        for pixels, words in zip(images, between, strict=True):
            for part in self.projector.prepare(pixels):
                if isinstance(part, EncodedImage):
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
            sampling=request_sampling(self._loaded.config, content, index),
            max_tokens=sampling.limit,
            stop=() if grammar else sampling.stop,
            n_probs=sampling.n_probs,
            media=tuple(media),
            thinking=thinking(self._loaded, prompt, len(tokens), bool(grammar)),
        )

    def _check(self, picture: EncodedImage) -> None:
        limit = min(self._loaded.config.context.n_ubatch, self._loaded.config.context.n_batch)
        if picture.whole and picture.tokens > limit:
            raise DocumentError(
                f"an image of {picture.tokens} tokens that attend to each other needs "
                f"context.n_ubatch and n_batch of at least as many; they are {limit}"
            )


def _between(prompt: Prompt) -> list[list[Segment]]:
    """Split the segments at the images: before the first, after it, and so on."""
    parts: list[list[Segment]] = [[]]
    for segment in prompt.prefix + prompt.suffix:
        if segment.picture:
            parts.append([])
        else:
            parts[-1].append(segment)
    return parts
