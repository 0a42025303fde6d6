"""Models as the Hugging Face hub has them: weights in subfolders, and in several files."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import onnx
import pytest
import tokenizers
import yaml
from pydantic import ValidationError
from support import tiny_onnx
from support.gguf_models import make
from support.hub import hub
from typer.testing import CliRunner

from actors.config import ConfigError, GgufWeights, OnnxModel, load_model
from actors.config.gguf_parts import gguf_parts
from actors.extractor import Extractor
from actors.memory import open_header, read_gguf, read_onnx
from actors.model_folder import ModelFileError, read_folder
from actors.spans import Document
from actors.weights import (
    WeightsError,
    check,
    check_model,
    fetch_model,
    fetch_weights,
    open_weights,
    weights_digest,
)
from pipelines.cli.app import app

FIRST, SECOND = "tiny-00001-of-00002.gguf", "tiny-00002-of-00002.gguf"


pytest_plugins = ["support.weights_fixtures"]
pytestmark = pytest.mark.usefixtures("weights_cache")


def published(folder: Path, file: str = "onnx/model.onnx", data: str | None = None) -> Path:
    """A token classifier as the hub has it; ``data``: the file that its tensors are in."""
    tokenizer = _tokenizer()
    model = tiny_onnx.by_token(tiny_onnx.random_table(tokenizer, len(tiny_onnx.BIO)))
    tiny_onnx.save(folder, model, tokenizer)
    (folder / "model.onnx").unlink()
    (folder / file).parent.mkdir(exist_ok=True)
    onnx.save(
        model,
        str(folder / file),
        save_as_external_data=data is not None,
        location=data,
        size_threshold=0,
    )
    return folder


def classifier(weights: str, **more: object) -> OnnxModel:
    content = {"name": "tiny", "kind": "onnx", "weights": {"model": weights, **more}}
    return OnnxModel.model_validate(content)


def split(folder: Path) -> Path:
    """A tiny language model in two files, as llama-gguf-split makes them; returns the whole."""
    whole = make(folder / "whole.gguf", "qwen2", seed=3)
    found = gguf.GGUFReader(whole)
    half = len(found.tensors) // 2
    for number, tensors in enumerate((found.tensors[:half], found.tensors[half:])):
        writer = gguf.GGUFWriter(folder / (FIRST, SECOND)[number], "qwen2")
        if number == 0:
            for name, field in found.fields.items():
                if not name.startswith("GGUF.") and name != "general.architecture":
                    kind = field.types[0]
                    inner = field.types[1] if kind == gguf.GGUFValueType.ARRAY else None
                    writer.add_key_value(name, field.contents(), kind, inner)
        writer.add_uint16("split.no", number)
        writer.add_uint16("split.count", 2)
        writer.add_int32("split.tensors.count", len(found.tensors))
        for tensor in tensors:
            writer.add_tensor(tensor.name, np.array(tensor.data))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return whole


def model_file(folder: Path, uri: str) -> Path:
    file = folder / "tiny.yaml"
    prompt = {"format": "prose", "instruction": "Why?"}
    content = {"name": "tiny", "kind": "gguf", "weights": {"model": uri}, "prompt": prompt}
    file.write_text(yaml.safe_dump(content))
    return file


def put(memory: Any, folder: Path, *names: str) -> None:
    for name in names:
        memory.pipe_file(f"/m/{name}", (folder / name).read_bytes())


@pytest.mark.parametrize(
    "file",
    ["model.onnx", "onnx/model.onnx", "onnx/model_quantized.onnx", "onnx/model_int8.onnx"],
)
def test_the_weights_of_a_folder_are_found_where_exporters_put_them(
    tmp_path: Path, file: str
) -> None:
    folder = published(tmp_path / "model", file)
    assert read_folder(folder).model == folder / file
    (extraction,) = _read(classifier(str(folder)))
    assert extraction.entities


def test_weights_file_chooses_among_several(tmp_path: Path) -> None:
    folder = published(tmp_path / "model", "onnx/model.onnx")
    other = folder / "onnx" / "model_int8.onnx"
    other.write_bytes((folder / "onnx" / "model.onnx").read_bytes())
    assert read_folder(folder).model.name == "model.onnx"
    assert read_folder(folder, "onnx/model_int8.onnx").model == other
    with pytest.raises(FileNotFoundError, match=r"onnx/model_fp16\.onnx"):
        read_folder(folder, "onnx/model_fp16.onnx")
    for outside in ("../model.onnx", "/model.onnx", "model.bin"):
        with pytest.raises(ValidationError):
            classifier(str(folder), file=outside)


def test_tensors_in_a_file_of_their_own_are_fetched_and_counted(
    tmp_path: Path, memory: Any
) -> None:
    inside = published(tmp_path / "inside")
    folder = published(tmp_path / "model", data="weights of the model.bin")
    names = ("onnx/model.onnx", "onnx/weights of the model.bin", "config.json", "tokenizer.json")
    put(memory, folder, *names)
    memory.pipe_file("/m/pytorch_model.bin", b"not wanted")
    place = fetch_model(classifier("memory://m"))
    found = {str(p.relative_to(place)) for p in place.rglob("*") if p.is_file()}
    assert found == set(names)
    (extraction,) = _read(classifier("memory://m"))
    (expected,) = _read(classifier(str(inside)))
    assert extraction.entities == expected.entities != ()
    config = {"hidden_size": 4, "intermediate_size": 8, "num_attention_heads": 2}
    for one in (folder, inside):
        (one / "config.json").write_text(json.dumps(config))
    size = sum((folder / "onnx" / n).stat().st_size for n in ("model.onnx", names[1][5:]))
    (folder / "onnx" / "model.onnx_optimized").write_bytes(b"of another tool")
    assert read_onnx(folder, None).size == size


def test_a_missing_file_of_tensors_is_named_before_work(tmp_path: Path, memory: Any) -> None:
    folder = published(tmp_path / "model", data="model.onnx_data")
    put(memory, folder, "onnx/model.onnx", "config.json", "tokenizer.json")
    (folder / "onnx" / "model.onnx_data").unlink()
    for uri in ("memory://m", str(folder)):
        for look in (check_model, fetch_model):
            with pytest.raises(FileNotFoundError, match=r"model\.onnx_data"):
                look(classifier(uri))


def test_tensors_outside_the_folder_are_refused(tmp_path: Path) -> None:
    folder = published(tmp_path / "model", data="model.onnx_data")
    file = folder / "onnx" / "model.onnx"
    file.write_bytes(file.read_bytes().replace(b"model.onnx_data", b"../../elsewhere"))
    with pytest.raises(ModelFileError, match=r"\.\./\.\./elsewhere"):
        read_folder(folder)


def test_a_repository_of_the_hub_is_read(tmp_path: Path) -> None:
    published(tmp_path / "hub" / "someone" / "tiny-ner", data="model.onnx_data")
    repository = tmp_path / "hub" / "someone" / "tiny-llm"
    repository.mkdir()
    split(repository)
    with hub(tmp_path / "hub") as endpoint:
        found = _in_a_process(
            endpoint,
            "from test_weights_as_published import classifier\n"
            "from actors.weights import check_model, fetch_model, fetch_weights\n"
            "model = classifier('hf://someone/tiny-ner')\n"
            "check_model(model)\n"
            "place = fetch_model(model)\n"
            "print(sorted(str(p.relative_to(place)) for p in place.rglob('*') if p.is_file()))\n"
            f"print(sorted(p.name for p in fetch_weights('hf://someone/tiny-llm/{FIRST}')"
            ".parent.iterdir()))\n"
            "for name in ('someone/none', 'someone/tiny-llm'):\n"
            "    try:\n"
            "        fetch_model(classifier(f'hf://{name}'))\n"
            "    except FileNotFoundError as error:\n"
            "        print(error)\n",
        )
    lines = found.splitlines()
    assert lines[0] == str(
        ["config.json", "onnx/model.onnx", "onnx/model.onnx_data", "tokenizer.json"]
    )
    assert lines[1] == str([FIRST, SECOND])
    assert "hf://someone/none" in lines[2]
    assert "hf://someone/tiny-llm: no ONNX model (looked for model.onnx," in lines[3]


def test_digest_published_by_the_hub_is_checked(tmp_path: Path) -> None:
    published(tmp_path / "hub" / "someone" / "tiny", data="model.onnx_data")
    with hub(tmp_path / "hub", wrong="model.onnx_data") as endpoint:
        found = _in_a_process(
            endpoint,
            "from test_weights_as_published import classifier\n"
            "from actors.weights import WeightsError, fetch_model\n"
            "try:\n"
            "    fetch_model(classifier('hf://someone/tiny'))\n"
            "except WeightsError as error:\n"
            "    print(error)\n",
        )
    assert "hf://someone/tiny: model.onnx_data does not match" in found


@pytest.mark.parametrize(
    ("uri", "parts"),
    [
        ("a/whole.gguf", ["a/whole.gguf"]),
        ("s3://b/m-00001-of-00001.gguf", ["s3://b/m-00001-of-00001.gguf"]),
        (
            "https://h/m-00001-of-00003.gguf?download=true",
            [f"https://h/m-0000{n}-of-00003.gguf?download=true" for n in (1, 2, 3)],
        ),
    ],
)
def test_a_name_stands_for_all_parts(uri: str, parts: list[str]) -> None:
    assert list(gguf_parts(uri)) == parts


def test_a_later_part_is_not_the_name_of_a_model() -> None:
    with pytest.raises(ValidationError, match=r"-00001-of-00003\.gguf"):
        GgufWeights.model_validate({"model": "m-00002-of-00003.gguf"})


def test_all_parts_are_fetched_counted_and_read(tmp_path: Path, memory: Any) -> None:
    whole = split(tmp_path)
    put(memory, tmp_path, FIRST, SECOND)
    place = fetch_weights(f"memory://m/{FIRST}")
    assert sorted(path.name for path in place.parent.iterdir()) == [FIRST, SECOND]
    one, parts = open_header(whole), open_header(place)
    assert {t.name: t.dimensions for t in one.tensors} == {
        t.name: t.dimensions for t in parts.tensors
    }
    model = load_model(model_file(tmp_path, f"memory://m/{FIRST}"))
    assert model.kind == "gguf"
    remote = read_gguf(open_weights, model).header
    assert sum(t.size for t in remote.tensors) == sum(t.size for t in one.tensors)
    llama = pytest.importorskip("actors.gguf").LlamaModel(place, model.context, gpu=False)
    assert llama.size == 1500
    llama.close()


def test_each_part_is_verified(tmp_path: Path, memory: Any) -> None:
    split(tmp_path)
    put(memory, tmp_path, FIRST, SECOND)
    uri = f"memory://m/{FIRST}"
    both = tuple(
        hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in (FIRST, SECOND)
    )
    fetch_weights(uri, both)
    digest = weights_digest(tmp_path / FIRST, both)
    assert digest == weights_digest(tmp_path / FIRST, None)
    assert digest == weights_digest(tmp_path / FIRST, both[0])
    with pytest.raises(WeightsError, match=rf"SHA-256 of {SECOND} is {both[1]}"):
        fetch_weights(uri, (both[0], "0" * 64))
    with pytest.raises(WeightsError, match="lists 3 files, but the weights are in 2"):
        fetch_weights(uri, (*both, both[0]))
    (tmp_path / SECOND).write_bytes(b"another")
    assert weights_digest(tmp_path / FIRST, both[0]) != digest


def test_a_missing_part_is_named_before_work(
    tmp_path: Path, memory: Any, weights_cache: Path
) -> None:
    split(tmp_path)
    put(memory, tmp_path, FIRST)
    (tmp_path / SECOND).unlink()
    for uri in (f"memory://m/{FIRST}", str(tmp_path / FIRST)):
        looks: list[Callable[[str], object]] = [check, fetch_weights]
        for look in looks:
            with pytest.raises(FileNotFoundError, match=SECOND):
                look(uri)
    assert not list(weights_cache.rglob("*.gguf"))


def test_a_renamed_first_part_is_explained(tmp_path: Path) -> None:
    split(tmp_path)
    (tmp_path / FIRST).rename(tmp_path / "model.gguf")
    with pytest.raises(ConfigError, match=r"one of 2 parts .* -00001-of-00002\.gguf"):
        open_header(tmp_path / "model.gguf")


def test_the_command_lists_every_part(tmp_path: Path) -> None:
    split(tmp_path)
    file = str(model_file(tmp_path, FIRST))
    for command in ("fetch", "verify"):
        result = CliRunner().invoke(app, ["models", command, file])
        assert result.exit_code == 0
        assert [line.count("tiny-0000") for line in result.stdout.splitlines()] == [1, 1]


def test_a_download_that_is_cut_short_is_an_error(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.pipe_file("/m/tiny.gguf", b"weights")
    monkeypatch.setattr(
        type(memory), "get_file", lambda _, source, target: Path(target).write_bytes(b"wei")
    )
    with pytest.raises(WeightsError, match=r"tiny\.gguf has 3 bytes, expected 7"):
        fetch_weights("memory://m/tiny.gguf")


def test_a_file_of_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "some_weights"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (package / "tiny.gguf").write_bytes(b"weights")
    monkeypatch.syspath_prepend(str(tmp_path))
    uri = "package:some_weights/tiny.gguf"
    check(uri)
    assert fetch_weights(uri, hashlib.sha256(b"weights").hexdigest()) == package / "tiny.gguf"
    model = load_model(model_file(tmp_path, uri))
    assert model.weights.model == uri
    with pytest.raises(WeightsError, match="package no_such_package is not installed"):
        fetch_weights("package:no_such_package/tiny.gguf")
    with pytest.raises(FileNotFoundError, match=r"package:some_weights/none\.gguf"):
        fetch_weights("package:some_weights/none.gguf")


@cache
def _tokenizer() -> tokenizers.Tokenizer:
    return tiny_onnx.wordpiece()  # training it twice numbers its tokens differently


def _read(config: OnnxModel) -> list[Any]:
    with Extractor(config) as extractor:
        return [extractor.submit(Document("d", tiny_onnx.CORPUS[0])).result()]


def _in_a_process(endpoint: str, code: str) -> str:
    """Return the output of ``code`` in a process that knows no other hub."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={
            **os.environ,
            "HF_ENDPOINT": endpoint,
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_TOKEN": "",
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
        },
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
