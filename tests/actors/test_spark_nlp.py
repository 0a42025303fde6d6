"""Imports of models in the layout that Spark NLP writes.

The fields in fixtures/spark_fields were written by a real Spark 3.5 (``saveAsObjectFile`` of
pairs), as Spark NLP does; metadata and engine files are made here.
"""

from __future__ import annotations

import io
import json
import shutil
import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from support import FIXTURES, tiny_onnx
from support.prompts import GUIDELINES

from actors import Document, load_extractor
from actors.config import load_model
from actors.config.gguf import GgufModel
from actors.guideline import Guideline
from actors.spark_nlp import SparkNlpError, import_model
from actors.spark_nlp.fields import UnreadableField, read_numbers
from actors.spark_nlp.java import NotJava, read_java

FIELDS = FIXTURES / "spark_fields"
LABELS = ["O", "B-Drug", "I-Drug", "PAD"]
LLM = "com.johnsnowlabs.nlp.llm.MedicalLLM"
BERT = "com.johnsnowlabs.nlp.annotators.classifier.dl.MedicalBertForTokenClassifier"
PUBLISHED = "jsl_meds_ner_2b_q8_v1_en_6.2.2_3.4_1767782168823"


def folder(path: Path, kind: str, given: dict[str, Any], defaults: dict[str, Any]) -> Path:
    (path / "metadata").mkdir(parents=True)
    content = {"class": kind, "uid": "x", "paramMap": given, "defaultParamMap": defaults}
    (path / "metadata" / "part-00000").write_text(json.dumps(content) + "\n")
    (path / "metadata" / "_SUCCESS").write_text("")
    return path


def language_model(path: Path, **given: Any) -> Path:
    made = folder(path, LLM, given, {"nCtx": 4096, "nPredict": 100, "engine": "llamacpp"})
    (made / "model.gguf").write_bytes(b"GGUF" + b"\3\0\0\0" * 8)
    return made


def classifier(path: Path, **given: Any) -> Path:
    """A classifier that knows "insulin" and "met ##formin" for drugs, its ONNX file in a zip."""
    made = folder(path, BERT, given, {"maxSentenceLength": 128, "caseSensitive": True})
    shutil.copytree(FIELDS, made / "fields")
    vocabulary = read_numbers(FIELDS / "vocabulary")
    table = np.zeros((len(vocabulary), len(LABELS)), np.float32)
    table[:, 0] = 6
    for word, label in {"insulin": 1, "met": 1, "##formin": 2}.items():
        table[vocabulary[word], label] = 12
    file = made.parent / "bert_classification_onnx"
    onnx.save(tiny_onnx.by_token(table), str(file))
    with zipfile.ZipFile(made / file.name, "w") as archive:
        archive.write(file, file.name)
    return made


def zipped(path: Path, name: str, inside: str = "") -> Path:
    archive = path.parent / f"{name}.zip"
    with zipfile.ZipFile(archive, "w") as out:
        for file in sorted(path.rglob("*")):
            if file.is_file():
                out.write(file, f"{inside}{file.relative_to(path)}")
    return archive


@pytest.mark.parametrize("inside", ["", "some_folder/"])
def test_a_language_model_keeps_its_parameters_under_llama_cpps_names(
    tmp_path: Path, inside: str
) -> None:
    saved = language_model(
        tmp_path / "saved",
        nPredict=3000,
        temperature=0.1,
        topK=40,
        useChatTemplate=True,
        seed=-1,
        grammar="root ::= x",
        inputCols=["document"],
    )
    source = zipped(saved, PUBLISHED, inside)
    guideline = GUIDELINES / "clinical-note.yaml"
    path = import_model(source, tmp_path / "models", guideline=guideline)
    assert path.name == "jsl_meds_ner_2b_q8_v1.yaml"
    model = load_model(path)
    assert isinstance(model, GgufModel)
    assert Path(model.weights.model).read_bytes() == (saved / "model.gguf").read_bytes()
    assert model.weights.sha256 is not None
    assert (model.sampling.n_predict, model.sampling.temperature) == (3000, 0.1)
    assert model.context.n_ctx == 4096
    assert model.prompt.format == "template"
    assert isinstance(model.prompt.guideline, Guideline)
    said = path.read_text()
    assert "Parameters without a counterpart, left out: grammar." in said
    assert "Parameters with invalid values, left out: seed." in said


def test_without_a_guideline_a_language_model_writes_prose(tmp_path: Path) -> None:
    source = language_model(tmp_path / "saved", useChatTemplate=False, systemPrompt="Be brief.")
    model = load_model(import_model(source, tmp_path / "models", name="mine"))
    assert isinstance(model, GgufModel)
    assert (model.name, model.prompt.format) == ("mine", "prose")
    assert (model.prompt.chat_template, model.prompt.system) == ("none", "Be brief.")
    # Spark NLP's default of 100 would cut extractions short, so only a set value is kept.
    assert model.sampling.n_predict == -1


def test_a_vision_model_brings_its_encoder(tmp_path: Path) -> None:
    saved = language_model(tmp_path / "saved", chatTemplate="vicuna", nPredict=-1)
    # The encoder is told by what it says it is, not by its name.
    header = b"GGUF\3\0\0\0" + b"\0" * 16
    kind = b"\x14\0\0\0\0\0\0\0general.architecture\x08\0\0\0\x04\0\0\0\0\0\0\0clip"
    (saved / "another.gguf").write_bytes(header + kind)
    path = import_model(saved, tmp_path / "models", name="vlm")
    model = load_model(path)
    assert isinstance(model, GgufModel)
    assert model.sees
    assert Path(model.weights.mmproj or "").read_bytes() == header + kind
    assert model.weights.mmproj_sha256 is not None
    assert model.prompt.chat_template == "vicuna"
    assert model.sampling.n_predict == -1


@pytest.mark.parametrize("as_zip", [True, False])
def test_a_token_classifier_runs_after_its_import(tmp_path: Path, as_zip: bool) -> None:
    source = classifier(tmp_path / "saved", maxSentenceLength=16)
    source = zipped(source, "bert_ner_onnx_en_6.1.1_3.0_1757551012509") if as_zip else source
    path = import_model(source, tmp_path / "models", name="bert_ner_onnx")
    content = yaml.safe_load(path.read_text())
    assert content["window"] == {"size": 16}
    with load_extractor(path) as extractor:
        text = "the insulin, the metformin of the Drug"
        (extraction,) = extractor.extract([Document(id="1", text=text)])
    found = [(entity.label, entity.text) for entity in extraction.entities]
    assert found == [("Drug", "insulin"), ("Drug", "metformin")]


@pytest.mark.parametrize("name", ["../../x", "/tmp/x", "a/b", "..", ".x", "", "a\nkind: onnx"])
def test_a_name_cannot_lead_out_of_the_folder(tmp_path: Path, name: str) -> None:
    before = language_model(tmp_path / "saved")
    there = sorted(tmp_path.rglob("*"))
    for source in (before, classifier(tmp_path / "other" / "bert")):
        with pytest.raises(SparkNlpError, match="invalid model name"):
            import_model(source, tmp_path / "a" / "b", name=name)
    there += [*(tmp_path / "other").rglob("*"), tmp_path / "other"]
    assert sorted(tmp_path.rglob("*")) == sorted(there)


def test_a_small_zip_cannot_fill_the_memory(tmp_path: Path) -> None:
    saved = language_model(tmp_path / "saved")
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(saved / "model.gguf", "model.gguf")
        archive.writestr("metadata/part-00000", b" " * (64 << 20))
    tracemalloc.start()
    with pytest.raises(SparkNlpError, match="its metadata is larger than 4 MiB"):
        import_model(bomb, tmp_path / "out")
    assert tracemalloc.get_traced_memory()[1] < 32 << 20
    tracemalloc.stop()


def test_a_field_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.spark_nlp.fields._MOST", 10)
    (tmp_path / "data.json").write_text('{"O": 0, "B-Drug": "1"}')
    with pytest.raises(UnreadableField, match="larger than"):
        read_numbers(tmp_path)


def test_names_from_the_package_stay_in_their_comment(tmp_path: Path) -> None:
    saved = language_model(tmp_path / "saved", **{"x\nprompt: {format: prose}\u2028y": 1})
    path = import_model(saved, tmp_path / "models", guideline=GUIDELINES / "clinical-note.yaml")
    model = load_model(path)
    assert isinstance(model, GgufModel)
    assert model.prompt.format == "template"


def test_parameters_of_the_wrong_kind_are_an_error_that_names_the_source(tmp_path: Path) -> None:
    source = classifier(tmp_path / "a", maxSentenceLength="many")
    with pytest.raises(SparkNlpError, match="maxSentenceLength is not a valid number"):
        import_model(source, tmp_path / "out")
    none = language_model(tmp_path / "b")
    (none / "metadata" / "part-00000").write_text('{"class": "x.MedicalLLM", "paramMap": [1]}')
    with pytest.raises(SparkNlpError, match="has no parameters"):
        import_model(none, tmp_path / "out")


def test_an_encrypted_file_is_named_with_a_way_out(tmp_path: Path) -> None:
    gguf = language_model(tmp_path / "gguf")
    (gguf / "model.gguf").write_bytes(b"\x8f\x11secret")
    bert = classifier(tmp_path / "bert")
    (bert / "bert_classification_onnx").write_bytes(b"\x8f\x11secret")
    fields = classifier(tmp_path / "fields")
    (fields / "fields" / "labels" / "part-00000").write_bytes(b"\x8f\x11secret")
    metadata = language_model(tmp_path / "metadata")
    (metadata / "metadata" / "part-00000").write_bytes(b"\x8f\x11secret")
    for source in (gguf, bert, fields, metadata):
        with pytest.raises(SparkNlpError, match="encrypted for a licence") as error:
            import_model(source, tmp_path / "out")
        assert "ask its publisher" in str(error.value)


def test_unimportable_source_is_named(tmp_path: Path) -> None:
    def refused(source: Path, message: str) -> None:
        with pytest.raises(SparkNlpError, match=message):
            import_model(source, tmp_path / "out")

    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "no metadata folder")
    (tmp_path / "text.zip").write_text("x")
    refused(tmp_path / "text.zip", "neither a folder nor a zip")
    pipeline = folder(tmp_path / "pipeline", "org.apache.spark.ml.PipelineModel", {}, {})
    (pipeline / "stages" / "0_Bert").mkdir(parents=True)
    refused(pipeline, "import one of stages/: 0_Bert")
    two = language_model(tmp_path / "two")
    (two / "other.gguf").write_bytes(b"GGUF")
    refused(two, "expected one weights file")
    refused(folder(tmp_path / "other", "x.Tokenizer", {}, {}), "a Tokenizer without vocabulary")
    with pytest.raises(FileNotFoundError, match="no such file"):
        import_model(tmp_path / "nothing.zip", tmp_path / "out")


def test_nothing_is_overwritten_and_classifiers_take_no_guideline(tmp_path: Path) -> None:
    source = language_model(tmp_path / "saved")
    import_model(source, tmp_path / "out")
    with pytest.raises(FileExistsError, match="already exists"):
        import_model(source, tmp_path / "out")
    with pytest.raises(SparkNlpError, match="its own labels"):
        import_model(classifier(tmp_path / "b"), tmp_path / "o", guideline=Path("g.yaml"))


def test_the_fields_that_spark_wrote_are_read() -> None:
    assert read_numbers(FIELDS / "labels") == {name: i for i, name in enumerate(LABELS)}
    vocabulary = read_numbers(FIELDS / "vocabulary")
    assert sorted(vocabulary.values()) == list(range(17))
    assert [word for word in vocabulary if not word.isascii()] == ["é", "日", "💊"]


def test_fields_of_newer_versions_are_json(tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text('{"O": 0, "B-Drug": "1"}')
    assert read_numbers(tmp_path) == {"O": 0, "B-Drug": 1}


@given(st.integers(0, 480), st.integers(0, 255))
def test_a_damaged_field_is_an_error_and_nothing_else(at: int, value: int) -> None:
    file = FIELDS / "vocabulary" / "part-00001"
    raw = file.read_bytes()
    stream = raw[raw.index(b"\xac\xed") :]
    for damaged in (stream[:at], stream[:at] + bytes([value]) + stream[at + 1 :]):
        with suppress(NotJava):
            read_java(damaged)


@given(st.binary(max_size=60))
def test_any_bytes_are_no_field(raw: bytes) -> None:
    class Part:
        name = "part-00000"

        def open(self, _: str) -> io.BytesIO:
            return io.BytesIO(b"SEQ\x06" + raw)

    class Folder:
        name = "labels"

        def is_dir(self) -> bool:
            return True

        def joinpath(self, *_: str) -> Path:
            return Path("/nowhere")

        def iterdir(self) -> list[Part]:
            return [Part()]

    with pytest.raises(UnreadableField):
        read_numbers(Folder())  # type: ignore[arg-type]
