import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import tokenizers
from support import tiny_onnx

from actors.config.linking import Pooling
from actors.config.onnx import FolderWeights
from actors.model_folder import ModelFileError
from actors.onnx.text_embedding import MOST_TOKENS, TextEncoder

TEXTS = ["type 2 diabetes", "aspirin", "chest pain in heart failure", "insulin", "đau ngực trái"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = tiny_onnx.wordpiece()
    model = tiny_onnx.attention(tokenizer.get_vocab_size(), labels=16)
    target = tiny_onnx.save(tmp_path_factory.mktemp("models") / "names", model, tokenizer)
    config = json.loads((target / "config.json").read_text())
    del config["id2label"]  # an embedding model has no labels
    (target / "config.json").write_text(json.dumps(config))
    return target


def encoder(folder: Path, pooling: Pooling = "mean", threads: int = 1) -> TextEncoder:
    return TextEncoder(FolderWeights(model=str(folder)), pooling, threads)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_vector_is_pooled_from_all_tokens_and_has_length_1(
    folder: Path, pooling: Pooling
) -> None:
    model = encoder(folder, pooling)
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))

    for text, vector in zip(TEXTS, model.encode(TEXTS), strict=True):
        ids = np.array([tokenizer.encode(text).ids], np.int64)
        hidden = session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0][0]
        expected = hidden.mean(axis=0) if pooling == "mean" else hidden[0]
        np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), atol=1e-5)
    assert (model.dimensions, model.pooling) == (16, pooling)


def test_a_text_alone_has_the_same_bytes_again(folder: Path) -> None:
    one, other = encoder(folder), encoder(folder, threads=2)

    together = one.encode(TEXTS)
    for at, text in enumerate(TEXTS):
        assert one.encode([text]).tobytes() == other.encode([text]).tobytes()
        np.testing.assert_allclose(one.encode([text])[0], together[at], atol=1e-6)


def test_only_the_first_tokens_count(folder: Path) -> None:
    words = ["insulin"] * MOST_TOKENS

    model = encoder(folder)

    assert (
        model.encode([" ".join(words)]).tobytes()
        == model.encode([" ".join([*words, "aspirin"])]).tobytes()
    )


def test_the_digest_is_that_of_the_content(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())

    assert encoder(copy).digest == encoder(folder).digest
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer, indent=3))
    assert encoder(copy).digest != encoder(folder).digest


def test_a_model_of_one_shape_is_refused(tmp_path: Path) -> None:
    tokenizer = tiny_onnx.wordpiece()
    table = np.ones((tokenizer.get_vocab_size(), 4), np.float32)
    target = tiny_onnx.save(
        tmp_path, tiny_onnx.by_token(table, rows=1, length=8), tokenizer, labels=tuple("abcd")
    )

    with pytest.raises(ModelFileError, match="batches of one shape only"):
        encoder(target)
