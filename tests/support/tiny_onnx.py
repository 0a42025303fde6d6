"""Tiny token classifiers made in the test session: real files in the layout that optimum writes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tokenizers
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

CORPUS = (
    "In this randomised trial, 120 patients with type 2 diabetes received metformin 500 mg daily "
    "or placebo for 12 weeks; mean age 61.5 (SD 6.7) years, BMI 30.7 kg/m(2), P < 0.001.",
    "Bệnh nhân nam 65 tuổi, tiền sử tăng huyết áp, đau ngực trái lan ra vai; điện tâm đồ bình "
    "thường, được điều trị bằng aspirin và clopidogrel.",
    "患者は糖尿病と高血圧の既往がある。 naïve café coöperation Ménière Sjögren",
    "insulin glargine vs NPH insulin, two-arm, open-label, parallel-group; Heart failure (HF).",
)
BIO = ("O", "B-Drug", "I-Drug", "B-Age", "I-Age")


def wordpiece(lower: bool = True) -> tokenizers.Tokenizer:
    """BERT's family."""
    made = tokenizers.Tokenizer(models.WordPiece({"[UNK]": 0}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=lower)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    made.train_from_iterator(
        CORPUS, trainers.WordPieceTrainer(vocab_size=250, special_tokens=special)
    )
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return made


def byte_level() -> tokenizers.Tokenizer:
    """RoBERTa's family."""
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    made.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=False, add_prefix_space=False
    )
    return made


def metaspace() -> tokenizers.Tokenizer:
    """XLM-R's and DeBERTa's family."""
    made = tokenizers.Tokenizer(models.Unigram())
    made.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("  ", " ")])
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.train_from_iterator(
        CORPUS,
        trainers.UnigramTrainer(
            vocab_size=250, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], unk_token="<unk>"
        ),
    )
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return made


FAMILIES = {"wordpiece": wordpiece, "byte_level": byte_level, "metaspace": metaspace}


def by_token(logits: NDArray[Any], **shape: Any) -> onnx.ModelProto:
    """A model with logits that depend on the token alone: row ``id`` of ``logits``."""
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["logits"], axis=0)]
    return _model(nodes, {"table": logits}, logits.shape[1], **shape)


def attention(size: int, labels: int, seed: int = 0) -> onnx.ModelProto:
    """One masked attention layer: logits follow from all tokens of the window."""
    rng = np.random.default_rng(seed)
    width = 32
    weights: dict[str, NDArray[Any]] = {
        "table": rng.normal(size=(size, width)).astype(np.float32),
        "query": rng.normal(size=(width, width)).astype(np.float32) / 6,
        "value": rng.normal(size=(width, width)).astype(np.float32) / 3,
        "head": rng.normal(size=(width, labels)).astype(np.float32),
        "one": np.array(1, np.float32),
        "never": np.array(-1e9, np.float32),
        "axis": np.array([1], np.int64),
    }
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["x"], axis=0),
        helper.make_node("MatMul", ["x", "query"], ["q"]),
        helper.make_node("Transpose", ["x"], ["xt"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q", "xt"], ["raw"]),
        helper.make_node("Cast", ["attention_mask"], ["m"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["one", "m"], ["padding"]),
        helper.make_node("Mul", ["padding", "never"], ["far"]),
        helper.make_node("Unsqueeze", ["far", "axis"], ["bias"]),
        helper.make_node("Add", ["raw", "bias"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["weights"], axis=-1),
        helper.make_node("MatMul", ["x", "value"], ["v"]),
        helper.make_node("MatMul", ["weights", "v"], ["seen"]),
        helper.make_node("Add", ["seen", "x"], ["y"]),
        helper.make_node("MatMul", ["y", "head"], ["logits"]),
    ]
    return _model(nodes, weights, labels, inputs=("input_ids", "attention_mask"))


def mixing(size: int, labels: int, seed: int = 0) -> onnx.ModelProto:
    """A model that is not told what is padding, as exports of FNet: each token's logits follow from
    the mean of all tokens, too."""
    rng = np.random.default_rng(seed)
    weights: dict[str, NDArray[Any]] = {
        "table": rng.normal(size=(size, 16)).astype(np.float32),
        "head": rng.normal(size=(16, labels)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["x"], axis=0),
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Add", ["x", "mean"], ["y"]),
        helper.make_node("MatMul", ["y", "head"], ["logits"]),
    ]
    return _model(nodes, weights, labels, inputs=("input_ids",))


def positioned(logits: NDArray[Any], positions: int, offset: int) -> onnx.ModelProto:
    """Like ``by_token``, plus a table of ``positions`` that begins at ``offset``. A longer text
    fails, because the table lacks its rows."""
    weights: dict[str, NDArray[Any]] = {
        "table": logits,
        "places": np.zeros((positions, logits.shape[1]), np.float32),
        "axis": np.array(1, np.int64),
        "before": np.array(offset - 1, np.int64),
    }
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["x"], axis=0),
        helper.make_node("CumSum", ["attention_mask", "axis"], ["count"]),
        helper.make_node("Add", ["count", "before"], ["at"]),
        helper.make_node("Gather", ["places", "at"], ["p"], axis=0),
        helper.make_node("Add", ["x", "p"], ["logits"]),
    ]
    return _model(nodes, weights, logits.shape[1], inputs=("input_ids", "attention_mask"))


def _model(
    nodes: Sequence[onnx.NodeProto],
    weights: dict[str, NDArray[Any]],
    labels: int,
    inputs: Sequence[str] = ("input_ids", "attention_mask", "token_type_ids"),
    rows: int | str = "batch",
    length: int | str = "sequence",
    kind: int = TensorProto.INT64,
    name: str = "logits",
    output: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    nodes = list(nodes)
    if name != "logits":
        nodes.append(helper.make_node("Identity", ["logits"], [name]))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(i, kind, [rows, length]) for i in inputs],
        [helper.make_tensor_value_info(name, output, [rows, length, labels])],
        [numpy_helper.from_array(value, key) for key, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def save(
    folder: Path,
    model: onnx.ModelProto,
    tokenizer: tokenizers.Tokenizer,
    labels: Sequence[str] = BIO,
    **config: Any,
) -> Path:
    """Write a model folder; ``config`` goes into config.json. Returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(folder / "model.onnx"))
    tokenizer.save(str(folder / "tokenizer.json"))
    pad = tokenizer.token_to_id("[PAD]")
    content = {
        "model_type": "bert",
        "id2label": {str(index): name for index, name in enumerate(labels)},
        "max_position_embeddings": 64,
        "pad_token_id": tokenizer.token_to_id("<pad>") if pad is None else pad,
        **config,
    }
    (folder / "config.json").write_text(json.dumps(content))
    return folder


def random_table(
    tokenizer: tokenizers.Tokenizer, labels: int, seed: int = 0
) -> NDArray[np.float32]:
    """Logits for ``by_token``: every token of the vocabulary has a clear random label."""
    rng = np.random.default_rng(seed)
    shape = (tokenizer.get_vocab_size(), labels)
    return (3 * rng.normal(size=shape)).astype(np.float32)


def labelled(
    tokenizer: tokenizers.Tokenizer, labels: Sequence[str], words: dict[str, str]
) -> NDArray[np.float32]:
    """Logits for ``by_token`` that give the tokens in ``words`` their labels and O to the rest."""
    table = np.zeros((tokenizer.get_vocab_size(), len(labels)), np.float32)
    table[:, labels.index("O") if "O" in labels else 0] = 6
    for token, label in words.items():
        index = tokenizer.token_to_id(token)
        assert index is not None, token
        table[index] = 0
        table[index, labels.index(label)] = 8
    return table


def word_level(words: Sequence[str]) -> tokenizers.Tokenizer:
    """BERT's pieces, given: ``##`` continues a word."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words]
    vocabulary = {name: index for index, name in enumerate(names)}
    made = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return made
