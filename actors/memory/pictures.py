"""What the encoder of a vision model (its mmproj file) takes: weights, and its compute buffer."""

from __future__ import annotations

from actors.memory.header import Header

_FLOAT = 4
# clip.cpp tries encoders that take pictures of any size with one of 46 x 46 tokens, four patches
# each, and keeps the buffer that it needed.
_TRIED = 4 * 46 * 46
_ANY_SIZE = frozenset({"qwen2vl_merger", "qwen2.5vl_merger", "qwen3vl_merger"})


def encoder_parts(header: Header, max_tokens: int | None, flash: bool) -> dict[str, int]:
    """Bytes of weights and of the compute buffer of an encoder.

    ``max_tokens``: of a picture, where it is bounded higher than what llama.cpp tries first.
    ``flash``: attention that never holds all scores; without it they are nearly all there is.
    Fitted to llama.cpp's log on the CPU: within 7% for encoders of qwen2vl and qwen2.5vl; for the
    others, whose pictures have one size, up to three times a small buffer.
    """

    def size(key: str) -> int:
        value = header.values.get(f"clip.vision.{key}", 0)
        return int(value) if isinstance(value, int | float) else 0

    width, feed, heads = (
        size("embedding_length"),
        size("feed_forward_length"),
        size("attention.head_count"),
    )
    kind = header.text("clip.projector_type") or header.text("clip.vision.projector_type")
    patch = max(1, size("patch_size"))
    if kind in _ANY_SIZE:
        patches = max(_TRIED, 4 * (max_tokens or 0))
    else:
        patches = (size("image_size") // patch) ** 2
    row = _FLOAT * patches
    if flash:
        compute = max(row * (feed + 2 * width), row * 6 * width)
    else:
        compute = max(row * patches * heads + row * 5 * width, row * (feed + 2 * width))
    if kind == "qwen2.5vl_merger":
        # A mask between windows, and once more in half precision for flash attention.
        compute += patches**2 * (6 if flash else 4)
    return {"encoder": sum(t.size for t in header.tensors), "pictures": compute}
