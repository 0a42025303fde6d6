"""ONNX token classifiers: the only package that imports onnxruntime."""

from __future__ import annotations

from actors.model_folder import ModelFileError
from actors.onnx.backend import ModelLost, OnnxBackend

__all__ = ["ModelFileError", "ModelLost", "OnnxBackend"]
