"""Pictures through the engine: several in flight beside text give what each gives alone, and what
llama-cpp-python's own chat handlers give. See test_gguf_runner about ties."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import llama_cpp
import numpy as np
import pytest
from llama_cpp.llama_chat_format import MTMDChatHandler
from PIL import Image
from support.vision_models import KINDS, VisionFiles, make_vision, picture
from test_gguf_runner import TIE, plain_weights

from actors.config import ImageOptions
from actors.config.gguf import GgufContext
from actors.engine import PLACEHOLDER, Block, Completion, Engine, Logits, Media, Request, Techniques
from actors.gguf import LlamaModel
from actors.prompts import Segment
from actors.vision import EncodedImage, Projector, VisionRunner

pytestmark = pytest.mark.weights
OPTIONS = GgufContext(
    n_ctx=1024, sequences=6, prefixes=2, n_batch=256, flash_attn="off", type_k="f32", type_v="f32"
)
IMAGES = ImageOptions.model_validate({"encode_tokens": 200})
WORDS = "Extract all drugs and doses."
SIZES = [(112, 112), (224, 112), (112, 196), (112, 112), (60, 90), (300, 200), (112, 112)]
TOKENS = 24


@dataclass(frozen=True)
class Asked:
    """Pictures (seed, width, height) and the words below them; no picture: text alone."""

    pictures: tuple[tuple[int, int, int], ...]
    words: str = WORDS


ASKED = [
    *(Asked(((seed, *size),)) for seed, size in enumerate(SIZES)),
    Asked((), "The patient takes metformin 500 mg daily."),
    Asked(((0, 112, 112), (8, 90, 120)), "Which of them is a prescription?"),
    Asked(((3, 112, 112),), "Xin chào, đau bụng dưới."),
]


@pytest.fixture(scope="module", params=KINDS)
def files(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> VisionFiles:
    return make_vision(tmp_path_factory.mktemp("vision"), request.param)


def load(files: VisionFiles, options: GgufContext = OPTIONS) -> VisionRunner:
    model = LlamaModel(files.model, options)
    return VisionRunner(model, options, 1, Projector(files.mmproj, model, IMAGES, 1, 0))


@pytest.fixture
def runner(files: VisionFiles) -> Iterator[VisionRunner]:
    loaded = load(files)
    yield loaded
    loaded.close()


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def request(runner: VisionRunner, asked: Asked) -> Request:
    model = runner.model
    prefix = model.tokenize([Segment("<|im_start|>user\n", True)])
    tokens, media = list(prefix), list[tuple[int, Media]]()
    for seed, width, height in asked.pictures:
        for part in runner.projector.prepare(pixels(picture(seed, width, height))):
            if isinstance(part, EncodedImage):
                media.append((len(tokens), part))
                tokens += [PLACEHOLDER] * part.tokens
            else:
                tokens += part
    ending = Segment(f"{asked.words}<|im_end|>\n<|im_start|>assistant\n", True)
    tokens += model.tokenize([ending], first=False)
    suffix = tuple(tokens[len(prefix) :])
    return Request(tuple(prefix), suffix, media=tuple(media), max_tokens=TOKENS)


def run(
    runner: VisionRunner,
    asked: Sequence[Asked],
    slots: int = 6,
    techniques: Techniques | None = None,
) -> list[Completion]:
    engine = Engine(runner, slots, techniques)
    try:
        futures = [engine.submit(request(runner, one)) for one in asked]
        return [future.result(60) for future in futures]
    finally:
        engine.close()


def logits(files: VisionFiles, asked: Asked, said: Sequence[int]) -> Logits:
    """The row after a prompt and what was said so far, computed alone."""
    runner = load(files)
    wanted = request(runner, asked)
    tokens = [*wanted.prefix, *wanted.suffix, *said]
    at = 0
    for place, media in wanted.media:
        if at < place:
            runner.decode([Block(0, at, tokens[at:place], 0)])
        at = place + media.tokens
        runner.decode([Block(0, place, tokens[place:at], 0, media)])
    row = runner.decode([Block(0, at, tokens[at:], 1)])[0].copy()
    runner.close()
    return row


def assert_same(
    files: VisionFiles,
    asked: Sequence[Asked],
    one: Sequence[Sequence[int]],
    other: Sequence[Sequence[int]],
    tie: float = TIE,
) -> None:
    ties = 0
    for question, first, second in zip(asked, one, other, strict=True):
        if list(first) == list(second):
            continue
        place = next(
            (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), None
        )
        assert place is not None, "one output goes on where the other has ended"
        row = logits(files, question, first[:place])
        assert abs(float(row[first[place]] - row[second[place]])) < tie
        ties += 1
    assert ties <= 1 + len(one) // 10


def test_in_flight_is_as_alone(files: VisionFiles) -> None:
    alone = [run(load(files), [asked], slots=1)[0].tokens for asked in ASKED]
    assert len(set(alone)) >= len(ASKED) - 1, "pictures must matter"
    for techniques in (Techniques(), Techniques(share=False), Techniques(chunk=7)):
        together = run(load(files), ASKED, techniques=techniques)
        assert_same(files, ASKED, [one.tokens for one in together], alone)
        assert sum(one.shared_tokens > 0 for one in together) == (techniques.share and 9)


def test_a_common_room_gives_the_same(files: VisionFiles) -> None:
    common = OPTIONS.model_copy(update={"kv_tokens": 2048})
    one = [c.tokens for c in run(load(files, common), ASKED)]
    assert_same(files, ASKED, one, [c.tokens for c in run(load(files), ASKED)])


def handled(files: VisionFiles, handler: MTMDChatHandler, asked: Asked) -> list[int]:
    """Return llama-cpp-python's answer in tokens."""
    llama = llama_cpp.Llama(
        str(files.model),
        chat_handler=handler,
        n_ctx=1024,
        n_threads=1,
        n_threads_batch=1,
        flash_attn=False,
        type_k=0,
        type_v=0,
        verbose=False,
    )
    said: list[int] = []
    generate = llama.generate

    def watched(*args: object, **options: object) -> Iterator[int]:
        for token in generate(*args, **options):
            said.append(token)
            yield token

    llama.generate = watched
    content: list[dict[str, object]] = []
    for one in asked.pictures:
        url = "data:image/png;base64," + base64.b64encode(picture(*one)).decode()
        content.append({"type": "image_url", "image_url": {"url": url}})
    content.append({"type": "text", "text": asked.words})
    messages: list[dict[str, object]] = [{"role": "user", "content": content}]
    llama.create_chat_completion(
        messages, max_tokens=TOKENS, temperature=0, top_k=1, repeat_penalty=1.0
    )
    model = LlamaModel(files.model, OPTIONS)
    if said[-1] in model.ends:
        said.pop()
    model.close()
    llama.close()
    return said[:TOKENS]


def test_in_flight_is_as_llama_cpp_pythons_own_handler(
    files: VisionFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = run(load(files), ASKED)
    plain_weights(monkeypatch)
    own = []
    for asked in ASKED:
        handler = MTMDChatHandler(str(files.mmproj), verbose=False, use_gpu=False)
        own.append(handled(files, handler, asked))
    assert_same(files, ASKED, [one.tokens for one in together], own)


def test_pictures_are_encoded_together_where_the_encoder_can(
    files: VisionFiles, runner: VisionRunner
) -> None:
    prepared = [runner.projector.prepare(pixels(picture(i))) for i in range(4)]
    pictures = [part for parts in prepared for part in parts if isinstance(part, EncodedImage)]
    runner.projector.encode(pictures[0])
    done = [one for one in pictures if one.embeddings is not None]
    assert len(done) == (4 if "internvl" in files.model.name else 1)
    assert runner.projector.rounds == 1
    together = [one.embeddings.copy() for one in done if one.embeddings is not None]
    for i, table in enumerate(together):
        [alone] = [
            p for p in runner.projector.prepare(pixels(picture(i))) if isinstance(p, EncodedImage)
        ]
        alone_runner = load(files)
        alone_runner.projector.encode(alone)
        assert alone.embeddings is not None
        assert np.abs(alone.embeddings - table).max() < 1e-4
        alone_runner.close()


def test_memory_of_images_is_released(runner: VisionRunner) -> None:
    parts = runner.projector.prepare(pixels(picture(1)))
    [one] = [part for part in parts if isinstance(part, EncodedImage)]
    runner.decode([Block(0, 0, [PLACEHOLDER] * one.tokens, 0, one)])
    assert one.embeddings is None
    with pytest.raises(RuntimeError, match="released"):
        _ = one.chunk
    unused = runner.projector.prepare(pixels(picture(2)))
    assert runner.projector.waiting == 1
    del unused
    assert runner.projector.waiting == 0
