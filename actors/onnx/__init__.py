"""ONNX token classifiers: the only room that imports onnxruntime."""

from __future__ import annotations

from actors.onnx.backend import ModelLost, OnnxBackend
from actors.onnx.folder import ModelFileError

__all__ = ["ModelFileError", "ModelLost", "OnnxBackend"]
