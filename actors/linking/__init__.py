"""Entities to codes of the user's vocabularies.

`build_index` writes the index of a vocabulary once; `LinkingStage` maps it into memory and looks
entities up in it. It knows nothing of configuration files, of Ray, or of which model found what.
"""

from __future__ import annotations

from actors.linking.build import build_index
from actors.linking.index import Manifest, read_manifest
from actors.linking.readers import read
from actors.linking.stage import LinkingStage
from actors.linking.vocabulary import VocabularyError, gather

__all__ = [
    "LinkingStage",
    "Manifest",
    "VocabularyError",
    "build_index",
    "gather",
    "read",
    "read_manifest",
]
