"""What the encoder of a vision model (its mmproj file) takes: weights, and its compute buffer."""

from __future__ import annotations

from dataclasses import dataclass

from actors.config import GgufModel
from actors.memory.header import Header
from actors.memory.tower import Tower, compute_bytes

# Qwen's encoders take pictures of any size. mtmd reserves for one of 46 x 46 tokens, four patches
# each, and reserves more when a larger one comes: up to 4,096 tokens, unless it is told otherwise.
_TRIED = 46 * 46
_OWN_MOST = 4096
_ANY_SIZE = frozenset({"qwen2vl_merger", "qwen2.5vl_merger", "qwen3vl_merger"})
_ONE_SIZE = {"mlp": 1, "internvl": 2, "gemma3": 4}
"""Projectors of pictures of one size, and how many patches a side become one token."""


@dataclass(frozen=True, slots=True)
class EncoderTake:
    """Bytes of weights, of the compute buffer, and of an encoded picture in main memory. ``exact``
    is False where the encoder's graph is not known."""

    weights: int
    compute: int
    embeddings: int
    exact: bool


def encoder_take(header: Header, tokens: int | None, flash: bool, together: int = 1) -> EncoderTake:
    """What an encoder takes for its largest pictures.

    ``tokens``: of a picture at most, where it may have any size; None: the encoder's own bound.
    ``flash``: attention that never holds all scores; without it they are nearly all there is.
    ``together``: tokens of pictures that are encoded at once, where the encoder can.
    """
    kind = header.text("clip.projector_type") or header.text("clip.vision.projector_type")
    tower = _tower(header, kind, tokens or _OWN_MOST, flash, together)
    # A deeper layer of Qwen3-VL's gives as many numbers again.
    wide = tower.out * (1 + sum(tower.deep))
    return EncoderTake(
        weights=sum(t.size for t in header.tensors),
        compute=compute_bytes(tower),
        embeddings=4 * (tower.patches // tower.merged) * wide,
        exact=kind in _ANY_SIZE or kind in _ONE_SIZE,
    )


def largest_picture(model: GgufModel) -> int:
    """Tokens of a picture at most: what the model file bounds, and what its context has room for
    beside the answer; larger pictures are made smaller before they are encoded."""
    images, length = model.images, model.context.length
    predict = model.sampling.n_predict
    output = images.output_tokens if images is not None else None
    if output is None:
        output = min(predict, length // 2) if predict > 0 else length // 4
    bound = max(1, min(length - output, (images and images.max_tokens) or _OWN_MOST))
    return max(bound, (images and images.min_tokens) or 0)


def _tower(header: Header, kind: str, tokens: int, flash: bool, together: int) -> Tower:
    def size(key: str, default: int = 0) -> int:
        value = header.values.get(f"clip.vision.{key}", default)
        return int(value) if isinstance(value, int | float) else default

    names = {t.name: t for t in header.tensors}
    patch, layers = max(1, size("patch_size")), size("block_count")
    pictures = 1
    if kind in _ANY_SIZE:
        merged = size("spatial_merge_size", 2) ** 2
        patches = max(_TRIED, tokens) * merged
    else:
        merged = size("projector.scale_factor", _ONE_SIZE.get(kind, 1)) ** 2
        patches = (size("image_size") // patch) ** 2
        if kind == "internvl":
            pictures = max(1, together // max(1, patches // merged))
        patches = pictures * (patches + (kind in ("mlp", "internvl")))
    last = next((names[n] for n in ("mm.2.bias", "mm.model.mlp.3.bias") if n in names), None)
    pattern = size("n_wa_pattern")
    if kind == "mlp":
        layers -= 1  # the last one is not run
    return Tower(
        kind=kind if kind in _ANY_SIZE or kind in _ONE_SIZE else "gemma3",
        width=size("embedding_length"),
        feed=size("feed_forward_length"),
        heads=size("attention.head_count"),
        raw=3 * patch**2,
        out=last.dimensions[0] if last is not None else size("projection_dim"),
        patches=patches,
        pictures=pictures,
        merged=merged,
        windowed=tuple(pattern > 0 and (i + 1) % pattern != 0 for i in range(layers)),
        deep=tuple(f"v.deepstack.{i}.fc1.weight" in names for i in range(layers)),
        gated="v.blk.0.ffn_gate.weight" in names,
        fused="v.blk.0.attn_qkv.weight" in names,
        flash=flash,
    )
