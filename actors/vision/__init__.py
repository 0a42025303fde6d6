"""Vision language models: images in the engine of the text models, through llama.cpp's mtmd.

``PageInputs`` presents images to a ``GenerativeBackend``. An image becomes a run of embeddings
(``Projector``), which the runner computes alongside the tokens of other documents.
"""

from __future__ import annotations

from actors.extras import optional_imports

with optional_imports("a vision model"):
    from actors.vision.page_inputs import PageInputs
    from actors.vision.projector import EncodedImage, Projector
    from actors.vision.vision_runner import VisionRunner

__all__ = ["EncodedImage", "PageInputs", "Projector", "VisionRunner"]
