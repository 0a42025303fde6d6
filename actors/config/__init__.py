"""The model half of the configuration: one YAML file describes one model.

Unknown keys are errors. Relative paths in a file are resolved against the folder of that file.
``load_model`` takes a path, or ``starter:<name>`` for a model that ships with the package.
"""

from __future__ import annotations

from actors.config.base import ConfigSection, LabelFilter, Weights, fingerprint
from actors.config.gguf import GgufContext, GgufModel, GgufSampling, GgufWeights
from actors.config.gliner import GlinerDecode, GlinerModel, GlinerPrompt
from actors.config.load import ConfigError, ModelConfig, load_model, parse_model, read_yaml
from actors.config.onnx import Decode, OnnxModel, OnnxSession, Windowing
from actors.config.result_versions import RESULTS, results_of
from actors.config.vision import ImageOptions

__all__ = [
    "RESULTS",
    "ConfigError",
    "ConfigSection",
    "Decode",
    "GgufContext",
    "GgufModel",
    "GgufSampling",
    "GgufWeights",
    "GlinerDecode",
    "GlinerModel",
    "GlinerPrompt",
    "ImageOptions",
    "LabelFilter",
    "ModelConfig",
    "OnnxModel",
    "OnnxSession",
    "Weights",
    "Windowing",
    "fingerprint",
    "load_model",
    "parse_model",
    "read_yaml",
    "results_of",
]
