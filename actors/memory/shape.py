"""The sizes that decide what llama.cpp takes: a header, and the options that it runs with."""

from __future__ import annotations

from dataclasses import dataclass

from actors.config.gguf import GgufContext
from actors.memory.header import Header, vocabulary

KNOWN = frozenset({"qwen2", "qwen2vl", "qwen3", "qwen3vl", "llama", "gemma3"})
"""Architectures whose graph is known; others are taken for one like llama."""

# One layer of so many attends to the whole context, the others to a window.
_WINDOW_PATTERN = {"gemma2": 2, "gemma3": 6, "cohere2": 4, "gpt-oss": 2}
_CELLS = 256  # llama.cpp rounds contexts up to this


@dataclass(frozen=True, slots=True)
class Shape:
    """A decoder and how it is run. Widths are in elements, ``cells`` in tokens of one stream.

    ``tokens``: a full ubatch. ``outputs``: those of them whose logits are wanted. ``streams``:
    rooms of KV cells, one a sequence unless all share one. ``on_device``: layers on the card, the
    output being the last of ``layers`` + 1.
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
        """KV cells of a stream in a layer."""
        return self.window_cells if self.windowed[layer] else self.cells


def output_rows(options: GgufContext) -> int:
    """Rows of logits that a step can want: one a sequence. llama.cpp is told so; its own default
    is a row for every token of a batch."""
    return options.slots + options.prefixes


def shape_of(header: Header, options: GgufContext, gpu: bool) -> Shape:
    """The shape of a model run with ``options``; ``gpu``: whether it may use a card."""
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
    given = options.n_gpu_layers if gpu else 0
    on_device = min(layers + 1, given if given >= 0 else layers + 1)
    rows = min(options.n_ubatch, options.n_batch, options.kv_tokens or options.length * sequences)
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
        # A ubatch holds as many tokens of every sequence (llama-context.cpp, graph_reserve).
        tokens=-(-rows // sequences) * sequences,
        outputs=min(rows, output_rows(options)),
        streams=streams,
        cells=cells,
        window_cells=_window_cells(header, options, cells, streams),
        windowed=_windowed(header, layers),
        flash=flash,
        # Quantised K and V are turned by a Hadamard matrix first (llama-kv-cache.cpp).
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
