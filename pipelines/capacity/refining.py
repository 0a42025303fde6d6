"""Main memory of the stages that refine entities, in each process that runs them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from actors.config.context import Context
from actors.config.linking import Linking
from actors.config.onnx import FolderWeights
from actors.memory import encoder_main_memory
from actors.weights import fetch_folder
from pipelines.stages import Stage

_GB = 1e9


@dataclass(frozen=True, slots=True)
class RefiningMemory:
    """Main memory of a stage without actors, in GB by purpose.

    ``needs_gb``: in each process that runs it: the tasks that write units, or a replica.
    ``shared_gb``: files mapped into memory, whose pages all processes of a node share.
    """

    stage: str
    needs_gb: dict[str, float]
    shared_gb: dict[str, float]


def refining_memory(stages: Iterable[Stage]) -> Iterator[RefiningMemory]:
    """The memory of those refining stages that load a model or map a vocabulary.

    Raises VocabularyError, WeightsError or FileNotFoundError if their files are missing.
    """
    for stage in stages:
        if isinstance(stage.config, Context) and stage.config.classifier is not None:
            yield RefiningMemory(stage.name, _model(stage.config.classifier.weights), {})
        elif isinstance(stage.config, Linking):
            yield _linking(stage.name, stage.config)


def _linking(name: str, linking: Linking) -> RefiningMemory:
    from actors.linking import read_manifest  # imported here: only linking needs its libraries
    from actors.linking.vectors import VECTORS_FILE

    needs: dict[str, float] = {}
    shared: dict[str, float] = {}
    for vocabulary in linking.vocabularies:
        folder = Path(vocabulary.index)
        of = read_manifest(folder).name
        sizes = {path.name: path.stat().st_size for path in folder.glob("*.arrow")}
        vectors = sizes.pop(VECTORS_FILE, 0)
        shared[f"{of} index"] = round(sum(sizes.values()) / _GB, 3)
        if vocabulary.embedding is not None:
            shared[f"{of} vectors"] = round(vectors / _GB, 3)
            model = _model(vocabulary.embedding.weights)
            needs |= {f"{of} {part}": size for part, size in model.items()}
    return RefiningMemory(name, needs, shared)


def _model(weights: FolderWeights) -> dict[str, float]:
    parts = encoder_main_memory(fetch_folder(weights), weights.file)
    return {part: round(size / _GB, 3) for part, size in parts.items()}
