"""A vision model file through the Extractor: pages, policies, bad pictures, statuses, memory."""

from __future__ import annotations

import io
import json
import resource
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.vision_models import VisionFiles, make_vision, picture
from typer.testing import CliRunner

from actors import ConfigError, Document, Extraction, Extractor, Grounding, Status
from actors.config import GgufModel
from actors.extractor import Share
from actors.gguf import GenerativeBackend
from actors.vision import PageInputs
from actors.vision.projector import EncodedImage, Projector
from pipelines.cli.app import app

pytestmark = pytest.mark.weights
Load = Callable[..., Extractor]
GUIDELINE = {"name": "g", "labels": {"DRUG": {}, "DOSE": {}}}
NUEXTRACT = {"format": "nuextract", "guideline": GUIDELINE, "max_items": 2, "max_length": 12}


@pytest.fixture(scope="module", params=["qwen25vl", "llava"])
def files(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> VisionFiles:
    return make_vision(tmp_path_factory.mktemp("vision"), request.param)


@pytest.fixture(scope="module")
def rotary(tmp_path_factory: pytest.TempPathFactory) -> VisionFiles:
    """A model with a number of tokens per picture that depends on its size."""
    return make_vision(tmp_path_factory.mktemp("rotary"), "qwen2vl")


@pytest.fixture
def load() -> Iterator[Load]:
    opened: list[Extractor] = []

    def loader(files: VisionFiles, **changes: Any) -> Extractor:
        content: dict[str, Any] = {
            "name": "tiny-vlm",
            "kind": "gguf",
            "weights": {"model": str(files.model), "mmproj": str(files.mmproj)},
            "context": {"n_ctx": 512, "sequences": 4, "flash_attn": "off", "type_k": "f32"},
            "prompt": {"format": "prose", "instruction": "Extract all drugs."},
            "sampling": {"n_predict": 16},
            "images": {},
        }
        for key, value in changes.items():
            whole = key == "prompt" or not isinstance(value, dict)
            content[key] = value if whole else {**content[key], **value}
        opened.append(Extractor(GgufModel.model_validate(content), Share(threads=1)))
        return opened[-1]

    yield loader
    for extractor in opened:
        extractor.close()


def shown(*seeds: int) -> list[Document]:
    return [Document(id=f"p{seed}", image=picture(seed)) for seed in seeds]


def pdf(*seeds: int, width: int = 112, height: int = 112) -> bytes:
    pages = [Image.open(io.BytesIO(picture(s, width, height))) for s in seeds]
    out = io.BytesIO()
    pages[0].save(out, "PDF", save_all=True, append_images=pages[1:], resolution=150)
    return out.getvalue()


def kind(extraction: Extraction) -> str:
    return "" if extraction.failure is None else extraction.failure.type


def completions(extractions: list[Extraction]) -> list[str | None]:
    return [extraction.completion for extraction in extractions]


def test_pictures_and_texts_in_flight_are_as_alone(files: VisionFiles, load: Load) -> None:
    mixed = [*shown(0, 1, 2, 3, 4, 5), Document(id="t", text="Metformin 500 mg daily."), *shown(6)]
    together = load(files).extract(mixed)
    one = load(files, context={"sequences": 1, "prefixes": 0})
    alone = [one.extract([document])[0] for document in mixed]
    assert completions(together) == completions(alone)
    assert len(set(completions(together))) == len(mixed)
    assert all(e.failure is None and e.usage.prompt_tokens > 16 for e in together)


def test_bad_pictures_fail_alone(files: VisionFiles, load: Load) -> None:
    extractor = load(files, images={"max_megapixels": 1.0, "max_pages": 2})
    whole = picture(1)
    bad = {
        "EmptyFile": b"",
        "UnknownFormat": b"no picture at all",
        "DamagedFile": whole[: len(whole) // 2],
        "TooManyPixels": picture(1, 1200, 900),
        "TooManyPages": pdf(1, 2, 3),
    }
    documents = [Document(id=name, image=content) for name, content in bad.items()]
    documents += [*shown(1), Document(id="dot", image=picture(2, 1, 1)), Document(id="none")]
    found = {e.document_id: e for e in extractor.extract(documents)}
    assert {name: kind(found[name]) for name in bad} == {name: name for name in bad}
    assert kind(found["none"]) == "DocumentError"
    for name in ("p1", "dot"):
        assert found[name].failure is None
        assert found[name].completion


def test_a_too_large_picture_is_scaled_and_reported(rotary: VisionFiles, load: Load) -> None:
    large = Document(id="large", image=picture(1, 1000, 700))
    [scaled] = load(rotary).extract([large])
    assert scaled.failure is None
    assert scaled.usage.prompt_tokens <= 512 - 16
    assert scaled.usage.prompt_tokens > 400, "no smaller than it must be"
    assert "scaled from 1000 x 700" in scaled.problems[0]
    [refused] = load(rotary, images={"too_large": "refuse"}).extract([large])
    assert refused.failure is not None
    assert refused.failure.type == "TooManyTokens"
    assert "are available" in refused.failure.message


def test_too_large_a_picture_is_cut_in_strips(rotary: VisionFiles, load: Load) -> None:
    tall = Document(id="tall", image=picture(1, 420, 1400))
    extractor = load(rotary, images={"too_large": "split"})
    [split] = extractor.extract([tall])
    assert split.failure is None
    assert "split into 2 strips" in split.problems[0]
    assert split.completion is not None
    assert split.completion.count("\n\n") >= 1
    assert split.usage.completion_tokens == 2 * 16


def test_pictures_of_one_size_are_refused_where_even_one_has_no_room(
    files: VisionFiles, load: Load
) -> None:
    if "llava" not in files.model.name:
        pytest.skip("its pictures can be made smaller")
    extractor = load(files, context={"n_ctx": 80})
    [extraction] = extractor.extract(shown(1))
    assert extraction.failure is not None
    assert extraction.failure.type == "TooManyTokens"


def test_pages_of_a_pdf_are_one_prompt_or_many(rotary: VisionFiles, load: Load) -> None:
    document = Document(id="pdf", image=pdf(1, 2, 3))
    [together] = load(rotary).extract([document])
    [each] = load(rotary, images={"pages": "each"}).extract([document])
    assert together.usage.completion_tokens == 16
    assert each.usage.completion_tokens == 3 * 16
    [first] = load(rotary).extract([Document(id="pdf", image=pdf(1))])
    assert each.completion is not None
    assert first.completion is not None
    assert each.completion.startswith(first.completion)
    assert together.usage.prompt_tokens == first.usage.prompt_tokens + 2 * 18
    spread = load(rotary, images={"too_large": "split"}, context={"n_ctx": 80})
    [split] = spread.extract([document])
    assert split.problems[0] == "3 pages were spread over 2 prompts"


def test_caps_on_tokens_and_pixels(rotary: VisionFiles, load: Load) -> None:
    document = Document(id="d", image=picture(1, 400, 400))
    tokens = [
        load(rotary, images=images).extract([document])[0].usage.prompt_tokens
        for images in ({}, {"max_tokens": 64}, {"max_pixels": 40_000}, {"min_tokens": 300})
    ]
    assert tokens[1] <= 64 + 32
    assert tokens[2] < tokens[0] < tokens[3]


def test_an_endless_answer_ends_with_the_context(files: VisionFiles, load: Load) -> None:
    [extraction] = load(
        files, sampling={"n_predict": -1, "ignore_eos": True}, context={"n_ctx": 256}
    ).extract(shown(1))
    assert extraction.status is Status.TRUNCATED
    assert extraction.usage.prompt_tokens + extraction.usage.completion_tokens == 256


def test_templates_on_pictures(files: VisionFiles, load: Load) -> None:
    text = "Metformin 500 mg, aspirin 81 mg daily."
    seeds = range(8)
    documents = shown(*seeds)
    documents += [Document(id=f"t{i}", text=text, image=picture(i)) for i in seeds]
    draws = {"n_predict": 120, "temperature": 4.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
    extractor = load(files, prompt=NUEXTRACT, sampling=draws)
    found = extractor.extract(documents)
    for extraction, document in zip(found, documents, strict=True):
        assert extraction.failure is None
        if extraction.status is Status.OK:
            assert extraction.structured is not None
            assert list(json.loads(extraction.structured)) == ["DRUG", "DOSE"]
        for entity in extraction.entities:
            # Without OCR there is no text to hold the answer against; with it, only its words.
            grounded = entity.grounding is not Grounding.UNGROUNDED
            assert grounded == (document.text is not None)
            assert not grounded or entity.text == text[entity.start : entity.end]
    assert any(e.entities for e in found[:8])
    assert any(e.entities for e in found[8:])


def test_a_rows_own_prompt_and_the_text_that_ocr_read(files: VisionFiles, load: Load) -> None:
    image = picture(3)
    plain = load(files)
    asked = [
        Document(id="a", image=image, prompt="What is this?"),
        Document(id="b", image=image),
        Document(id="c", image=image, text="Aspirin 81 mg."),
    ]
    found = plain.extract(asked)
    assert found[1].completion == found[2].completion, "OCR's text is not shown unless asked for"
    assert found[0].completion != found[1].completion
    with_text = load(files, images={"text": True}).extract(asked)
    assert with_text[1].completion == found[1].completion
    assert with_text[2].usage.prompt_tokens > found[2].usage.prompt_tokens


def test_closing_cancels_what_waits(
    files: VisionFiles, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, encode = threading.Event(), Projector.encode

    def encode_behind_the_gate(projector: Projector, image: EncodedImage) -> None:
        assert gate.wait(60)
        encode(projector, image)

    monkeypatch.setattr(Projector, "encode", encode_behind_the_gate)
    extractor = load(files)
    futures = [extractor.submit(document) for document in shown(*range(40))]
    assert futures[-2].cancel()
    futures[-1].add_done_callback(lambda _: gate.set())
    extractor.close()
    assert all(future.done() for future in futures)
    with pytest.raises(CancelledError):
        futures[-1].result()


def test_memory_stays_flat(rotary: VisionFiles, load: Load) -> None:
    extractor = load(rotary, sampling={"n_predict": 2})
    document = Document(id="d", image=picture(1))
    sizes = []
    for _ in range(6):
        futures = [extractor.submit(document) for _ in range(100)]
        assert all(future.result().failure is None for future in futures)
        sizes.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    # 100 pictures take 15 MB as prepared pixels.
    assert sizes[-1] - sizes[1] < 4_000, sizes


def test_model_that_does_not_fit_is_an_error_at_load(
    rotary: VisionFiles, load: Load, tmp_path: Path
) -> None:
    other = make_vision(tmp_path, "llava")
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF, but no")
    for mmproj in (broken, other.model):
        with pytest.raises(ConfigError, match=mmproj.name):
            load(VisionFiles(rotary.model, mmproj))
    with pytest.raises(FileNotFoundError):
        load(VisionFiles(rotary.model, tmp_path / "none.gguf"))
    with pytest.raises(ValueError, match=r"weights\.mmproj is missing"):
        load(rotary, weights={"mmproj": None})


def test_fingerprints_follow_both_files_and_the_pictures_policy(
    rotary: VisionFiles, load: Load, tmp_path: Path
) -> None:
    other = make_vision(tmp_path, "qwen2vl", seed=5)
    plain = load(rotary).fingerprint
    assert load(rotary).fingerprint == plain
    assert load(VisionFiles(rotary.model, other.mmproj)).fingerprint != plain
    assert load(rotary, images={"max_tokens": 100}).fingerprint != plain
    assert load(rotary, context={"sequences": 2}).fingerprint == plain


def test_the_backend_is_chosen_by_the_weights(files: VisionFiles) -> None:
    config = GgufModel.model_validate(
        {
            "name": "m",
            "kind": "gguf",
            "weights": {"model": str(files.model), "mmproj": str(files.mmproj)},
            "context": {"n_ctx": 256, "sequences": 1},
            "prompt": {"format": "prose"},
        }
    )
    inputs = PageInputs(config)
    backend = GenerativeBackend(config, threads=1, inputs=inputs)
    extraction = backend.submit(Document("a", image=picture(1), prompt="Say a word.")).result()
    assert extraction.completion
    unasked = backend.submit(Document("b", image=picture(1))).result()
    assert unasked.failure is not None
    assert unasked.failure.type == "PromptError"
    assert inputs.projector.encoded == 1
    backend.close()


def test_a_picture_on_the_command_line(files: VisionFiles, tmp_path: Path) -> None:
    model = tmp_path / "vlm.yaml"
    model.write_text(
        f"name: vlm\nkind: gguf\nweights: {{model: {files.model}, mmproj: {files.mmproj}}}\n"
        "context: {n_ctx: 512, sequences: 2}\n"
        "prompt: {format: prose, instruction: Extract all drugs.}\n"
        "sampling: {n_predict: 8}\n"
    )
    page = tmp_path / "page.png"
    page.write_bytes(picture(1))
    asked = ["extract", str(page), "--model", str(model), "--ocr", "none", "--json"]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["id"] == str(page)
    assert answer["text"] is None
    assert answer["steps"][0]["completion"]
    assert answer["steps"][0]["completion_tokens"] == 8


def test_an_answer_about_a_picture_comes_as_it_is_printed(files: VisionFiles, load: Load) -> None:
    stream_events: list[str] = []
    penalised = {"repeat_penalty": 1.18, "repeat_last_n": 256, "temperature": 0.05}
    extractor = load(files, sampling=penalised)
    future = extractor.submit(shown(4)[0], on_text=lambda window, text: stream_events.append(text))
    completion = future.result().completion
    assert completion
    assert "".join(stream_events) == completion
    [again] = extractor.extract(shown(4))
    assert again.completion == completion
