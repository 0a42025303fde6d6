"""A sequence classifier over a marked entity, in place of the rules of status."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import tokenizers
import yaml
from onnx import TensorProto, helper, numpy_helper
from support import tiny_onnx
from support.marked import attributes, marked

from actors.assertion import AssertionModel
from actors.config import ConfigError
from actors.config.context import AssertionClassifier, Context
from actors.context import ContextStage
from actors.model_folder import ModelFileError
from actors.spans import Annotations, spanning
from pipelines.config import load_pipeline
from pipelines.refine import refiner
from pipelines.runs.identity import pipeline_fingerprint

WORDS = ["pneumonia", "fever", "denies", "maybe", "mother", "had", "he", "has", ".", "[", "]", "/"]
WORDS += ["entity", "and", "cough"]
LABELS = ("PRESENT", "ABSENT", "POSSIBLE")


def classifier(folder: Path, labels: tuple[str, ...] = LABELS, marks: bool = True) -> Path:
    """A model that says ABSENT where "denies" comes before the second mark, POSSIBLE where "maybe"
    does, and PRESENT otherwise: so what it says follows from the marks, too."""
    tokenizer = tiny_onnx.word_level(WORDS)
    if marks:
        tokenizer.add_special_tokens(["[entity]"])
    size = tokenizer.get_vocab_size()
    table = np.zeros((size, len(labels)), np.float32)
    table[tokenizer.token_to_id("denies"), 1] = 4
    table[tokenizer.token_to_id("maybe"), 2] = 4
    mark = np.zeros((size, 1), np.float32)
    if marks:
        mark[tokenizer.token_to_id("[entity]")] = 1
    constants = {
        "table": table,
        "mark": mark,
        "two": np.array(1.5, np.float32),
        "axis": np.array(1, np.int64),
        "bias": np.array([2, *[0] * (len(labels) - 1)], np.float32),
    }
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["x"], axis=0),
        helper.make_node("Gather", ["mark", "input_ids"], ["m"], axis=0),
        helper.make_node("CumSum", ["m", "axis"], ["count"]),
        helper.make_node("Less", ["count", "two"], ["ahead"]),
        helper.make_node("Cast", ["ahead"], ["weight"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["x", "weight"], ["seen"]),
        helper.make_node("ReduceMax", ["seen"], ["best"], axes=[1], keepdims=0),
        helper.make_node("Add", ["best", "bias"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(labels)])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    tiny_onnx.save(folder, model, tokenizer, labels)
    return folder


def settings(folder: Path, **more: Any) -> AssertionClassifier:
    return AssertionClassifier.model_validate({"weights": {"model": str(folder)}, **more})


def statuses(stage: ContextStage, source: str) -> list[set[str]]:
    text, annotations, gold = marked(source)
    found = [
        attributes(e.assertion) for e in stage.refine(text, annotations).entities if e.assertion
    ]
    assert found == gold
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return classifier(tmp_path_factory.mktemp("assertion"))


def stage_of(folder: Path, **more: Any) -> ContextStage:
    config = settings(folder, **more)
    return ContextStage(Context(languages=("en",), classifier=config), AssertionModel(config))


def test_the_model_decides_and_rules_do_the_rest(folder: Path) -> None:
    stage = stage_of(folder)
    # The rules know no "maybe" and would not stop "denies" at the entity's end.
    statuses(stage, "He has <cough> and denies <fever:negated>.")
    statuses(stage, "He maybe has <pneumonia:uncertain>.")
    # "No" is a cue of the rules. They no longer decide the status, only the experiencer.
    statuses(stage, "No <fever>. His mother had <pneumonia:family>.")


def test_each_status_names_the_model_as_its_cue(folder: Path) -> None:
    text, annotations, _ = marked("He denies <fever>.")
    (entity,) = stage_of(folder).refine(text, annotations).entities
    assert entity.assertion is not None
    (cue,) = entity.assertion.cues
    assert (cue.attribute, cue.rule) == ("negated", "classifier.ABSENT")
    assert text[cue.start : cue.end] == "fever"


def test_neighbours_and_batches_change_nothing(folder: Path) -> None:
    source = "He denies <fever:negated> and <cough:negated>. He has <pneumonia>. " * 20
    statuses(stage_of(folder, batch_tokens=64), source)
    statuses(stage_of(folder), source)


def test_a_long_sentence_is_cut_around_its_entity(folder: Path) -> None:
    far, near = "denies " + "and " * 200, "and " * 20 + "denies "
    text = f"{far}fever {near}cough " + "and " * 100
    starts = [text.index("fever"), text.index("cough")]
    given = tuple(spanning(text, start, start + 5, "X") for start in starts)
    refined = stage_of(folder).refine(text, Annotations(given)).entities
    assert [e.assertion.negated for e in refined if e.assertion] == [False, True]


def test_a_note_cannot_mark_anything(folder: Path) -> None:
    """The marks are tokens of their own: their text in a note is five characters and brackets."""
    text = "denies [entity] fever [entity] and cough"
    (entity,) = (
        stage_of(folder)
        .refine(text, Annotations((spanning(text, text.index("cough"), len(text), "X"),)))
        .entities
    )
    assert entity.assertion is not None
    assert entity.assertion.negated


PIECES = [
    *["in", "this", "trial", ",", "120", "patients", "received", "met", "##formin", "."],
    *["heart", "failure", "(", "hf", ")", "with", "naive", "diabetes"],
    *["bmi", "30", "7", "kg", "/", "m", "2", "or", "place", "##bo", "?"],
]


def published(folder: Path) -> Path:
    """A BERT as optimum exports one: three inputs, attention over what is no padding, and a
    classifier of the first token."""
    tokenizer = tiny_onnx.word_level(PIECES)
    tokenizer.add_special_tokens(["[entity]"])
    rng = np.random.default_rng(1)
    shapes = {
        "words": (tokenizer.get_vocab_size(), 24),
        "places": (64, 24),
        "types": (2, 24),
        "query": (24, 24),
        "value": (24, 24),
        "pooler": (24, 24),
        "classifier": (24, 3),
    }
    constants = {name: rng.normal(size=s).astype(np.float32) / 3 for name, s in shapes.items()}
    constants |= {
        "never": np.array(-1e4, np.float32),
        "one": np.array(1, np.float32),
        "step": np.array(1, np.int64),
        "row": np.array([1], np.int64),
        "first": np.array(0, np.int64),
    }
    nodes = [
        helper.make_node("Gather", ["words", "input_ids"], ["w"], axis=0),
        helper.make_node("CumSum", ["attention_mask", "step"], ["count"]),
        helper.make_node("Sub", ["count", "step"], ["at"]),
        helper.make_node("Gather", ["places", "at"], ["p"], axis=0),
        helper.make_node("Gather", ["types", "token_type_ids"], ["t"], axis=0),
        helper.make_node("Sum", ["w", "p", "t"], ["x"]),
        helper.make_node("MatMul", ["x", "query"], ["q"]),
        helper.make_node("Transpose", ["x"], ["k"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q", "k"], ["raw"]),
        helper.make_node("Cast", ["attention_mask"], ["m"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["one", "m"], ["padding"]),
        helper.make_node("Mul", ["padding", "never"], ["far"]),
        helper.make_node("Unsqueeze", ["far", "row"], ["bias"]),
        helper.make_node("Add", ["raw", "bias"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["weights"], axis=-1),
        helper.make_node("MatMul", ["x", "value"], ["v"]),
        helper.make_node("MatMul", ["weights", "v"], ["seen"]),
        helper.make_node("Gather", ["seen", "first"], ["cls"], axis=1),
        helper.make_node("MatMul", ["cls", "pooler"], ["dense"]),
        helper.make_node("Tanh", ["dense"], ["pooled"]),
        helper.make_node("MatMul", ["pooled", "classifier"], ["logits"]),
    ]
    names = ("input_ids", "attention_mask", "token_type_ids")
    graph = helper.make_graph(
        nodes,
        "bert",
        [helper.make_tensor_value_info(n, TensorProto.INT64, ["batch", "sequence"]) for n in names],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    tiny_onnx.save(
        folder, model, tokenizer, LABELS, architectures=["BertForSequenceClassification"]
    )
    return folder


def test_a_published_model_reads_the_marked_sentence_as_its_tokenizer_does(tmp_path: Path) -> None:
    """The labels are those of the model on ``[CLS] ... [entity] X [entity] ... [SEP]``."""
    folder = published(tmp_path)
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    session = onnxruntime.InferenceSession(
        str(folder / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    sentences = (
        "In this trial, 120 patients received metformin.",
        "Heart failure (HF) with naïve diabetes.",
        "BMI 30.7 kg/m(2) or placebo?",
    )
    text = "\n".join(sentences)
    given, expected, at = [], [], 0
    for sentence in sentences:
        for word in re.finditer(r"\w+", sentence):
            start, end = word.span()
            given.append(spanning(text, at + start, at + end, "X"))
            marked_up = f"{sentence[:start]} [entity] {word.group()} [entity] {sentence[end:]}"
            ids = np.array([tokenizer.encode(marked_up).ids], np.int64)
            feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
            (logits,) = session.run(None, feed | {"token_type_ids": np.zeros_like(ids)})
            expected.append(LABELS[int(logits.argmax())])
        at += len(sentence) + 1
    refined = stage_of(folder).refine(text, Annotations(tuple(given))).entities
    flags = {"PRESENT": set[str](), "ABSENT": {"negated"}, "POSSIBLE": {"uncertain"}}
    found = [attributes(e.assertion) & {"negated", "uncertain"} for e in refined if e.assertion]
    assert found == [flags[label] for label in expected]
    assert len(set(expected)) == len(LABELS)


def test_marks_that_are_no_tokens_are_text(tmp_path: Path) -> None:
    model = AssertionModel(settings(classifier(tmp_path, marks=False)))
    text, annotations, _ = marked("He denies <fever>.")
    config = Context(languages=("en",))
    (entity,) = ContextStage(config, model).refine(text, annotations).entities
    assert entity.assertion is not None
    assert entity.assertion.negated


def test_a_model_and_settings_that_do_not_fit_are_named(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ConfigError, match="the model has no label NEGATED; its labels are PRES"):
        AssertionModel(settings(folder, labels={"NEGATED": ["negated"]}))
    with pytest.raises(ConfigError, match="does not mention POSSIBLE"):
        AssertionModel(settings(folder, labels={"PRESENT": [], "ABSENT": ["negated"]}))
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        AssertionModel(settings(tmp_path / "none"))
    tokenizer = tiny_onnx.word_level(WORDS)
    table = tiny_onnx.random_table(tokenizer, 3)
    tokens = tiny_onnx.save(tmp_path / "ner", tiny_onnx.by_token(table), tokenizer, LABELS)
    with pytest.raises(ModelFileError, match="no sequence classifier"):
        AssertionModel(settings(tokens))


def test_a_pipeline_runs_it_and_its_weights_are_part_of_identity(
    tmp_path: Path, folder: Path
) -> None:
    classifier(tmp_path / "model")
    content = {
        "name": "p",
        "source": {"path": "notes"},
        "steps": [{"model": "starter:token-classifier"}],
        "context": {"languages": ["en"], "classifier": {"weights": {"model": "model"}}},
        "sink": {"path": "out"},
    }
    file = tmp_path / "p.yaml"
    file.write_text(yaml.safe_dump(content))
    loaded = load_pipeline(file)
    text, annotations, gold = marked("He has <cough> and denies <fever:negated>.")
    refined = refiner(loaded.stages)(text, annotations).entities
    assert [attributes(e.assertion) for e in refined if e.assertion] == gold
    before = pipeline_fingerprint(loaded)
    config = tmp_path / "model" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "more": 1}))
    assert pipeline_fingerprint(load_pipeline(file)) != before
