"""Model weights: from a URI to verified local files, downloaded once per node."""

from __future__ import annotations

from actors.weights.fetch import (
    cache_folder,
    check,
    fetch_weights,
    local_files,
    open_weights,
    weights_parts,
)
from actors.weights.locations import WeightsError, local_path
from actors.weights.model_weights import (
    OCR_FILES,
    check_model,
    fetch_folder,
    fetch_model,
    folder_files,
)
from actors.weights.verify import digest, weights_digest

__all__ = [
    "OCR_FILES",
    "WeightsError",
    "cache_folder",
    "check",
    "check_model",
    "digest",
    "fetch_folder",
    "fetch_model",
    "fetch_weights",
    "folder_files",
    "local_files",
    "local_path",
    "open_weights",
    "weights_digest",
    "weights_parts",
]
