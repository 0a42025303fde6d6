"""Write a trained classifier as one ONNX file, in float32 or with 8-bit weights and activations.

The graph is laid down node by node: the operators are those that onnxruntime's own transformer
optimizer would fuse a BERT into, and every quantised product is DequantizeLinear -> MatMul with
one static scale per activation and one per weight column. No scale depends on what is in the
batch, so a document's logits do not depend on its neighbours.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from model import TokenClassifier
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file
from tokenizers import Tokenizer

Array = NDArray[np.float32]
Range = tuple[float, float]


class Graph:
    """Collects nodes and constants under names that are counted up."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, kind: str, *inputs: str, domain: str = "", **fields: object) -> str:
        """Append a node and return the name of its output."""
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(kind, inputs, [name], name=name, domain=domain, **fields)
        )
        return name

    def constant(self, value: NDArray[np.generic], name: str) -> str:
        """Keep a tensor under a name, which is returned."""
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name


def columns_to_int8(weight: Array) -> tuple[NDArray[np.int8], Array]:
    """Symmetric 8-bit columns of a [rows, columns] matrix, one scale per column."""
    scale = np.abs(weight).max(axis=0) / 127
    return np.round(weight / scale).astype(np.int8), scale.astype(np.float32)


def scale_of(bounds: Range) -> tuple[np.float32, np.uint8]:
    """Scale and zero point of an unsigned 8-bit activation with these bounds."""
    low, high = min(bounds[0], 0.0), max(bounds[1], 0.0)
    scale = np.float32((high - low) / 255)
    return scale, np.uint8(round(-low / float(scale)))


class Writer:
    """Builds the graph of one classifier; `ranges` (by input name) makes its products 8-bit."""

    def __init__(self, model: TokenClassifier, head: str, ranges: dict[str, Range] | None) -> None:
        self.graph = Graph()
        self.model, self.head, self.ranges = model, head, ranges
        self.weights = {k: v.numpy() for k, v in model.float().state_dict().items()}

    def activation(self, x: str, name: str) -> str:
        """The tensor as a quantised product reads it."""
        if self.ranges is None or name not in self.ranges:
            return x
        scale, zero = scale_of(self.ranges[name])
        scale_name = self.graph.constant(np.array(scale), f"{name}.in.scale")
        zero_name = self.graph.constant(np.array(zero), f"{name}.in.zero")
        quantised = self.graph.add("QuantizeLinear", x, scale_name, zero_name)
        return self.graph.add("DequantizeLinear", quantised, scale_name, zero_name)

    def product(self, x: str, name: str, weight: Array, quantise: bool) -> str:
        """x @ weight.T, the weight held in 8 bits where x is."""
        matrix = weight.T
        if quantise:
            values, scale = columns_to_int8(matrix)
            constant = self.graph.add(
                "DequantizeLinear",
                self.graph.constant(values, f"{name}.int8"),
                self.graph.constant(scale, f"{name}.scale"),
                self.graph.constant(np.zeros(len(scale), np.int8), f"{name}.zero"),
                axis=1,
            )
        else:
            constant = self.graph.constant(matrix, name)
        return self.graph.add("MatMul", x, constant)

    def lookup(self, ids: str) -> str:
        """Word embeddings; in 8 bits one scale per word."""
        table = self.weights["words.weight"]
        if self.ranges is None:
            return self.graph.add("Gather", self.graph.constant(table, "words"), ids)
        values, scale = columns_to_int8(table.T)
        rows = self.graph.add("Gather", self.graph.constant(values.T, "words.int8"), ids)
        scales = self.graph.add("Gather", self.graph.constant(scale[:, None], "words.scale"), ids)
        return self.graph.add("Mul", self.graph.add("Cast", rows, to=TensorProto.FLOAT), scales)

    def norm(self, x: str, skip: str, name: str, bias: str | None = None) -> str:
        """Layer norm of x + skip + bias, with the norm's and the bias's own tensors."""
        parts = [
            x,
            skip,
            self.graph.constant(self.weights[f"{name}.weight"], f"{name}.weight"),
            self.graph.constant(self.weights[f"{name}.bias"], f"{name}.bias"),
        ]
        if bias:
            parts.append(self.graph.constant(self.weights[bias], bias))
        epsilon = self.model.norm.eps
        return self.graph.add(
            "SkipLayerNormalization", *parts, domain="com.microsoft", epsilon=epsilon
        )

    def layer(self, x: str, i: int, mask: str) -> str:
        """One layer: attention, then feed-forward."""
        graph, weights, at = self.graph, self.weights, f"layers.{i}."
        small = self.ranges or {}
        entry = self.activation(x, f"{at}qkv")
        thirds = np.split(weights[f"{at}qkv.weight"], 3)
        qkv = [
            self.product(entry, f"{at}{n}", w, f"{at}qkv" in small)
            for n, w in zip("qkv", thirds, strict=True)
        ]
        bias = graph.constant(weights[f"{at}qkv.bias"], f"{at}qkv.bias")
        attended = graph.add(
            "MultiHeadAttention",
            *qkv,
            bias,
            mask,
            domain="com.microsoft",
            num_heads=self.model.layers[i].heads,
        )
        attended = self.activation(attended, f"{at}out")
        out = self.product(attended, f"{at}out", weights[f"{at}out.weight"], f"{at}out" in small)
        x = self.norm(out, x, f"{at}norm1", f"{at}out.bias")
        entry = self.activation(x, f"{at}up")
        up = self.product(entry, f"{at}up", weights[f"{at}up.weight"], f"{at}up" in small)
        bias = graph.constant(weights[f"{at}up.bias"], f"{at}up.bias")
        inner = graph.add("BiasGelu", up, bias, domain="com.microsoft")
        inner = self.activation(inner, f"{at}down")
        down = self.product(inner, f"{at}down", weights[f"{at}down.weight"], f"{at}down" in small)
        return self.norm(down, x, f"{at}norm2", f"{at}down.bias")

    def write(self, path: Path, types: Array) -> None:
        """Write the file; `types` are the encoder's token type embeddings, [2, hidden]."""
        graph, weights = self.graph, self.weights
        length = graph.add("Shape", "input_ids", start=1, end=2)
        zero, one = (graph.constant(np.array([n]), f"int.{n}") for n in (0, 1))
        places = graph.constant(weights["places.weight"] - types[0], "places")
        places = graph.add("Slice", places, zero, length, zero, one)
        kinds = graph.add("Gather", graph.constant(types, "types"), "token_type_ids")
        x = graph.add("Add", self.lookup("input_ids"), places)
        x = self.norm(x, kinds, "norm")
        mask = graph.add("Cast", "attention_mask", to=TensorProto.INT32)
        for i in range(len(self.model.layers)):
            x = self.layer(x, i, mask)
        x = self.activation(x, "head")
        x = self.product(
            x, "head", weights[f"heads.{self.head}.weight"], "head" in (self.ranges or {})
        )
        bias = graph.constant(weights[f"heads.{self.head}.bias"], "head.bias")
        graph.nodes.append(helper.make_node("Add", [x, bias], ["logits"], name="logits"))
        labels = len(weights[f"heads.{self.head}.bias"])
        shape = ["batch_size", "sequence_length"]
        model = helper.make_model(
            helper.make_graph(
                graph.nodes,
                "token_classifier",
                [
                    helper.make_tensor_value_info(name, TensorProto.INT64, shape)
                    for name in ("input_ids", "attention_mask", "token_type_ids")
                ],
                [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [*shape, labels])],
                graph.constants,
            ),
            opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)],
            ir_version=8,
            producer_name="medspan",
        )
        onnx.save(model, path)


def write_folder(
    folder: Path,
    base: Path,
    model: TokenClassifier,
    head: str,
    names: Sequence[str],
    ranges: dict[str, Range] | None,
) -> None:
    """model.onnx with config.json and the tokenizer's files, as optimum lays them out."""
    folder.mkdir(parents=True, exist_ok=True)
    raw = load_file(base / "model.safetensors")
    types = raw["embeddings.token_type_embeddings.weight"].astype(np.float32)
    Writer(model, head, ranges).write(folder / "model.onnx", types)
    config = json.loads((base / "config.json").read_text())
    config |= {
        "architectures": ["BertForTokenClassification"],
        "id2label": {str(i): name for i, name in enumerate(names)},
        "label2id": {name: i for i, name in enumerate(names)},
    }
    for unused in ("_name_or_path", "transformers_version", "gradient_checkpointing"):
        config.pop(unused, None)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        shutil.copyfile(base / name, folder / name)
