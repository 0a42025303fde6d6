"""The online way: the Extractors of batch behind HTTP, with a page.

``app`` is the HTTP application and knows nothing of Ray: it asks a ``Models`` (``service``), which
is ``LocalModels`` in one process or ``hosted``'s replicas in a cluster. ``catalogue`` says what can
be asked for, ``schema`` and ``errors`` what goes over the wire, ``admission``, ``tokens`` and
``guard`` what is let in, ``build`` makes the Serve application.
"""

from __future__ import annotations

from pipelines.serve.app import create_app
from pipelines.serve.catalogue import Catalogue, Target, catalogue_of
from pipelines.serve.service import LocalModels, ModelFacts, Models, ModelUnavailable, QueueFull

__all__ = [
    "Catalogue",
    "LocalModels",
    "ModelFacts",
    "ModelUnavailable",
    "Models",
    "QueueFull",
    "Target",
    "catalogue_of",
    "create_app",
]
