"""Whole models: what loads, what comes out, what is refused and how it is said."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto
from support import tiny_onnx

from actors import ConfigError, Document, Extraction, Extractor, Failure, Status
from actors.config import OnnxModel
from actors.onnx import ModelFileError
from actors.onnx.length import usable_length
from actors.onnx.tokenizer import TextTokenizer

WORDS = ["patients", "took", "met", "##for", "##min", "and", "insulin", "aged", "61", "."]
TAGS = {"met": "B-Drug", "##for": "I-Drug", "##min": "I-Drug", "insulin": "B-Drug", "61": "B-Age"}
TEXT = "Patients took Metformin and  insulin, aged 61."


def config(folder: Path, **settings: Any) -> OnnxModel:
    content = {"name": "tiny", "kind": "onnx", "weights": {"model": str(folder)}, **settings}
    return OnnxModel.model_validate(content)


def read(folder: Path, *texts: str | None, **settings: Any) -> list[Extraction]:
    with Extractor(config(folder, **settings)) as extractor:
        return extractor.extract(Document(str(i), text) for i, text in enumerate(texts))


def found(extraction: Extraction) -> list[tuple[str, str]]:
    return [(entity.text, entity.label) for entity in extraction.entities]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = tiny_onnx.word_level(WORDS)
    table = tiny_onnx.labelled(tokenizer, tiny_onnx.BIO, TAGS)
    return tiny_onnx.save(
        tmp_path_factory.mktemp("tiny"), tiny_onnx.by_token(table), tokenizer, tiny_onnx.BIO
    )


ALL = [("Metformin", "Drug"), ("insulin", "Drug"), ("61", "Age")]


def test_entities_of_a_sentence(folder: Path) -> None:
    (extraction,) = read(folder, TEXT)
    assert found(extraction) == ALL
    first = extraction.entities[0]
    assert (first.start, first.end, first.model, str(first.grounding)) == (14, 23, "tiny", "exact")
    assert first.score is not None
    assert first.score > 0.9
    assert extraction.usage.prompt_tokens == 11


@pytest.mark.parametrize(
    "shape",
    [
        {"inputs": ("input_ids",)},
        {"inputs": ("input_ids", "attention_mask")},
        {"kind": TensorProto.INT32},
        {"name": "output_0"},
        {"rows": 1},
        {"rows": 3},
        {"rows": 2, "length": 8},
    ],
    ids=str,
)
def test_graphs_of_other_shapes(shape: dict[str, Any], tmp_path: Path) -> None:
    tokenizer = tiny_onnx.word_level(WORDS)
    table = tiny_onnx.labelled(tokenizer, tiny_onnx.BIO, TAGS)
    tiny_onnx.save(tmp_path, tiny_onnx.by_token(table, **shape), tokenizer, tiny_onnx.BIO)
    for extraction in read(tmp_path, TEXT, TEXT):
        assert found(extraction) == ALL


@pytest.mark.parametrize("offset", [0, 1, 2, 5])
@pytest.mark.parametrize("model_type", ["bert", "data2vec-text", "esm", "of no family"])
def test_the_longest_window_is_tried(model_type: str, offset: int, tmp_path: Path) -> None:
    """64 positions that begin at 2 are 62 tokens, whatever the family is called."""
    tokenizer = tiny_onnx.byte_level()
    table = tiny_onnx.random_table(tokenizer, 5)
    model = tiny_onnx.positioned(table, 64, offset)
    tiny_onnx.save(tmp_path, model, tokenizer, model_type=model_type)
    (long,) = read(tmp_path, "aspirin " * 200)
    assert long.status is Status.OK
    longest = 64 - offset
    (stated,) = read(tmp_path, "aspirin " * 200, window={"size": longest})
    assert stated.entities == long.entities
    with pytest.raises(ConfigError, match=f"at most {longest} tokens"):
        read(tmp_path, "aspirin", window={"size": longest + 1})


@pytest.mark.parametrize("usable", [3, 4, 17, 62, 63, 64])
def test_any_usable_length_is_found(usable: int) -> None:
    tried = []

    def attempt(length: int) -> None:
        tried.append(length)
        if length > usable:
            raise RuntimeError("indices element out of data bounds")

    assert usable_length(attempt, 64, 3) == usable
    assert len(tried) <= 12


def test_a_length_that_memory_bounds_is_an_error_not_a_shorter_window() -> None:
    def attempt(length: int) -> None:
        raise RuntimeError("Failed to allocate memory for requested buffer")

    with pytest.raises(ModelFileError, match=r"set a smaller window\.size"):
        usable_length(attempt, 4096, 3)


def test_a_file_without_mask_and_of_one_length_is_refused(tmp_path: Path) -> None:
    tokenizer = tiny_onnx.word_level(WORDS)
    table = tiny_onnx.labelled(tokenizer, tiny_onnx.BIO, TAGS)
    model = tiny_onnx.by_token(table, inputs=("input_ids",), length=8)
    tiny_onnx.save(tmp_path, model, tokenizer)
    with pytest.raises(ModelFileError, match="has no attention_mask"):
        read(tmp_path)


@pytest.mark.parametrize("family", sorted(tiny_onnx.FAMILIES))
def test_no_special_token_can_be_written_in_a_note(family: str, tmp_path: Path) -> None:
    tokenizer = tiny_onnx.FAMILIES[family]()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    special = {
        index: token.content for index, token in tokenizer.get_added_tokens_decoder().items()
    }
    made = TextTokenizer(tmp_path)
    text = " ".join([*special.values(), *special.values(), "</s><s> <s>x <pad>"])
    written = set(made.encode(text).ids.tolist()) & set(special)
    assert {special[index] for index in written} <= {"<unk>", "[UNK]"}
    plain = "aspirin, metformin 500 mg"
    assert made.encode(plain).ids.tolist() == tokenizer.encode(plain, add_special_tokens=False).ids
    whole = tokenizer.encode("a").ids
    assert [*made.before, *made.encode("a").ids.tolist(), *made.after] == whole


def test_labels_that_do_not_fit_are_named_and_can_be_stated(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer = tiny_onnx.word_level(WORDS)
    names = ("O", "B-Drug", "I-Drug", "X")
    tags = {"met": "B-Drug", "##for": "I-Drug", "##min": "I-Drug", "and": "X"}
    table = tiny_onnx.labelled(tokenizer, names, tags)
    tiny_onnx.save(tmp_path, tiny_onnx.by_token(table), tokenizer, names)
    (extraction,) = read(tmp_path, TEXT)
    assert found(extraction) == [("Metformin", "Drug"), ("and", "X")]
    assert "labels X have no role" in caplog.text
    caplog.clear()
    (extraction,) = read(tmp_path, TEXT, decode={"outside": ["X"]})
    assert found(extraction) == [("Metformin", "Drug")]
    assert "no role" not in caplog.text
    with pytest.raises(ModelFileError, match=r"decode\.outside: unknown labels Y"):
        read(tmp_path, decode={"outside": ["Y"]})


def test_a_table_without_an_outside_label_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer = tiny_onnx.word_level(WORDS)
    names = ("LABEL_0", "LABEL_1")
    table = tiny_onnx.labelled(tokenizer, names, {"insulin": "LABEL_1"})
    tiny_onnx.save(tmp_path, tiny_onnx.by_token(table), tokenizer, names)
    read(tmp_path)
    assert "none of the labels LABEL_0, LABEL_1 means no entity" in caplog.text
    (extraction,) = read(tmp_path, TEXT, decode={"outside": ["LABEL_0"]})
    assert found(extraction) == [("insulin", "LABEL_1")]


def test_compatibility_characters_are_spelt_out_for_the_model(folder: Path) -> None:
    texts = ["took 𝗆𝖾𝗍formin .", "took ｉｎｓｕｌｉｎ ."]
    bold, wide = read(folder, *texts)
    assert found(bold) == [("𝗆𝖾𝗍formin", "Drug")]
    assert found(wide) == [("ｉｎｓｕｌｉｎ", "Drug")]
    for text, extraction in zip(texts, (bold, wide), strict=True):
        (entity,) = extraction.entities
        assert text[entity.start : entity.end] == entity.text
        assert extraction.problems == ()


def test_known_words_are_not_spelt_out(tmp_path: Path) -> None:
    tokenizer = tiny_onnx.word_level([*WORDS, "½", "##½", "1"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    made = TextTokenizer(tmp_path)
    tokens = made.encode("½ ☃")
    assert tokens.ids.tolist() == [tokenizer.token_to_id("½"), tokenizer.token_to_id("[UNK]")]
    assert tokens.unknown == 1


def test_many_unknown_tokens_are_a_problem(folder: Path) -> None:
    few, many = read(folder, "patients took insulin . " * 30 + "☃", "☃ took ☂")
    assert few.problems == ()
    assert many.problems == ("2 of 3 tokens are unknown to the model",)


def test_a_word_list_alone_is_a_tokenizer(folder: Path, tmp_path: Path) -> None:
    for name in ("model.onnx", "config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    lines = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
    (tmp_path / "vocab.txt").write_text("\n".join(lines) + "\n")
    assert found(read(tmp_path, TEXT)[0]) == ALL
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert found(read(tmp_path, TEXT)[0]) == [("insulin", "Drug"), ("61", "Age")]


def test_a_word_list_with_capitals_is_cased(folder: Path, tmp_path: Path) -> None:
    for name in ("model.onnx", "config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    lines = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *["Met" if w == "met" else w for w in WORDS]]
    (tmp_path / "vocab.txt").write_text("\n".join(lines))
    extraction, other = read(tmp_path, TEXT, TEXT.lower())
    assert found(extraction) == ALL
    assert found(other) == ALL[1:]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"white_list": ["Age"]}, ALL[2:]),
        ({"black_list": ["Age"]}, ALL[:2]),
        ({"threshold": 0.9999}, []),
        ({"threshold": 0.9999, "thresholds": {"Age": 0.5}}, ALL[2:]),
        ({"replace": {"Drug": "Medication"}, "white_list": ["Drug"]}, None),
    ],
    ids=str,
)
def test_label_filter(
    folder: Path, labels: dict[str, Any], expected: list[tuple[str, str]] | None
) -> None:
    if expected is None:
        expected = [(text, "Medication") for text, _ in ALL[:2]]
    assert found(read(folder, TEXT, labels=labels)[0]) == expected


def test_a_filter_for_a_label_that_is_not_there_is_an_error(folder: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"unknown labels: Durg; the model's labels are Age, Drug"
    ):
        read(folder, labels={"white_list": ["Durg"]})


def test_a_document_that_cannot_be_read_fails_alone(folder: Path) -> None:
    secret = "Nguyen\ud800"
    whole, none, empty, blank, broken = read(folder, TEXT, None, "", " \r\n\t\u00a0", secret)
    assert found(whole) == ALL
    assert none.failure == Failure("MissingText", "there is no text")
    assert empty.status is blank.status is Status.OK
    assert empty.entities == blank.entities == ()
    assert broken.failure is not None
    assert broken.failure.type == "InvalidText"
    assert "Nguyen" not in broken.failure.message


def test_a_batch_that_fails_is_read_one_by_one(tmp_path: Path) -> None:
    """A token beyond the table makes onnxruntime fail, for its own document only."""
    tokenizer = tiny_onnx.word_level([*WORDS, "poison"])
    table = tiny_onnx.labelled(tokenizer, tiny_onnx.BIO, TAGS)[:-1]
    tiny_onnx.save(tmp_path, tiny_onnx.by_token(table), tokenizer)
    before, bad, after = read(tmp_path, TEXT, "patients took poison", TEXT)
    assert found(before) == found(after) == ALL
    assert bad.status is Status.FAILED
    assert bad.failure is not None
    assert "poison" not in bad.failure.message


def test_logits_that_are_no_numbers_are_a_failure(tmp_path: Path) -> None:
    tokenizer = tiny_onnx.word_level(WORDS)
    table = tiny_onnx.labelled(tokenizer, tiny_onnx.BIO, TAGS)
    table[tokenizer.token_to_id("aged")] = np.nan
    tiny_onnx.save(tmp_path, tiny_onnx.by_token(table), tokenizer)
    bad, good = read(tmp_path, TEXT, "took insulin")
    assert bad.failure is not None
    assert bad.failure.type == "NotFinite"
    assert found(good) == [("insulin", "Drug")]


def test_half_precision_files(tmp_path: Path) -> None:
    tokenizer = tiny_onnx.word_level(WORDS)
    table = tiny_onnx.labelled(tokenizer, tiny_onnx.BIO, TAGS).astype(np.float16)
    tiny_onnx.save(tmp_path, tiny_onnx.by_token(table, output=TensorProto.FLOAT16), tokenizer)
    assert found(read(tmp_path, TEXT)[0]) == ALL


@pytest.mark.parametrize("name", ["model.onnx", "config.json", "tokenizer.json"])
def test_a_missing_file_is_named(folder: Path, tmp_path: Path, name: str) -> None:
    for file in folder.iterdir():
        if file.name != name:
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(FileNotFoundError, match=name):
        read(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("config.json", "{", "config.json: not JSON"),
        ("config.json", "[]", "config.json: not a JSON object"),
        ("config.json", '{"id2label": {}}', "config.json: has no id2label"),
        ("config.json", '{"id2label": {"0": "O", "2": "B-A"}}', "must number its 2 labels"),
        ("config.json", '{"id2label": {"a": "O"}}', "non-numeric keys"),
        (
            "config.json",
            '{"id2label": {"0": "O", "1": "B-A"}}',
            "has 5 logits .* config.json has 2",
        ),
        ("tokenizer.json", "{}", "tokenizer.json: not a tokenizer"),
        ("model.onnx", "no model", "model.onnx: onnxruntime cannot load the model"),
    ],
)
def test_a_file_that_does_not_fit_is_named(
    folder: Path, tmp_path: Path, name: str, content: str, said: str
) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / name).write_text(content)
    with pytest.raises(ModelFileError, match=said):
        read(tmp_path)


def test_inputs_of_another_kind_of_model_are_named(tmp_path: Path) -> None:
    tokenizer = tiny_onnx.word_level(WORDS)
    model = tiny_onnx.by_token(
        tiny_onnx.labelled(tokenizer, tiny_onnx.BIO, TAGS), inputs=("input_ids", "pixel_values")
    )
    tiny_onnx.save(tmp_path, model, tokenizer)
    with pytest.raises(ModelFileError, match="its inputs are input_ids, pixel_values"):
        read(tmp_path)


def test_special_tokens_written_in_a_note_are_text(folder: Path) -> None:
    text = "took [SEP] insulin [CLS] . [PAD]"
    assert found(read(folder, text)[0]) == [("insulin", "Drug")]
    with Extractor(config(folder)) as extractor:
        (extraction,) = extractor.extract([Document("1", text)])
    assert extraction.usage.prompt_tokens == 12


def test_the_fingerprint_follows_the_contents_not_the_place(folder: Path, tmp_path: Path) -> None:
    def fingerprint(where: Path, **settings: Any) -> str:
        with Extractor(config(where, **settings)) as extractor:
            return extractor.fingerprint

    copy = tmp_path / "copy"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    same = fingerprint(folder)
    assert fingerprint(copy) == same
    assert fingerprint(folder, session={"batch_tokens": 64}) == same
    assert fingerprint(folder, labels={"threshold": 0.5}) != same
    content = json.loads((copy / "config.json").read_text())
    content["id2label"]["1"] = "B-Medication"
    (copy / "config.json").write_text(json.dumps(content))
    assert fingerprint(copy) != same


def test_without_a_gpu_auto_is_the_cpu_and_cuda_an_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("actors.onnx.session.gpu_memory", lambda: None)
    monkeypatch.setattr("actors.onnx.session._logged_cpu", False)
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            assert found(read(folder, TEXT)[0]) == ALL
    assert [record.message for record in caplog.records] == [
        "no CUDA GPU is visible: ONNX models run on the CPU"
    ]
    with pytest.raises(ConfigError, match="no CUDA GPU is visible"):
        read(folder, session={"provider": "cuda"})


def test_gpu_memory_limit_follows_the_share(monkeypatch: pytest.MonkeyPatch) -> None:
    from actors.config import OnnxSession
    from actors.memory import CUDA_CONTEXT
    from actors.onnx import session

    monkeypatch.setattr(session, "gpu_memory", lambda: 16 * 10**9)
    limits = [
        session._providers(OnnxSession(gpu_memory_gb=gb), gpu)[0][1]["gpu_mem_limit"]
        for gb, gpu in [(None, 0.25), (None, None), (2.5, 0.25)]
    ]
    # What CUDA takes for itself is out of the actor's share.
    assert limits == [str(4 * 10**9 - CUDA_CONTEXT), "16000000000", "2500000000"]
    with pytest.raises(ConfigError, match=r"num_gpus 0\.02 of a GPU with 16\.0 GB leaves nothing"):
        session._providers(OnnxSession(), 0.02)
    assert session._providers(OnnxSession(), 0) == ["CPUExecutionProvider"]
