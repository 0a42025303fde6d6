"""The weights of a model file: what is read of them depends on the kind of model."""

from __future__ import annotations

from pathlib import Path

from actors.config import GgufModel, GlinerModel, OnnxModel
from actors.config.ocr import OcrModel
from actors.config.onnx import FolderWeights
from actors.gliner_folder import GLINER_FILES
from actors.model_folder import CLASSIFIER_FILES, FolderFiles
from actors.weights.fetch import check, fetch_weights

OCR_FILES = FolderFiles(("detector.onnx",), ("recognizer.onnx",))

_Model = OnnxModel | GlinerModel | GgufModel | OcrModel


def folder_files(model: _Model) -> FolderFiles | None:
    """Return the files that are read from the folder of a model's weights; None if it is a file."""
    if isinstance(model, OnnxModel):
        return CLASSIFIER_FILES.chosen(model.weights.file)
    if isinstance(model, GlinerModel):
        return GLINER_FILES.chosen(model.weights.file)
    return OCR_FILES if isinstance(model, OcrModel) else None


def fetch_folder(weights: FolderWeights) -> Path:
    """Return the local folder of a classifier, fetched and verified; see ``fetch_weights``."""
    return fetch_weights(weights.model, weights.sha256, CLASSIFIER_FILES.chosen(weights.file))


def fetch_model(model: OnnxModel | GlinerModel) -> Path:
    """Return the local folder of a model, fetched and verified; see ``fetch_weights``."""
    return fetch_weights(model.weights.model, model.weights.sha256, folder_files(model))


def check_model(model: _Model) -> None:
    """Raise FileNotFoundError or WeightsError if a file of a model is missing; fetches nothing."""
    if model.weights is not None:
        for uri, _ in model.weights.files:
            check(uri, folder_files(model))
