"""GLiNER models as exported: what loads, what comes out, what is refused and how it is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import tiny_gliner
from typer.testing import CliRunner

from actors import ConfigError, Document, Extraction, Extractor, Failure, Status
from actors.config import GlinerModel
from actors.guideline import Guideline
from actors.memory import estimate_onnx, read_gliner
from actors.onnx import ModelFileError
from pipelines.cli.app import app
from pipelines.serve.answering.models import facts_of

WORDS = ["drug", "medicine", "disease", "dose", "the", "patient", "took", "met", "##formin", "and"]
WORDS += [
    "insulin",
    "gla",
    "##rgine",
    "for",
    "diabetes",
    "500",
    "mg",
    "induced",
    "-",
    "_",
    ".",
    ",",
]
WORDS += ["which", "treats", ":", "a"]
DRUG, DISEASE, DOSE = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]
MEANINGS = {
    **dict.fromkeys(("drug", "medicine", "met", "insulin", "gla"), DRUG),
    **dict.fromkeys(("disease", "diabetes"), DISEASE),
    **dict.fromkeys(("dose", "500", "mg"), DOSE),
}
TEXT = "The patient took Metformin 500 mg and  insulin glargine for diabetes."
ALL = [
    ("Metformin", "drug"),
    ("500 mg", "dose"),
    ("insulin glargine", "drug"),
    ("diabetes", "disease"),
]
GUIDELINE = {"name": "g", "labels": {"drug": None, "disease": None, "dose": None}}
VARIANTS: dict[str, dict[str, Any]] = {
    "span": {},
    "token": {"token_level": True},
    "bi-span": {"two_encoders": True},
    "bi-token": {"token_level": True, "two_encoders": True},
}


def kind_of(variant: str) -> dict[str, Any]:
    level = "token" if "token" in variant else "span"
    encoders = "bi" if "bi" in variant else "uni"
    return {
        "model_type": f"gliner_{encoders}_encoder_{level}",
        "span_mode": "token_level" if level == "token" else "markerV0",
    }


def made(folder: Path, variant: str = "span", **config: Any) -> Path:
    tokens = tiny_gliner.tokenizer(WORDS)
    graph = tiny_gliner.model(tokens, MEANINGS, **VARIANTS[variant])
    return tiny_gliner.save(folder, graph, tokens, **{**kind_of(variant), **config})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("span"))


def config(folder: Path, **settings: Any) -> GlinerModel:
    content = {
        "name": "tiny",
        "kind": "gliner",
        "weights": {"model": str(folder)},
        "prompt": {"guideline": GUIDELINE},
        **settings,
    }
    return GlinerModel.model_validate(content)


def read(folder: Path, *texts: str | None, **settings: Any) -> list[Extraction]:
    with Extractor(config(folder, **settings)) as extractor:
        return extractor.extract(Document(str(i), text) for i, text in enumerate(texts))


def found(extraction: Extraction) -> list[tuple[str, str]]:
    assert extraction.status is Status.OK, extraction.failure
    return [(entity.text, entity.label) for entity in extraction.entities]


def test_entities_of_a_sentence(folder: Path) -> None:
    (extraction,) = read(folder, TEXT)
    assert found(extraction) == ALL
    first = extraction.entities[0]
    assert (first.start, first.end, first.model) == (17, 26, "tiny")
    assert first.score is not None
    assert first.score == pytest.approx(1 / (1 + np.exp(-5)), abs=0.01)
    # [CLS], three labels with their marks, the text's mark, 13 pieces, [SEP]
    assert extraction.usage.prompt_tokens == 1 + 6 + 1 + 14 + 1


@pytest.mark.parametrize("variant", ["token", "bi-span", "bi-token"])
def test_every_variant(variant: str, tmp_path: Path) -> None:
    (extraction,) = read(made(tmp_path, variant), TEXT)
    by_label = {label for _, label in found(extraction)}
    assert by_label == {"drug", "disease", "dose"}
    assert ("diabetes", "disease") in found(extraction)


def test_labels_with_an_encoder_of_their_own_are_encoded_once_a_guideline(tmp_path: Path) -> None:
    with Extractor(config(made(tmp_path, "bi-span"))) as extractor:
        session = extractor._backend._reader._session  # type: ignore[attr-defined]
        encoder, calls = session._labels, []
        assert {one.name for one in encoder.inputs} == {
            "labels_input_ids",
            "labels_attention_mask",
        }
        assert not {one.name for one in session._loaded.inputs} & {"labels_input_ids"}

        class Counted:
            def __getattr__(self, name: str) -> Any:
                if name == "run":
                    calls.append(name)
                return getattr(encoder, name)

        session._labels = Counted()
        extractor.extract(Document(str(n), TEXT) for n in range(3))
        asked = Guideline.model_validate({"name": "r", "labels": {"medicine": None}})
        for _ in range(3):
            extraction = extractor.submit(Document("1", TEXT), asked).result()
            assert ("Metformin", "medicine") in found(extraction)
        assert len(calls) == 1


def test_settings_of_older_exports_imply_their_variant(tmp_path: Path) -> None:
    made(tmp_path / "token", "token", model_type=None)
    made(tmp_path / "bi", "bi-span", model_type="gliner", labels_encoder="some/encoder")
    for name in ("token", "bi"):
        assert ("diabetes", "disease") in found(read(tmp_path / name, TEXT)[0])


def test_a_quantised_export_is_read_where_there_is_no_other(tmp_path: Path) -> None:
    made(tmp_path)
    (tmp_path / "model.onnx").rename(tmp_path / "model_quantized.onnx")
    assert found(read(tmp_path, TEXT)[0]) == ALL


def test_a_request_brings_labels_of_its_own(folder: Path) -> None:
    with Extractor(config(folder)) as extractor:
        asked = Guideline.model_validate({"name": "r", "labels": {"medicine": None}})
        extraction = extractor.submit(Document("1", TEXT), asked).result()
        assert found(extraction) == [("Metformin", "medicine"), ("insulin glargine", "medicine")]
        again = extractor.submit(Document("1", TEXT)).result()
        assert found(again) == ALL
        assert again.fingerprint == extractor.fingerprint != extraction.fingerprint
    with Extractor(config(folder, prompt={"guideline": asked})) as other:
        assert other.fingerprint == extraction.fingerprint


def test_definitions_and_synonyms_are_asked_for(folder: Path) -> None:
    labels = {"X": {"definition": "drug", "synonyms": ["disease"]}}
    guideline = {"name": "g", "labels": labels}
    assert found(read(folder, TEXT, prompt={"guideline": guideline})[0]) == []
    defined = read(folder, TEXT, prompt={"guideline": guideline, "ask": "definition"})[0]
    assert found(defined) == [("Metformin", "X"), ("insulin glargine", "X")]
    both = read(folder, TEXT, prompt={"guideline": guideline, "ask": "both", "synonyms": True})[0]
    assert found(both) == [("Metformin", "X"), ("insulin glargine", "X"), ("diabetes", "X")]


def test_labels_that_do_not_fit_one_prompt_make_several(folder: Path) -> None:
    one = read(folder, TEXT)[0]
    for most in (1, 2):
        several = read(folder, TEXT, prompt={"guideline": GUIDELINE, "most_labels": most})[0]
        assert found(several) == ALL
        assert several.usage.prompt_tokens > one.usage.prompt_tokens
    # Half of a window of 16 tokens has room for two names with their marks.
    assert found(read(folder, TEXT, window={"size": 16, "overlap": 8})[0]) == ALL


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"white_list": ["drug"]}, [ALL[0], ALL[2]]),
        ({"black_list": ["drug"]}, [ALL[1], ALL[3]]),
        ({"threshold": 0.9999}, []),
        ({"thresholds": {"drug": 0.9999}}, [ALL[1], ALL[3]]),
        ({"replace": {"dose": "DOSE"}}, [ALL[0], ("500 mg", "DOSE"), *ALL[2:]]),
    ],
    ids=str,
)
def test_the_label_filter(
    folder: Path, labels: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    assert found(read(folder, TEXT, labels=labels)[0]) == expected


def test_nested_and_several_labels(folder: Path) -> None:
    nested = found(read(folder, "insulin glargine", decode={"overlaps": "nested"})[0])
    assert nested == [
        ("insulin", "drug"),
        ("insulin glargine", "drug"),
        ("glargine", "drug"),
    ]
    guideline = {"name": "g", "labels": {"drug": None, "medicine": None}}
    settings = {"prompt": {"guideline": guideline}, "decode": {"multi_label": True}}
    assert found(read(folder, "insulin", **settings)[0]) == [
        ("insulin", "drug"),
        ("insulin", "medicine"),
    ]


def test_hyphens_belong_to_words_unless_the_model_file_differs(folder: Path) -> None:
    text = "insulin-induced diabetes"
    assert found(read(folder, text)[0])[0] == ("insulin-induced", "drug")
    apart = read(folder, text, decode={"splitter": "punctuation"})[0]
    assert found(apart)[0] == ("insulin", "drug")


def test_a_long_text_is_read_in_windows_without_a_cut(folder: Path) -> None:
    text = "\n".join([TEXT, "which treats the patient and . , " * 3] * 40)
    whole = [(e.start, e.end, e.label) for e in read(folder, text)[0].entities]
    assert len(whole) == 4 * 40
    for size in (24, 40, 100):
        small = read(folder, text, window={"size": size})[0]
        assert [(e.start, e.end, e.label) for e in small.entities] == whole
        assert all(text[e.start : e.end] == e.text for e in small.entities)


def test_a_word_longer_than_a_window_is_reported(folder: Path) -> None:
    text = f"insulin met{'formin' * 16} diabetes"
    (extraction,) = read(folder, text, window={"size": 24})
    assert [label for _, label in found(extraction)] == ["drug", "drug", "disease"]
    assert extraction.problems == ("words longer than a window, read only in part: 1",)
    assert read(folder, TEXT)[0].problems == ()


def test_a_document_does_not_depend_on_its_neighbours(folder: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, rng.integers(1, 60))) for _ in range(40)]
    paths = [folder, made(tmp_path / "bi", "bi-span"), made(tmp_path / "token", "token")]
    for path in paths:
        together = read(path, *texts, session={"batch_tokens": 4096})
        alone = [read(path, text)[0] for text in texts[:6]]
        assert [one.entities for one in together[:6]] == [one.entities for one in alone]


def test_batches_hold_rows_of_equal_length_if_padding_affects_spans(tmp_path: Path) -> None:
    tokens = tiny_gliner.tokenizer(WORDS)
    graph = tiny_gliner.model(tokens, MEANINGS, sees_padding=True)
    tiny_gliner.save(tmp_path, graph, tokens, span_mode="markerV2")
    short, long = "took insulin", " ".join(["metformin and diabetes"] * 20)
    together = read(tmp_path, short, long)
    assert together[0].entities == read(tmp_path, short)[0].entities
    assert together[1].entities == read(tmp_path, long)[0].entities


def test_documents_that_cannot_be_read_fail_alone(folder: Path) -> None:
    good, none, surrogate, empty = read(folder, TEXT, None, "a \ud800 b", " \n ")
    assert found(good) == ALL
    assert none.failure == Failure("MissingText", "there is no text")
    assert surrogate.failure is not None
    assert surrogate.failure.type == "InvalidText"
    assert found(empty) == []


def test_a_label_too_long_for_a_prompt(folder: Path) -> None:
    long = " ".join(["drug"] * 300)
    with pytest.raises(ConfigError, match="is 300 tokens long"):
        read(folder, TEXT, prompt={"guideline": {"name": "g", "labels": {long: None}}})
    with Extractor(config(folder)) as extractor:
        asked = Guideline.model_validate({"name": "r", "labels": {long: None}})
        failed = extractor.submit(Document("1", TEXT), asked).result()
        assert failed.failure is not None
        assert failed.failure.type == "LabelTooLong"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model_type": "gliner_uni_encoder_span_relex"}, "is not supported"),
        ({"model_type": "gliner", "labels_decoder": "gpt2"}, "is not supported"),
        ({"words_splitter_type": "jieba"}, "words_splitter_type 'jieba'"),
        ({"precomputed_prompts_mode": True}, "precomputed prompts"),
        ({"class_token_index": 3}, "class_token_index is 3"),
        ({"ent_token": "<<LABEL>>"}, "has no token <<LABEL>>"),
        ({"max_width": 7}, r"gives logits of shape \(1, 1, 4, 3\)"),
        ({"max_len": "long"}, "max_len is not an integer"),
        (kind_of("token"), "its inputs are"),
        (kind_of("bi-span"), "labels' encoder"),
    ],
    ids=str,
)
def test_unreadable_model_folder_is_rejected(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelFileError, match=message):
        read(made(tmp_path, **settings), TEXT)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        read(tmp_path / "none", TEXT)
    with pytest.raises(FileNotFoundError, match="no ONNX model"):
        read(tmp_path, TEXT)
    made(tmp_path)
    (tmp_path / "gliner_config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"gliner_config\.json: not found"):
        read(tmp_path, TEXT)


def test_the_filter_names_labels_of_the_guideline(folder: Path) -> None:
    with pytest.raises(ConfigError, match="unknown labels: DRUG"):
        read(folder, TEXT, labels={"white_list": ["DRUG"]})


def test_facts_for_serving_and_planning(folder: Path) -> None:
    model = config(folder, labels={"replace": {"dose": "DOSE"}})
    facts = facts_of(model, "f")
    assert (facts.labels, facts.guideline) == (("DOSE", "disease", "drug"), "any")
    encoder = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4}
    encoder["max_position_embeddings"] = 64
    (folder / "sized").mkdir()
    file = read_gliner(made(folder / "sized", encoder_config=encoder))
    assert (file.longest, file.width) == (64, 32)
    small, large = (
        estimate_onnx(file, config(folder, session={"batch_tokens": tokens})).parts["activations"]
        for tokens in (1024, 2048)
    )
    # Spans of up to 4 words take more than a feed-forward of 64.
    assert large == 2 * small == 2 * 4 * 1024 * 4 * 32 * 13
    with pytest.raises(ConfigError, match="has no hidden_size"):
        read_gliner(folder)


def test_its_model_file_is_described(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "model.yaml").write_text(
        f"name: tiny\nkind: gliner\nweights: {{model: {folder}}}\n"
        "prompt: {guideline: {name: g, labels: {drug: '', dose: ''}}}\n"
    )
    shown = CliRunner().invoke(app, ["models", "describe", str(tmp_path / "model.yaml"), "--json"])
    assert shown.exit_code == 0, shown.output
    facts = json.loads(shown.stdout)
    assert (facts["labels"], facts["longest_words"]) == (["drug", "dose"], 384)
    assert (facts["scores"], facts["encoders"]) == ("spans of 4 words", 1)
    verified = CliRunner().invoke(app, ["models", "verify", str(tmp_path / "model.yaml")])
    assert "model.onnx" in verified.stdout


def test_compatibility_characters_are_spelt_out_for_the_model(folder: Path) -> None:
    """Letters from pasted rich text and from a PDF's text layer: the offsets stay the text's."""
    plain = "took insulin 500 mg for diabetes"
    styled = "took 𝗂𝗇𝗌𝗎𝗅𝗂𝗇 ５００ ㎎ for diabetes"
    first, second = read(folder, plain, styled)
    assert [label for _, label in found(second)] == [label for _, label in found(first)]
    assert found(second) == [("𝗂𝗇𝗌𝗎𝗅𝗂𝗇", "drug"), ("５００ ㎎", "dose"), ("diabetes", "disease")]
    for entity in second.entities:
        assert styled[entity.start : entity.end] == entity.text
    assert first.problems == second.problems == ()


def test_many_unknown_tokens_are_a_problem(folder: Path) -> None:
    (extraction,) = read(folder, "☃ insulin ☂")
    assert extraction.problems == ("2 of 3 tokens are unknown to the model",)
    assert found(extraction) == [("insulin", "drug")]
