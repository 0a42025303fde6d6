"""Entities to codes of the user's vocabularies.

`build` makes an index of a vocabulary once; `LinkingStage` maps it into memory and looks entities
up in it. What it knows nothing of: files of configurations, Ray, and which models said what.
"""

from __future__ import annotations

from actors.linking.build import build
from actors.linking.index import Manifest, read_manifest
from actors.linking.readers import read
from actors.linking.stage import LinkingStage
from actors.linking.vocabulary import VocabularyError, gather

__all__ = [
    "LinkingStage",
    "Manifest",
    "VocabularyError",
    "build",
    "gather",
    "read",
    "read_manifest",
]
