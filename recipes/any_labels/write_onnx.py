"""Write the trained span model as GLiNER's exporter lays a folder out, in float32 or in 8 bits.

The graph takes GLiNER's inputs and gives its logits; it is laid down node by node with the token
classifier's writer, and scores spans as `span_model.py` does. Products of the encoder and of the
projections have one static scale per activation and one per weight column, so that no score
depends on what else is in the batch. Spans are scored in float32.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
from pathlib import Path

import numpy as np
import onnx
import torch
from corpora import WIDTH, Pieces, names, training
from export import Range, Writer
from model import Shape, TokenClassifier
from onnx import TensorProto, helper
from ranges import best_range
from samples import ENT, Sample, Sampler
from span_model import SpanModel, rows_at
from torch import Tensor
from train import BASE, pad, start_model, tokenizer

CALIBRATED_ON = ("maccrobat2020", "ctro_21", "bc5cdr", "asq_phi", "notes")
CALIBRATION = 14
ROWS = 256


def plain_encoder(model: SpanModel) -> TokenClassifier:
    """The encoder with the two added tokens in its one table of words."""
    shape = Shape.read(BASE)
    state = dict(model.encoder.state_dict())
    state["words.weight"] = torch.cat([state["words.weight"], state.pop("words.marks")])
    larger = Shape(**{**shape.__dict__, "vocabulary": len(state["words.weight"])})
    plain = TokenClassifier(larger, {})
    plain.load_state_dict(state)
    return plain.eval()


@torch.inference_mode()
def calibrate(model: SpanModel, samples: list[Sample]) -> dict[str, Range]:
    """Per quantised input, the clipped range with the smallest squared error of its product."""
    seen: dict[str, list[Tensor]] = {}
    weights: dict[str, Tensor] = {}

    def keep(name: str, rows: Tensor, weight: Tensor) -> None:
        rows = rows.reshape(-1, rows.shape[-1])
        seen.setdefault(name, []).append(rows[torch.randperm(len(rows))[: max(8, len(rows) // 4)]])
        weights[name] = weight

    def watch(name: str) -> object:
        return lambda module, inputs: keep(name, inputs[0], module.weight)

    hooks = [
        getattr(layer, part).register_forward_pre_hook(watch(f"layers.{i}.{part}"))
        for i, layer in enumerate(model.encoder.layers)
        for part in ("qkv", "out", "up", "down")
    ]
    for part in ("start", "end", "label"):
        for index in (0, 3):
            linear = getattr(model, part)[index]
            hooks.append(linear.register_forward_pre_hook(watch(f"{part}.{index}")))
    size = model.out[0].weight.shape[1] // 2
    torch.manual_seed(0)
    for one in samples:
        ids, words = pad([one.ids]), pad([one.words])
        model(ids, torch.ones_like(ids), words, pad([one.labels]))
        at = rows_at(model.encoder.encode(ids, torch.ones_like(ids)), words)
        keep("out.start", model.start(at).relu(), model.out[0].weight[:, :size])
        keep("out.end", model.end(at).relu(), model.out[0].weight[:, size:])
    for hook in hooks:
        hook.remove()
    return {name: best_range(torch.cat(rows)[:ROWS], weights[name]) for name, rows in seen.items()}


class SpanWriter(Writer):
    """Builds the graph of one span model."""

    def __init__(self, model: SpanModel, ranges: dict[str, Range] | None) -> None:
        super().__init__(plain_encoder(model), "", ranges)
        self.heads = {
            name: value.float().numpy()
            for name, value in model.state_dict().items()
            if not name.startswith("encoder.")
        }

    def ints(self, *values: int) -> str:
        """A constant of whole numbers, one a set of values."""
        name = "int." + ".".join(map(str, values))
        if all(constant.name != name for constant in self.graph.constants):
            self.graph.constant(np.array(values, np.int64), name)
        return name

    def linear(self, x: str, name: str, weight: np.ndarray, bias: np.ndarray | None) -> str:
        """x @ weight.T + bias."""
        small = name in (self.ranges or {})
        found = self.product(self.activation(x, name), name, weight, small)
        if bias is None:
            return found
        return self.graph.add("Add", found, self.graph.constant(bias, f"{name}.bias"))

    def project(self, x: str, part: str) -> str:
        """GLiNER's projection of two layers."""
        heads = self.heads
        inner = self.linear(x, f"{part}.0", heads[f"{part}.0.weight"], heads[f"{part}.0.bias"])
        inner = self.graph.add("Relu", inner)
        return self.linear(inner, f"{part}.3", heads[f"{part}.3.weight"], heads[f"{part}.3.bias"])

    def encoder(self) -> str:
        """Hidden states of every token."""
        graph, weights = self.graph, self.weights
        length = graph.add("Shape", "input_ids", start=1, end=2)
        places = graph.constant(weights["places.weight"], "places")
        places = graph.add("Slice", places, self.ints(0), length, self.ints(0), self.ints(1))
        x = graph.add("Add", self.lookup("input_ids"), places)
        scale = graph.constant(weights["norm.weight"], "norm.weight")
        bias = graph.constant(weights["norm.bias"], "norm.bias")
        x = graph.add("LayerNormalization", x, scale, bias, epsilon=self.model.norm.eps, axis=-1)
        mask = graph.add("Cast", "attention_mask", to=TensorProto.INT32)
        for i in range(len(self.model.layers)):
            x = self.layer(x, i, mask)
        return x

    def rows_of(self, x: str, numbers: str, count: str) -> str:
        """Of hidden states those that `numbers` counts from 1 on; (batch, count, hidden)."""
        graph = self.graph
        rows = graph.add("Shape", "input_ids", start=0, end=1)
        length = graph.add("Shape", "input_ids", start=1, end=2)
        room = graph.add("Concat", rows, graph.add("Add", count, self.ints(1)), axis=0)
        empty = graph.add(
            "ConstantOfShape", room, value=helper.make_tensor("zero", TensorProto.INT64, [1], [0])
        )
        zero, one = self.scalar(0), self.scalar(1)
        end = graph.add("Squeeze", length, self.ints(0))
        along = graph.add("Unsqueeze", graph.add("Range", zero, end, one), self.ints(0))
        along = graph.add("Expand", along, graph.add("Shape", "input_ids"))
        # Tokens that count nothing write to place 0, which is cut off again.
        places = graph.add("ScatterElements", empty, numbers, along, axis=1)
        places = graph.add("Slice", places, self.ints(1), self.ints(2**31), self.ints(1))
        row = graph.add("Range", zero, graph.add("Squeeze", rows, self.ints(0)), one)
        first = graph.add("Unsqueeze", graph.add("Mul", row, end), self.ints(1))
        hidden = self.weights["norm.bias"].shape[0]
        flat = graph.add("Reshape", x, self.ints(-1, hidden))
        return graph.add("Gather", flat, graph.add("Add", places, first), axis=0)

    def scalar(self, value: int) -> str:
        """A constant that is one whole number."""
        name = f"scalar.{value}"
        if all(constant.name != name for constant in self.graph.constants):
            self.graph.constant(np.array(value, np.int64), name)
        return name

    def write_model(self, path: Path) -> None:
        """Write the file."""
        graph, heads = self.graph, self.heads
        x = self.encoder()
        count = graph.add("ReduceMax", "text_lengths", keepdims=0)
        words = self.rows_of(x, "words_mask", graph.add("Reshape", count, self.ints(1)))
        mark = graph.add("Cast", graph.add("Equal", "input_ids", self.scalar(ENT)), to=7)
        mark = graph.add("Mul", mark, "attention_mask")
        numbers = graph.add("Mul", graph.add("CumSum", mark, self.scalar(1)), mark)
        most = graph.add("Reshape", graph.add("ReduceMax", numbers, keepdims=0), self.ints(1))
        labels = self.project(self.rows_of(x, numbers, most), "label")
        size = heads["out.0.weight"].shape[1] // 2
        first, last = heads["out.0.weight"], heads["out.3.weight"]
        starts = graph.add("Relu", self.project(words, "start"))
        starts = self.linear(starts, "out.start", first[:, :size], heads["out.0.bias"])
        ends = graph.add("Relu", self.project(words, "end"))
        ends = self.linear(ends, "out.end", first[:, size:], None)
        # (batch, inner, labels), and what the bias of the last layer adds to each label
        weights = self.product(labels, "out.last", last.T, self.ranges is not None)
        weights = graph.add("Transpose", weights, perm=[0, 2, 1])
        bias = graph.constant(heads["out.3.bias"][:, None], "out.last.bias")
        constant = graph.add("Transpose", graph.add("MatMul", labels, bias), perm=[0, 2, 1])
        parts = []
        for width in range(WIDTH):
            moved = ends
            if width:
                padded = graph.add("Pad", ends, self.ints(0, 0, 0, 0, width, 0))
                moved = graph.add("Slice", padded, self.ints(width), self.ints(2**31), self.ints(1))
            spans = graph.add("Relu", graph.add("Add", starts, moved))
            scores = graph.add("Add", graph.add("MatMul", spans, weights), constant)
            parts.append(graph.add("Unsqueeze", scores, self.ints(2)))
        graph.nodes.append(helper.make_node("Concat", parts, ["logits"], name="logits", axis=2))
        text = ["batch_size", "sequence_length"]
        shapes: dict[str, tuple[int, list[str | int]]] = {
            "input_ids": (TensorProto.INT64, text),
            "attention_mask": (TensorProto.INT64, text),
            "words_mask": (TensorProto.INT64, text),
            "text_lengths": (TensorProto.INT64, ["batch_size", 1]),
            "span_idx": (TensorProto.INT64, ["batch_size", "num_spans", 2]),
            "span_mask": (TensorProto.BOOL, ["batch_size", "num_spans"]),
        }
        made = helper.make_model(
            helper.make_graph(
                graph.nodes,
                "any_labels",
                [helper.make_tensor_value_info(name, *shape) for name, shape in shapes.items()],
                [
                    helper.make_tensor_value_info(
                        "logits", TensorProto.FLOAT, ["batch_size", "num_words", WIDTH, "labels"]
                    )
                ],
                graph.constants,
            ),
            opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)],
            ir_version=8,
            producer_name="medspan",
        )
        onnx.save(made, path)


def write_folder(folder: Path, model: SpanModel, ranges: dict[str, Range] | None) -> None:
    """model.onnx, gliner_config.json and the tokenizer's files."""
    folder.mkdir(parents=True, exist_ok=True)
    SpanWriter(model, ranges).write_model(folder / "model.onnx")
    encoder = json.loads((BASE / "config.json").read_text())
    keep = ("model_type", "hidden_size", "intermediate_size", "num_attention_heads")
    keep += ("num_hidden_layers", "max_position_embeddings", "hidden_act", "layer_norm_eps")
    config = {
        "model_type": "gliner_uni_encoder_span",
        "model_name": "sentence-transformers/all-MiniLM-L6-v2",
        "name": "any-labels",
        "span_mode": "markerV0",
        "max_width": WIDTH,
        "max_len": 384,
        "max_types": 25,
        "hidden_size": encoder["hidden_size"],
        "num_rnn_layers": 0,
        "subtoken_pooling": "first",
        "words_splitter_type": "whitespace",
        "embed_ent_token": True,
        "ent_token": "<<ENT>>",
        "sep_token": "<<SEP>>",
        "class_token_index": ENT,
        "vocab_size": ENT + 2,
        "encoder_config": {key: encoder[key] for key in keep} | {"vocab_size": ENT + 2},
    }
    (folder / "gliner_config.json").write_text(json.dumps(config, indent=2) + "\n")
    tokens = tokenizer()
    tokens.add_special_tokens(["<<ENT>>", "<<SEP>>"])
    tokens.save(str(folder / "tokenizer.json"), pretty=False)
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        shutil.copyfile(BASE / name, folder / name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="checkpoint.pt of train.py")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder with notes.jsonl")
    parser.add_argument("--float32", action="store_true", help="quantise nothing")
    given = parser.parse_args()
    model = start_model(BASE, None).eval()
    model.load_state_dict(torch.load(given.checkpoint, weights_only=False)["model"])
    ranges = None
    if not given.float32:
        pieces = Pieces(tokenizer())
        corpora = training(given.data, given.work, pieces, CALIBRATED_ON)
        sampler = Sampler(corpora, names(), pieces, random.Random(1))
        ranges = calibrate(model, [sampler.draw() for _ in range(CALIBRATION)])
    write_folder(given.folder, model, ranges)
    print(given.folder, (given.folder / "model.onnx").stat().st_size)


if __name__ == "__main__":
    main()
