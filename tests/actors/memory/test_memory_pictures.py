"""Memory estimates of picture encoders, against the figures that llama.cpp reports."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest
from llama_cpp import mtmd_cpp as mtmd
from support.encoder_models import EncoderShape, write_encoder
from support.gguf_models import make
from support.memory_models import Kind, Shape, write
from support.vision_models import make_vision, picture

from actors.config import GgufModel, ImageOptions
from actors.config.gguf import GgufContext
from actors.extractor import Extractor, Share
from actors.gguf import LlamaModel, llama_library
from actors.memory import encoder_memory, estimate_gguf, largest_picture, open_header, read_gguf
from actors.spans import Document
from actors.vision.image_budget import pixels_of
from actors.vision.projector import Projector
from actors.weights import open_weights

# Whose language model an encoder is loaded beside: it only has to be as wide as the embeddings.
BESIDE = {"gemma3": "gemma3", "internvl": "qwen2", "llava": "llama"}
CONTEXT = GgufContext(n_ctx=256, sequences=1, prefixes=0, use_extra_bufts=False)
# The published encoders' widths; their layers are alike, so a few of them reserve what all do.
PUBLISHED = {
    "qwen2vl": EncoderShape("qwen2vl", 1280, 5120, 16, 2, 64),
    "qwen25vl": EncoderShape("qwen25vl", 1280, 3420, 16, 9, 64, windows=8),
    "qwen3vl": EncoderShape("qwen3vl", 1152, 4304, 16, 6, 16, patch=16, side=768, deep=(1, 2, 4)),
    "qwen3vl small": EncoderShape("qwen3vl", 1024, 4096, 16, 6, 32, patch=16, side=768, deep=(3,)),
    "gemma3": EncoderShape("gemma3", 1152, 4304, 16, 2, 64, side=896),
    "llava": EncoderShape("llava", 1024, 4096, 16, 3, 64, side=336),
}
SMALL = {
    "qwen2vl": EncoderShape("qwen2vl", 256, 1024, 4, 3, 64),
    "qwen25vl": EncoderShape("qwen25vl", 384, 1024, 4, 5, 64, windows=3),
    "qwen3vl": EncoderShape("qwen3vl", 256, 1024, 4, 3, 32, patch=16, side=512, deep=(1,)),
}


def said(encoder: Path, model: Path, flash: bool) -> int:
    """Bytes of the compute buffer, as mtmd logs it when it warms up."""
    loaded = LlamaModel(model, CONTEXT, gpu=False)
    mtmd.mtmd_helper_log_set(llama_library.capture, ctypes.c_void_p(0))
    llama_library.buffers()
    params = mtmd.mtmd_context_params_default()
    params.use_gpu, params.n_threads, params.warmup = False, 1, True
    params.flash_attn_type = int(flash)
    context = mtmd.mtmd_init_from_file(str(encoder).encode(), loaded.handle, params)
    assert context, llama_library.loading_errors()
    (buffer,) = llama_library.buffers()
    mtmd.mtmd_free(context)
    loaded.close()
    return buffer.size


@pytest.mark.weights
@pytest.mark.parametrize("flash", [True, False], ids=["flash", "plain"])
@pytest.mark.parametrize(
    "shape",
    [*PUBLISHED.values(), *SMALL.values()],
    ids=[*PUBLISHED, *(f"{name} tiny" for name in SMALL)],
)
def test_the_buffer_of_an_encoder(shape: EncoderShape, flash: bool, tmp_path: Path) -> None:
    encoder = write_encoder(tmp_path / "e.gguf", shape)
    model = make(tmp_path / "m.gguf", BESIDE.get(shape.kind, "qwen2vl"))
    # Warmed up with the size that it tries first; pictures of any size may be larger.
    take = encoder_memory(open_header(encoder), 46 * 46, flash)
    assert take.exact
    tolerance = 0.05 if shape.kind == "gemma3" and not flash else 0.01
    assert take.compute == pytest.approx(said(encoder, model, flash), rel=tolerance)
    assert take.weights == pytest.approx(encoder.stat().st_size, rel=0.01)


@pytest.mark.weights
@pytest.mark.parametrize("kind", ["qwen2vl", "qwen25vl"])
def test_a_picture_larger_than_the_first_try_reserves_more(kind: str, tmp_path: Path) -> None:
    files = make_vision(tmp_path, kind)
    model = LlamaModel(files.model, CONTEXT, gpu=False)
    # Not warmed up, mtmd reserves and logs when the first picture comes: 50 x 50 tokens.
    projector = Projector(files.mmproj, model, ImageOptions(max_tokens=2500), 2, flash=1)
    (pixels,) = pixels_of(picture(1, 1400, 1400), ImageOptions())
    (part,) = (p for p in projector.prepare(pixels) if not isinstance(p, tuple))
    assert part.tokens == 2500
    projector.encode(part)
    reserved = projector.memory_used["CPU pictures"]
    projector.close()
    model.close()
    header = open_header(files.mmproj)
    take = encoder_memory(header, 2500, flash=True)
    assert take.compute == pytest.approx(reserved, rel=0.01)
    assert take.compute > 1.15 * encoder_memory(header, 46 * 46, flash=True).compute
    assert part.embeddings is not None
    assert take.embeddings == part.embeddings.nbytes


def vision_model(model: Path, encoder: Path, **more: object) -> GgufModel:
    content = {
        "name": "m",
        "kind": "gguf",
        "weights": {"model": str(model), "mmproj": str(encoder)},
        "context": {"n_ctx": 4096, "sequences": 4, "prefixes": 0},
        "prompt": {"format": "prose", "instruction": "Read it."},
        "sampling": {"n_predict": 2},
    }
    return GgufModel.model_validate(content | more)


def test_largest_image_is_limited_by_the_context(tmp_path: Path) -> None:
    files = make_vision(tmp_path, "qwen2vl")
    plain = vision_model(files.model, files.mmproj, sampling={})
    assert largest_picture(plain) == 3072  # a quarter is kept for the answer
    bounded = vision_model(files.model, files.mmproj, images={"max_tokens": 1000})
    assert largest_picture(bounded) == 1000
    kept = vision_model(files.model, files.mmproj, images={"output_tokens": 1024})
    assert largest_picture(kept) == 3072
    wide = vision_model(files.model, files.mmproj, context={"n_ctx": 32768})
    assert largest_picture(wide) == 4096  # mtmd's own bound for these


def test_an_encoder_counts_in_what_a_model_needs(tmp_path: Path) -> None:
    shape = Shape("qwen3vl", 1024, 28, 16, 8, 128, 3072, 151936, Kind.Q8_0)
    encoder = EncoderShape("qwen3vl", 1024, 4096, 16, 24, 1024, patch=16, side=768, deep=(5, 11))
    model = vision_model(
        write(tmp_path / "m.gguf", shape), write_encoder(tmp_path / "e.gguf", encoder)
    )
    file = read_gguf(open_weights, model)
    need = estimate_gguf(file, model)
    alone = estimate_gguf(type(file)(file.header), model)
    assert file.encoder is not None
    take = encoder_memory(file.encoder, largest_picture(model), flash=True)
    assert need.exact
    assert need.device == alone.device + take.weights + take.compute
    # Four pictures wait in main memory, each with the numbers of two deeper layers.
    assert take.embeddings == 4 * 4094 * 3 * 1024
    assert need.host == alone.host + 4 * take.embeddings
    assert set(need.parts) >= {"encoder", "pictures"}


def test_unknown_encoder_estimate_is_marked_as_a_guess(tmp_path: Path) -> None:
    files = make_vision(tmp_path, "gemma3")
    header = open_header(files.mmproj)
    header.values["clip.projector_type"] = "something_new"
    take = encoder_memory(header, None, flash=True)
    assert not take.exact
    assert take.compute > 0


@pytest.mark.weights
def test_actor_logs_encoder_memory(tmp_path: Path) -> None:
    files = make_vision(tmp_path, "qwen2vl")
    model = vision_model(files.model, files.mmproj, context={"n_ctx": 1024, "sequences": 2})
    with Extractor(model, Share(1, 0.0)) as extractor:
        before = dict(extractor.memory_used)
        (answer,) = extractor.extract([Document(id="1", image=picture(1))])
        after = dict(extractor.memory_used)
    assert answer.failure is None
    assert before["CPU encoder"] == files.mmproj.stat().st_size
    assert "CPU KV" in before
    assert "CPU pictures" not in before
    # On the CPU its buffer comes with the first picture, and is of that picture's size.
    assert 0 < after["CPU pictures"] <= encoder_memory(open_header(files.mmproj), 64, False).compute
