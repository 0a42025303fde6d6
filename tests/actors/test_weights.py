from __future__ import annotations

import hashlib
import http.server
import multiprocessing
import threading
from pathlib import Path
from typing import Any

import fsspec
import pytest
from support import ROOT

from actors.config import load_model
from actors.config.load import STARTERS
from actors.model_folder import FolderFiles
from actors.weights import WeightsError, cache_folder, check, fetch_weights

CONTENT = b"weights"
SHA = hashlib.sha256(CONTENT).hexdigest()
NAMES = ("model.onnx", "config.json", "vocab.txt")
FILES = FolderFiles(NAMES[:1], NAMES[1:])


pytest_plugins = ["support.weights_fixtures"]
pytestmark = pytest.mark.usefixtures("weights_cache")


def model_folder(path: Path) -> Path:
    path.mkdir(parents=True)
    for name in (*NAMES, "model.onnx_data", "pytorch_model.bin"):
        (path / name).write_bytes(CONTENT)
    return path


def test_local_weights_are_used_where_they_are(tmp_path: Path, weights_cache: Path) -> None:
    folder = model_folder(tmp_path / "a model")
    for uri in (str(folder), folder.as_uri()):
        assert fetch_weights(uri, SHA, FILES) == folder
    assert fetch_weights(str(folder / "model.onnx"), SHA) == folder / "model.onnx"
    assert not weights_cache.exists()


def test_a_starter_is_in_the_package() -> None:
    place = fetch_weights("starter:token-classifier")
    assert place / "model.yaml" == STARTERS / "token-classifier" / "model.yaml"


@pytest.mark.parametrize("uri", ["/no/such/place", "file:///no/such/place", "starter:none"])
def test_missing_local_weights_are_named(uri: str) -> None:
    with pytest.raises(FileNotFoundError, match=uri):
        fetch_weights(uri)


def test_other_weights_than_expected_are_named_with_both_digests(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    expected = "0" * 64
    with pytest.raises(WeightsError, match=rf"{folder}: .* is {SHA}, expected {expected}"):
        fetch_weights(str(folder), expected, FILES)


def test_a_remote_file_is_fetched_once(memory: Any, weights_cache: Path) -> None:
    memory.pipe_file("/models/tiny.gguf", CONTENT)
    first = fetch_weights("memory://models/tiny.gguf", SHA)
    assert first.name == "tiny.gguf"
    assert first.read_bytes() == CONTENT
    memory.pipe_file("/models/tiny.gguf", b"others")
    assert fetch_weights("memory://models/tiny.gguf", SHA) == first
    assert first.read_bytes() == CONTENT
    assert not list(weights_cache.glob("*.partial"))


def test_of_a_remote_folder_what_the_model_needs_is_fetched(memory: Any) -> None:
    for name in (*NAMES[:2], "pytorch_model.bin"):
        memory.pipe_file(f"/models/tiny/{name}", CONTENT)
    place = fetch_weights("memory://models/tiny/", SHA, FILES)
    assert sorted(path.name for path in place.iterdir()) == sorted(NAMES[:2])


def test_file_with_a_wrong_digest_is_removed(memory: Any, weights_cache: Path) -> None:
    memory.pipe_file("/models/tiny.gguf", b"broken on its way")
    with pytest.raises(WeightsError, match=r"memory://models/tiny\.gguf"):
        fetch_weights("memory://models/tiny.gguf", SHA)
    assert [path.suffix for path in weights_cache.iterdir()] == [".lock"]
    memory.pipe_file("/models/tiny.gguf", CONTENT)
    assert fetch_weights("memory://models/tiny.gguf", SHA).read_bytes() == CONTENT


def test_a_copy_that_was_cut_short_is_done_again(memory: Any, weights_cache: Path) -> None:
    memory.pipe_file("/models/tiny.gguf", CONTENT)
    place = fetch_weights("memory://models/tiny.gguf")
    place.parent.rename(weights_cache / f"{place.parent.name}.partial")
    assert fetch_weights("memory://models/tiny.gguf").read_bytes() == CONTENT


def test_a_missing_remote_file_is_named(memory: Any) -> None:
    for files in (None, FILES):
        with pytest.raises(FileNotFoundError, match="memory://models/none"):
            fetch_weights("memory://models/none", files=files)


def test_weights_can_be_looked_for_without_fetching_them(memory: Any, weights_cache: Path) -> None:
    memory.pipe_file("/models/tiny.gguf", CONTENT)
    check("memory://models/tiny.gguf")
    check("starter:token-classifier")
    with pytest.raises(FileNotFoundError, match="memory://models/none"):
        check("memory://models/none")
    assert not weights_cache.exists()


def test_the_error_for_a_scheme_names_its_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> None:
        raise ImportError("no module")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(WeightsError, match="pip install huggingface_hub"):
        fetch_weights("hf://someone/some-model", files=FILES)


def test_a_folder_on_a_web_server(tmp_path: Path) -> None:
    """A web server lists nothing: the names that a model may have are asked for."""
    model_folder(tmp_path / "site" / "model")
    (tmp_path / "site" / "model" / "vocab.txt").unlink()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(tmp_path / "site"))

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        uri = f"http://127.0.0.1:{server.server_port}/model"
        place = fetch_weights(uri, SHA, FILES)
        assert sorted(path.name for path in place.iterdir()) == ["config.json", "model.onnx"]
        assert fetch_weights(f"{uri}/model.onnx", SHA).read_bytes() == CONTENT
        with pytest.raises(FileNotFoundError, match=uri):
            fetch_weights(f"{uri}/none.gguf")
        server.shutdown()


def test_several_processes_fetch_once(tmp_path: Path) -> None:
    """Each process of the pool asks for the same weights; the copy happens under a lock."""
    source = tmp_path / "store" / "tiny.gguf"
    source.parent.mkdir()
    source.write_bytes(CONTENT * 100_000)
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        places = pool.map(_fetch, [f"local://{source}"] * 3)
    assert len(set(places)) == 1
    assert Path(places[0]).stat().st_ino != source.stat().st_ino
    assert Path(places[0]).read_bytes() == source.read_bytes()


def _fetch(uri: str) -> str:
    return str(fetch_weights(uri))


def test_the_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder().name == "cache"
    monkeypatch.delenv("MEDSPAN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/medspan")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "medspan"


def test_the_model_file_of_the_card_is_complete() -> None:
    root = ROOT
    name = "bert_token_classifier_ner_clinical_trials_abstracts_onnx"
    model = load_model(root / "configs" / "models" / f"{name}.yaml")
    assert model.name == name
