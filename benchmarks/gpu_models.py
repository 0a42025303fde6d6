"""Models for checks on a GPU, written on the spot: their weights are zeros or noise, which cost
what any weights cost. A BERT in half or full precision as an ONNX folder, and GGUF models of true
shapes with a vocabulary, as holes behind a header."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

from actors.config.load import STARTERS

ROOT = Path(__file__).resolve().parent.parent
STARTER = STARTERS / "token-classifier"
sys.path.insert(0, str(ROOT / "tests"))  # where files of any shape are written


def onnx_folder(folder: Path, half: bool, layers: int) -> Path:
    """A model folder as optimum exports one: the starter's tokenizer and labels, a BERT of its
    widths with random weights."""
    import onnx

    folder.mkdir(parents=True)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        if (STARTER / name).exists():
            shutil.copy(STARTER / name, folder / name)
    config = json.loads((STARTER / "config.json").read_text())
    onnx.save(_bert(config, half, layers), str(folder / "model.onnx"))
    return folder


def _bert(config: dict[str, Any], half: bool, layers: int) -> Any:
    from onnx import TensorProto, helper, numpy_helper

    width, heads = config["hidden_size"], config["num_attention_heads"]
    feed, labels = config["intermediate_size"], len(config["id2label"])
    kind, proto = (np.float16, TensorProto.FLOAT16) if half else (np.float32, TensorProto.FLOAT)
    draw = np.random.default_rng(0)
    weights: dict[str, Any] = {
        "heads": np.array([0, 0, heads, width // heads], np.int64),
        "flat": np.array([0, 0, width], np.int64),
        "axes": np.array([1, 2], np.int64),
        "one": np.array(1, kind),
        "never": np.array(-1e4, kind),
        "root": np.array((width // heads) ** -0.5, kind),
        "words": draw.normal(0, 0.02, (config["vocab_size"], width)).astype(kind),
    }
    nodes: list[Any] = []

    def op(name: str, *reads: str, **more: Any) -> str:
        made = f"t{len(nodes)}"
        nodes.append(helper.make_node(name, list(reads), [made], **more))
        return made

    def linear(at: str, out: int, into: int) -> str:
        tag = f"w{len(weights)}"
        weights[tag] = draw.normal(0, 0.02, (into, out)).astype(kind)
        weights[tag + "b"] = np.zeros(out, kind)
        return op("Add", op("MatMul", at, tag), tag + "b")

    def norm(at: str) -> str:
        tag = f"n{len(weights)}"
        weights[tag], weights[tag + "b"] = np.ones(width, kind), np.zeros(width, kind)
        return op("LayerNormalization", at, tag, tag + "b", axis=-1, epsilon=1e-5)

    mask = op("Unsqueeze", op("Cast", "attention_mask", to=proto), "axes")
    mask = op("Mul", op("Sub", "one", mask), "never")
    at = norm(op("Gather", "words", "input_ids"))
    for _ in range(layers):
        parts = [op("Reshape", linear(at, width, width), "heads") for _ in range(3)]
        query, value = (op("Transpose", parts[i], perm=[0, 2, 1, 3]) for i in (0, 2))
        key = op("Transpose", parts[1], perm=[0, 2, 3, 1])
        scores = op("Add", op("Mul", op("MatMul", query, key), "root"), mask)
        seen = op("MatMul", op("Softmax", scores, axis=-1), value)
        seen = op("Reshape", op("Transpose", seen, perm=[0, 2, 1, 3]), "flat")
        at = norm(op("Add", at, linear(seen, width, width)))
        at = norm(op("Add", at, linear(op("Gelu", linear(at, feed, width)), width, feed)))
    nodes.append(
        helper.make_node("Cast", [linear(at, labels, width)], ["logits"], to=TensorProto.FLOAT)
    )
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["rows", "length"])
        for name in ("input_ids", "attention_mask")
    ]
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows", "length", labels])
    held = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "bert", inputs, [output], held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def gguf_model(path: Path, size: str) -> Path:
    """A qwen2 of a size (tiny, 1.5B, 7B) in Q8_0 that can tokenise and be served."""
    from support.memory_models import Kind, Shape, write

    shapes = {
        "tiny": Shape("qwen2", 128, 4, 4, 2, 32, 384, 3000, Kind.Q8_0),
        "1.5B": Shape("qwen2", 1536, 28, 12, 2, 128, 8960, 151936, Kind.Q8_0, tied=True),
        "7B": Shape("qwen2", 3584, 28, 28, 4, 128, 18944, 152064, Kind.Q8_0),
    }
    return write(path, shapes[size], spoken=True)
