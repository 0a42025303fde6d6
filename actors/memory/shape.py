"""The dimensions that determine llama.cpp's memory: a model's header and its run options."""

from __future__ import annotations

from dataclasses import dataclass

from actors.config.gguf import GgufContext
from actors.memory.header import Header, vocabulary

KNOWN = frozenset({"qwen2", "qwen2vl", "qwen3", "qwen3vl", "llama", "gemma3"})
"""Architectures with a known graph; others are estimated with llama's."""

# One layer in this many has full attention, the others a sliding window.
_WINDOW_PATTERN = {"gemma2": 2, "gemma3": 6, "cohere2": 4, "gpt-oss": 2}
_CELLS = 256  # llama.cpp rounds contexts up to a multiple


@dataclass(frozen=True, slots=True)
class Shape:
    """A decoder and its run options. Widths are in elements, ``cells`` in tokens of one stream.

    ``tokens``: a full ubatch. ``outputs``: those of them that need logits. ``streams``: separate KV
    caches, one per sequence unless they share a unified cache. ``on_device``: layers on the GPU;
    the output layer is the last of ``layers`` + 1.
    """

    architecture: str
    layers: int
    on_device: int
    width: int
    heads: int
    kv_heads: tuple[int, ...]
    key: int
    value: int
    feed: int
    vocabulary: int
    added: int
    tokens: int
    outputs: int
    streams: int
    cells: int
    window_cells: int
    windowed: tuple[bool, ...]
    flash: bool
    turned_keys: bool
    turned_values: bool

    def cells_of(self, layer: int) -> int:
        """KV cells per stream in a layer."""
        return self.window_cells if self.windowed[layer] else self.cells


def output_rows(options: GgufContext) -> int:
    """Maximum rows of logits per step: one per sequence. llama.cpp is configured with it; its
    default is one row per token of a batch."""
    return options.slots + options.prefixes


def shape_of(header: Header, options: GgufContext, gpu: bool) -> Shape:
    """Build the shape of a model run with ``options``; ``gpu``: whether a GPU may be used."""
    number = header.number
    layers, width, heads = (
        number("block_count"),
        number("embedding_length"),
        number("attention.head_count"),
    )
    head = width // heads if heads else 0
    key, value = number("attention.key_length", head), number("attention.value_length", head)
    sequences = options.slots + options.prefixes
    streams = 1 if options.kv_tokens else sequences
    cells = _padded(options.kv_tokens or options.length)
    gpu_layers = options.n_gpu_layers if gpu else 0
    on_device = min(layers + 1, gpu_layers if gpu_layers >= 0 else layers + 1)
    rows = min(options.n_ubatch, options.n_batch, options.kv_tokens or options.length * sequences)
    # On a CPU, auto depends on the processor; without flash attention a context takes more memory.
    flash = options.flash_attn == "on" or (
        options.flash_attn == "auto" and (on_device > 0 or options.type_v.startswith("q"))
    )
    return Shape(
        architecture=header.architecture,
        layers=layers,
        on_device=on_device,
        width=width,
        heads=heads,
        kv_heads=_by_layer(header.numbers("attention.head_count_kv", heads), layers),
        key=key,
        value=value,
        feed=number("feed_forward_length") * max(1, number("expert_used_count")),
        vocabulary=vocabulary(header),
        added=number("n_deepstack_layers"),
        # A ubatch holds the same number of tokens of every sequence (llama-context.cpp,
        # graph_reserve).
        tokens=-(-rows // sequences) * sequences,
        outputs=min(rows, output_rows(options)),
        streams=streams,
        cells=cells,
        window_cells=_window_cells(header, options, cells, streams),
        windowed=_windowed(header, layers),
        flash=flash,
        # Quantised K and V are rotated by a Hadamard matrix first (llama-kv-cache.cpp).
        turned_keys=options.type_k.startswith("q") and key % 64 == 0,
        turned_values=options.type_v.startswith("q") and value % 64 == 0,
    )


def _by_layer(found: list[int], layers: int) -> tuple[int, ...]:
    return tuple(found) if len(found) == layers else tuple(found[:1]) * layers


def _windowed(header: Header, layers: int) -> tuple[bool, ...]:
    every = _WINDOW_PATTERN.get(header.architecture, 0)
    if not every or not header.number("attention.sliding_window"):
        return (False,) * layers
    return tuple(layer % every < every - 1 for layer in range(layers))


def _window_cells(header: Header, options: GgufContext, cells: int, streams: int) -> int:
    # llama-kv-cache-iswa.cpp
    if options.swa_full:
        return cells
    sharing = options.slots + options.prefixes if streams == 1 else 1
    seen = header.number("attention.sliding_window") * sharing
    return _padded(min(cells, seen + min(options.n_ubatch, options.n_batch)))


def _padded(cells: int) -> int:
    return -(-cells // _CELLS) * _CELLS
