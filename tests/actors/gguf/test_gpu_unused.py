"""A share of a GPU that the runtime cannot use is an error before work starts, not a slow run."""

from __future__ import annotations

import ctypes
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from actors import Extractor
from actors.config import ConfigError, GgufModel, load_model
from actors.config.ocr import load_ocr
from actors.extractor import Share
from actors.memory import cuda, onnx_cuda_problem
from actors.ocr import networks

A10G = 24 * 10**9
RUNS_ON_CPU = r"num_gpus 0\.5 but would run on the CPU"


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that this machine does not have."""
    monkeypatch.setattr("actors.onnx.session.gpu_memory", lambda: A10G)
    monkeypatch.setattr(networks, "gpu_memory", lambda: A10G)
    monkeypatch.setattr("onnxruntime.preload_dlls", lambda: None)


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """cuDNN, as a loader says that it is missing."""
    said = "libcudnn.so.9: cannot open shared object file: No such file or directory"

    def load(_: str) -> None:
        raise OSError(said)

    monkeypatch.setattr(cuda, "ctypes", SimpleNamespace(CDLL=load))
    monkeypatch.setattr(Path, "is_file", _is_file(Path.is_file))


def _is_file(real: Any) -> Any:
    return lambda path: path.name.endswith("_cuda.so") or real(path)


def test_llama_cpp_without_gpu_support_is_an_error_with_the_command(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("llama_cpp.llama_supports_gpu_offload", lambda: False)
    monkeypatch.setattr("llama_cpp.llama_print_system_info", lambda: b"CPU : AVX2 = 1 |")
    with pytest.raises(ConfigError, match=RUNS_ON_CPU) as refused:
        Extractor(load_model("starter:extractor"), Share(threads=1, gpu=0.5))
    said = str(refused.value)
    assert "built without GPU support" in said
    assert 'CMAKE_ARGS="-DGGML_CUDA=on" pip install --force-reinstall' in said
    assert "--no-cache-dir" in said
    assert "pool.cpu_fallback" in said
    share = Share(threads=1, gpu=0.5, cpu_fallback=True)
    with caplog.at_level(logging.WARNING), Extractor(load_model("starter:extractor"), share) as one:
        assert one.fingerprint
    assert any("runs on the CPU" in record.message for record in caplog.records)


def test_llama_cpp_without_gpu_support_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llama_cpp.llama_supports_gpu_offload", lambda: False)
    monkeypatch.setattr("llama_cpp.llama_print_system_info", lambda: b"CUDA : ARCHS = 900 |")
    with pytest.raises(ConfigError, match=r"llama\.cpp finds no GPU"):
        Extractor(load_model("starter:extractor"), Share(threads=1, gpu=0.5))


def test_layers_that_are_to_be_on_the_cpu_are_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llama_cpp.llama_supports_gpu_offload", lambda: False)
    content = load_model("starter:extractor").model_dump()
    content["context"]["n_gpu_layers"] = 0
    with Extractor(GgufModel.model_validate(content), Share(threads=1, gpu=0.5)) as one:
        assert one.fingerprint


@pytest.mark.usefixtures("card", "missing")
def test_onnxruntime_that_fell_back_is_an_error_with_the_command(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("actors.onnx.session._logged_cpu", False)
    model = load_model("starter:token-classifier")
    with pytest.raises(ConfigError, match=RUNS_ON_CPU) as refused:
        Extractor(model, Share(threads=1, gpu=0.5))
    assert "libcudnn.so.9 is missing: pip install" in str(refused.value)
    share = Share(threads=1, gpu=0.5, cpu_fallback=True)
    with caplog.at_level(logging.WARNING), Extractor(model, share) as one:
        assert one.fingerprint
    assert any("libcudnn.so.9 is missing" in record.message for record in caplog.records)


def test_gpu_share_without_a_gpu_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.onnx.session.gpu_memory", lambda: None)
    with pytest.raises(ConfigError, match="no CUDA GPU is visible"):
        Extractor(load_model("starter:token-classifier"), Share(threads=1, gpu=0.5))


@pytest.mark.usefixtures("card", "missing")
def test_a_reader_of_pictures_that_fell_back_is_an_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class OnCpu:
        def __init__(self, _: object) -> None:
            inner = SimpleNamespace(get_providers=lambda: ["CPUExecutionProvider"])
            self.session = SimpleNamespace(session=inner)
            self.postprocess_op = SimpleNamespace(character=["a"])

    monkeypatch.setattr(networks, "TextDetector", OnCpu)
    monkeypatch.setattr(networks, "TextRecognizer", OnCpu)
    with pytest.raises(ConfigError, match=r"libcudnn\.so\.9 is missing"):
        networks.OcrNetworks(load_ocr("starter:ocr"), 1, 0.5)
    with caplog.at_level(logging.WARNING):
        networks.OcrNetworks(load_ocr("starter:ocr"), 1, 0.5, cpu_fallback=True)
    assert caplog.records
    monkeypatch.setattr(networks, "gpu_memory", lambda: None)
    with pytest.raises(ConfigError, match="no CUDA GPU is visible"):
        networks.OcrNetworks(load_ocr("starter:ocr"), 1, 0.5)


def test_a_package_without_cuda_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_file", lambda path: False)
    assert "pip install --force-reinstall onnxruntime-gpu" in onnx_cuda_problem()
    monkeypatch.undo()
    monkeypatch.setattr(Path, "is_file", lambda path: True)
    monkeypatch.setattr(cuda, "ctypes", SimpleNamespace(CDLL=lambda _: ctypes.CDLL(None)))
    assert "nvidia-smi" in onnx_cuda_problem()
