"""A bi-encoder's one graph in two: the labels' encoder, and all that depends on a text.

So the labels of a guideline are encoded once, and not once a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.model_folder import model_parts

# A protobuf message cannot be larger; such a graph is run whole.
_LARGEST = 2**31 - 1

_Part = tuple[list[Any], list[Any]]  # nodes and constants


@dataclass(frozen=True, slots=True)
class SplitGraph:
    """A graph that can be cut. ``joint``: the tensors that pass from the one half to the other."""

    model: Any
    label_inputs: frozenset[str]
    joint: tuple[str, ...]

    def labels(self) -> bytes:
        """The labels' encoder as a model of its own; its outputs are the joint tensors."""
        import onnx

        graph = self.model.graph
        inputs = [one for one in graph.input if one.name in self.label_inputs]
        outputs = [onnx.helper.make_empty_tensor_value_info(name) for name in self.joint]
        return self._serialised(_needed(graph, self.joint, lambda name: True), inputs, outputs)

    def text(self, kinds: Mapping[str, str]) -> bytes:
        """The rest. ``kinds``: the type of each joint tensor as onnxruntime names it, such as
        ``tensor(float)``; they become inputs."""
        import onnx

        elements = {
            "tensor(float)": onnx.TensorProto.FLOAT,
            "tensor(float16)": onnx.TensorProto.FLOAT16,
            "tensor(int64)": onnx.TensorProto.INT64,
            "tensor(int32)": onnx.TensorProto.INT32,
            "tensor(bool)": onnx.TensorProto.BOOL,
        }
        graph = self.model.graph
        outputs = [one.name for one in graph.output]
        half = _needed(graph, outputs, lambda name: name not in kinds)
        inputs = [one for one in graph.input if one.name not in self.label_inputs]
        for name, kind in kinds.items():
            inputs.append(onnx.helper.make_tensor_value_info(name, elements[kind], None))
        return self._serialised(half, inputs, list(graph.output))

    def _serialised(self, half: _Part, inputs: list[Any], outputs: list[Any]) -> bytes:
        import onnx

        nodes, constants = half
        graph = onnx.helper.make_graph(nodes, self.model.graph.name, inputs, outputs, constants)
        made = onnx.helper.make_model(
            graph, opset_imports=self.model.opset_import, ir_version=self.model.ir_version
        )
        return bytes(made.SerializeToString())


def cut(file: Path, label_inputs: Iterable[str]) -> SplitGraph | None:
    """Find the place to split a model file; None if it is too large for that, or lacks inputs of
    the labels."""
    import onnx  # here: no other model needs it

    if sum(part.stat().st_size for part in model_parts(file)) > _LARGEST:
        return None
    model = onnx.load(file)
    graph, wanted = model.graph, frozenset(label_inputs)
    if not wanted <= {one.name for one in graph.input}:
        return None
    of_labels, of_text = set(wanted), {one.name for one in graph.input} - wanted
    for node in graph.node:  # in an order in which they can be run
        read = set(_read(node))
        for reached in (of_labels, of_text):
            if read & reached:
                reached.update(node.output)
    alone = of_labels - of_text
    joint = {
        name
        for node in graph.node
        if of_text & set(node.output)
        for name in _read(node)
        if name in alone
    }
    # What reads an input itself would need it in both halves.
    return None if joint & wanted or not joint else SplitGraph(model, wanted, tuple(sorted(joint)))


def _needed(graph: Any, outputs: Iterable[str], made_here: Callable[[str], bool]) -> _Part:
    """The nodes and constants that these outputs need, but for what is not made here."""
    needed = set(outputs)
    nodes = []
    for node in reversed(graph.node):
        if any(name in needed and made_here(name) for name in node.output):
            nodes.append(node)
            needed.update(_read(node))
    return nodes[::-1], [one for one in graph.initializer if one.name in needed]


def _read(node: Any) -> Iterator[str]:
    """Yield the names that a node and its subgraphs read."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        for inner in (attribute.g, *attribute.graphs):
            for one in inner.node:
                yield from _read(one)
