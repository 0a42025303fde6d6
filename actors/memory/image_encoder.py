"""Memory estimate of a vision model's image encoder (its mmproj file): weights, compute buffer."""

from __future__ import annotations

from dataclasses import dataclass

from actors.config import GgufModel
from actors.memory.header import Header
from actors.memory.image_encoder_graph import Tower, compute_bytes

# Qwen's encoders have dynamic resolution. mtmd reserves memory for an image of 46 x 46 tokens, four
# patches each, and reserves more if a larger one comes: up to 4,096 tokens by default.
_TRIED = 46 * 46
_OWN_MOST = 4096
_ANY_SIZE = frozenset({"qwen2vl_merger", "qwen2.5vl_merger", "qwen3vl_merger"})
_ONE_SIZE = {"mlp": 1, "internvl": 2, "gemma3": 4}
"""Projectors with a fixed image size, and how many patches per side merge into one token."""


@dataclass(frozen=True, slots=True)
class EncoderMemory:
    """Bytes of weights, of the compute buffer, and of an encoded image in main memory. ``exact`` is
    False if the encoder's graph is unknown."""

    weights: int
    compute: int
    embeddings: int
    exact: bool


def encoder_memory(
    header: Header, tokens: int | None, flash: bool, together: int = 1
) -> EncoderMemory:
    """Estimate the memory of an encoder for its largest images.

    ``tokens``: maximum per image, for dynamic resolution; None: the encoder's own limit. ``flash``:
    flash attention, which never materialises all scores; without it they dominate. ``together``:
    tokens of images encoded in one batch, if the encoder supports it.
    """
    kind = header.text("clip.projector_type") or header.text("clip.vision.projector_type")
    tower = _tower(header, kind, tokens or _OWN_MOST, flash, together)
    # Each deepstack layer of Qwen3-VL adds as many values again.
    wide = tower.out * (1 + sum(tower.deep))
    return EncoderMemory(
        weights=sum(t.size for t in header.tensors),
        compute=compute_bytes(tower),
        embeddings=4 * (tower.patches // tower.merged) * wide,
        exact=kind in _ANY_SIZE or kind in _ONE_SIZE,
    )


def largest_picture(model: GgufModel) -> int:
    """Maximum tokens per image: limited by the model file, and by the context minus the answer;
    larger images are downscaled before encoding."""
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
        layers -= 1  # the last layer is not run
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
