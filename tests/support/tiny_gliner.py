"""Tiny GLiNER models made in the test session: real graphs with the inputs of GLiNER's exporter.

A word's vector is its first piece's embedding, a label's the sum of its pieces'; a span's score
for a label is 10 x the mean over its first and last word of their product - 5, and a little more
for each further word and for what stands elsewhere in the sequence.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tokenizers
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from support.tiny_onnx import word_level

LABEL, TEXT = "<<ENT>>", "<<SEP>>"
WIDTH = 4


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def __call__(self, kind: str, *inputs: str | NDArray[Any], **fields: Any) -> str:
        names = [one if isinstance(one, str) else self._constant(one) for one in inputs]
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, names, [name], **fields))
        return name

    def _constant(self, value: NDArray[Any]) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name


def _int(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


def _float(value: float) -> NDArray[np.float32]:
    return np.array(value, np.float32)


def model(
    tokenizer: tokenizers.Tokenizer,
    meanings: Mapping[str, Sequence[float]],
    *,
    token_level: bool = False,
    two_encoders: bool = False,
    sees_padding: bool = False,
) -> onnx.ModelProto:
    """A graph in which the pieces named in ``meanings`` have these vectors, others zeros.

    ``sees_padding``: scores depend on how many words the longest row of a batch has.
    """
    width = len(next(iter(meanings.values())))
    table = np.zeros((tokenizer.get_vocab_size(), width), np.float32)
    for piece, vector in meanings.items():
        index = tokenizer.token_to_id(piece)
        assert index is not None, piece
        table[index] = vector
    add = _Graph()
    vectors = add("Gather", table, "input_ids", axis=0)
    longest = add("ReduceMax", "text_lengths", keepdims=0)
    numbers = add("Range", _int(1)[0], add("Add", longest, _int(1)[0]), _int(1)[0])
    marked = add("Unsqueeze", "words_mask", _int(1))
    picks = add("Equal", marked, add("Unsqueeze", numbers, _int(0, 2)))
    words = add("MatMul", add("Cast", picks, to=TensorProto.FLOAT), vectors)
    labels = _bi_labels(add, table) if two_encoders else _prompt_labels(add, vectors, tokenizer)
    if two_encoders:
        labels = add("Unsqueeze", labels, _int(0))
    # What the whole sequence holds counts a little, so that masks and windows matter.
    mask = add("Unsqueeze", add("Cast", "attention_mask", to=TensorProto.FLOAT), _int(2))
    all_ = add("ReduceSum", add("Mul", vectors, mask), _int(1), keepdims=1)
    words = add("Add", words, add("Mul", all_, _float(0.001)))
    if sees_padding:
        more = add("Mul", add("Cast", longest, to=TensorProto.FLOAT), _float(0.01))
        words = add("Add", words, more)
    flipped = add("Transpose", labels, perm=[0, 2, 1])
    alike = add("MatMul", words, flipped)
    if token_level:
        score = add("Sub", add("Mul", alike, _float(10)), _float(5))
        score = add("Unsqueeze", score, _int(3))
        add.nodes.append(helper.make_node("Concat", [score] * 3, ["logits"], axis=3))
    else:
        # The score of the word that is k further on: rows moved up, zeros behind the last.
        parts = []
        for further in range(WIDTH):
            padded = add("Pad", alike, _int(0, 0, 0, 0, further, 0))
            last = add("Slice", padded, _int(further), _int(2**31), _int(1))
            mean = add("Mul", add("Add", alike, last), _float(5))
            bonus = _float(0.01 * further - 5)
            parts.append(add("Unsqueeze", add("Add", mean, bonus), _int(2)))
        joined = add("Concat", *parts, axis=2)
        # Spans and their mask are inputs of such graphs: here they change nothing.
        spans = add("Cast", "span_idx", to=TensorProto.FLOAT)
        nothing = add("Mul", add("ReduceSum", spans, keepdims=0), _float(0))
        valid = add("ReduceSum", add("Cast", "span_mask", to=TensorProto.FLOAT), keepdims=0)
        nothing = add("Add", nothing, add("Mul", valid, _float(0)))
        add.nodes.append(helper.make_node("Add", [joined, nothing], ["logits"]))
    return _finish(add, token_level, two_encoders)


def _prompt_labels(add: _Graph, vectors: str, tokenizer: tokenizers.Tokenizer) -> str:
    mark, text = tokenizer.token_to_id(LABEL), tokenizer.token_to_id(TEXT)
    assert mark is not None
    assert text is not None
    is_mark = add("Cast", add("Equal", "input_ids", _int(mark)), to=TensorProto.INT64)
    is_text = add("Cast", add("Equal", "input_ids", _int(text)), to=TensorProto.INT64)
    number = add("CumSum", is_mark, _int(1))
    in_text = add("CumSum", is_text, _int(1))
    before_text = add("Equal", in_text, _int(0))
    most = add("ReduceMax", number, keepdims=0)
    numbers = add("Range", _int(1)[0], add("Add", most, _int(1)[0]), _int(1)[0])
    of_label = add(
        "Equal", add("Unsqueeze", number, _int(1)), add("Unsqueeze", numbers, _int(0, 2))
    )
    of_label = add("And", of_label, add("Unsqueeze", before_text, _int(1)))
    return add("MatMul", add("Cast", of_label, to=TensorProto.FLOAT), vectors)


def _bi_labels(add: _Graph, table: NDArray[np.float32]) -> str:
    vectors = add("Gather", table, "labels_input_ids", axis=0)
    mask = add("Cast", "labels_attention_mask", to=TensorProto.FLOAT)
    return add(
        "ReduceSum", add("Mul", vectors, add("Unsqueeze", mask, _int(2))), _int(1), keepdims=0
    )


def _finish(add: _Graph, token_level: bool, two_encoders: bool) -> onnx.ModelProto:
    inputs: dict[str, tuple[int, list[str | int]]] = {
        "input_ids": (TensorProto.INT64, ["batch", "length"]),
        "attention_mask": (TensorProto.INT64, ["batch", "length"]),
        "words_mask": (TensorProto.INT64, ["batch", "length"]),
        "text_lengths": (TensorProto.INT64, ["batch", 1]),
    }
    if not token_level:
        inputs["span_idx"] = (TensorProto.INT64, ["batch", "spans", 2])
        inputs["span_mask"] = (TensorProto.BOOL, ["batch", "spans"])
    if two_encoders:
        for name in ("labels_input_ids", "labels_attention_mask"):
            inputs[name] = (TensorProto.INT64, ["labels", "label_length"])
    graph = helper.make_graph(
        add.nodes,
        "tiny_gliner",
        [helper.make_tensor_value_info(name, *kind) for name, kind in inputs.items()],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [None] * 4)],
        add.constants,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    return made


def tokenizer(words: Sequence[str]) -> tokenizers.Tokenizer:
    """BERT's pieces, given, and the two marks of GLiNER."""
    made = word_level(words)
    made.add_special_tokens([LABEL, TEXT])
    return made


def save(
    folder: Path,
    made: onnx.ModelProto,
    tokens: tokenizers.Tokenizer,
    name: str = "model.onnx",
    **config: Any,
) -> Path:
    """Write a folder as GLiNER's exporter does; ``config`` goes into gliner_config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(made, str(folder / name))
    tokens.save(str(folder / "tokenizer.json"))
    content = {
        "model_type": "gliner_uni_encoder_span",
        "span_mode": "markerV0",
        "max_width": WIDTH,
        "max_len": 384,
        "ent_token": LABEL,
        "sep_token": TEXT,
        "class_token_index": tokens.token_to_id(LABEL),
        "words_splitter_type": "whitespace",
        "subtoken_pooling": "first",
        "encoder_config": {"max_position_embeddings": 512, "model_type": "bert"},
        **config,
    }
    (folder / "gliner_config.json").write_text(json.dumps(content))
    return folder
