"""GLiNER models: entities of any labels, found by comparing spans of text with labels' names."""

from __future__ import annotations

from actors.gliner_folder import GlinerFolder, read_gliner_folder
from actors.onnx.gliner.gliner_reader import GlinerReader

__all__ = ["GlinerFolder", "GlinerReader", "read_gliner_folder"]
