"""Estimate the memory that llama.cpp allocates: weights, KV cache, compute and output buffers.

Weights and KV cache follow from the file and the options. The compute buffer is that of the graph
llama.cpp reserves, replayed by its allocator's rules (``graph``, ``arena``): on the CPU it equals
the size that llama.cpp logs, for the architectures in ``KNOWN``. On a GPU the same graph runs
without the embedding lookup, which stays on the host.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from actors.config.gguf import GgufContext
from actors.memory.arena import peak
from actors.memory.compute_graph import Graph
from actors.memory.header import Header
from actors.memory.shape import KNOWN, Shape, output_rows, shape_of

# Bytes per element of the KV cache, by llama.cpp's type names.
_KV_BYTES = {
    "f32": 4.0,
    "f16": 2.0,
    "bf16": 2.0,
    "q8_0": 34 / 32,
    "q5_1": 24 / 32,
    "q5_0": 22 / 32,
    "q4_1": 20 / 32,
    "q4_0": 18 / 32,
}
_LAYER = re.compile(r"blk\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class LlamaMemory:
    """Bytes that llama.cpp allocates on the GPU and on the host.

    ``layers``: weights of each layer; the last ``layers_on_device`` of them are on the GPU.
    ``exact`` is False if the architecture's graph is unknown: then ``compute`` is estimated with
    llama's.
    """

    layers: tuple[int, ...]
    layers_on_device: int
    weights_device: int
    weights_host: int
    kv_device: int
    kv_host: int
    compute_device: int
    compute_host: int
    output_host: int
    exact: bool

    @property
    def device(self) -> int:
        """Bytes on the GPU, excluding the CUDA context."""
        return self.weights_device + self.kv_device + self.compute_device

    @property
    def host(self) -> int:
        """Bytes in main memory, including memory-mapped weights."""
        return self.weights_host + self.kv_host + self.compute_host + self.output_host


def llama_memory(header: Header, options: GgufContext, gpu: bool) -> LlamaMemory:
    """Estimate the memory of the model of ``header`` with ``options``; ``gpu``: use a GPU."""
    shape = shape_of(header, options, gpu)
    layers, device, host = _weights(header, shape)
    first = max(0, shape.layers + 1 - shape.on_device)  # the last layers are offloaded
    kv = [_kv(shape, options, layer) for layer in range(shape.layers)]
    kv_first = first if options.offload_kqv else shape.layers
    compute_device, compute_host = _compute(shape, options)
    return LlamaMemory(
        layers=tuple(layers),
        layers_on_device=max(0, shape.layers - first),
        weights_device=sum(layers[first:]) + device,
        weights_host=sum(layers[:first]) + host,
        kv_device=sum(kv[kv_first:]),
        kv_host=sum(kv[:kv_first]),
        compute_device=compute_device,
        compute_host=compute_host,
        output_host=4 * output_rows(options) * shape.vocabulary,
        exact=shape.architecture in KNOWN,
    )


def _weights(header: Header, shape: Shape) -> tuple[list[int], int, int]:
    """Return the bytes of each layer, and of all other tensors on the GPU and on the host."""
    layers = [0] * shape.layers
    embedding = output = 0
    tied = True
    for tensor in header.tensors:
        place = _LAYER.match(tensor.name)
        if place and int(place[1]) < shape.layers:
            layers[int(place[1])] += tensor.size
        elif tensor.name.startswith("token_embd."):
            embedding += tensor.size
        else:
            tied = tied and not tensor.name.startswith("output.")
            output += tensor.size
    if shape.on_device <= shape.layers:
        return layers, 0, embedding + output
    # A tied output layer is a second copy of the embedding, on the GPU.
    return layers, output + (embedding if tied else 0), embedding


def _kv(shape: Shape, options: GgufContext, layer: int) -> int:
    cells = shape.cells_of(layer) * shape.streams
    key = shape.key * _KV_BYTES[options.type_k]
    value = shape.value * _KV_BYTES[options.type_v]
    return int(cells * shape.kv_heads[layer] * (key + value))


def _compute(shape: Shape, options: GgufContext) -> tuple[int, int]:
    """Return the bytes of the compute buffers on the GPU and on the host."""
    graph = Graph(shape)
    looked_up, inputs, ops = graph.looked_up(), graph.inputs(), graph.ops()
    whole = peak(looked_up + inputs, [graph.embedding(), *ops])
    if shape.on_device <= 0:
        return 0, whole
    device = peak([*inputs, graph.embedded()], ops)
    if shape.on_device <= shape.layers or not options.offload_kqv:
        return device, whole  # the graph is split: either side may need the peak
    return device, peak(looked_up + inputs, [graph.embedding()])
