"""The fingerprint of a pipeline: equal ones make the same rows of the same documents."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actors.config import RESULTS, fingerprint, results_of
from actors.config.base import Stated
from actors.config.context import Context
from actors.config.gguf_parts import gguf_parts
from actors.config.linking import LinkedVocabulary, Linking
from actors.config.relations import Relations
from actors.model_folder import CLASSIFIER_FILES, FolderFiles
from actors.weights import digest, folder_files, local_files, local_path
from pipelines.config import LoadedPipeline
from pipelines.deidentification import Deidentification
from pipelines.source.listing import list_files
from pipelines.stages import StageConfig

if TYPE_CHECKING:
    from actors.linking import Manifest


def pipeline_fingerprint(loaded: LoadedPipeline) -> str:
    """16 hex digits that follow from the identity of every stage (guidelines and prompts are in
    it), its weights, the merge, the columns read, and the RESULTS numbers of the rooms involved.

    Pools, paths, unit sizes and medspan's version are not in it. Local weights are digested (a
    second a GB) unless their configuration states the SHA-256; remote ones go by the version that
    their store gives. Raises ConfigError where there are no weights.
    """
    models: list[dict[str, Any]] = []
    for stage in loaded.stages:
        if stage.second_look:
            continue  # it follows from the models and from the section deidentify
        models.append(
            {
                "model": stage.config.identity(),
                "results": results_of(stage.kind),
                "weights": _weights(stage.config),
            }
        )
    pipeline = loaded.pipeline
    content = {
        "stages": models,
        "merge": pipeline.merge.identity(),
        "source": pipeline.source.identity(),
        "results": RESULTS["merge"],
    }
    return fingerprint(content)


def vocabularies_of(loaded: LoadedPipeline) -> tuple[dict[str, str], ...]:
    """Name, version and digest of the vocabularies that codes are from. Raises VocabularyError
    where one cannot be read."""
    return tuple(
        {"name": one.name, "version": one.version, "digest": one.digest}
        for stage in loaded.stages
        if isinstance(stage.config, Linking)
        for one in _manifests(stage.config)
    )


def _manifests(linking: Linking) -> list[Manifest]:
    from actors.linking import read_manifest  # here: its libraries are for who links alone

    return [read_manifest(Path(one.index)) for one in linking.vocabularies]


def _weights(model: StageConfig) -> list[str]:
    if isinstance(model, Linking):
        manifests = zip(model.vocabularies, _manifests(model), strict=True)
        return [digest for one, made in manifests for digest in _digests(one, made)]
    if isinstance(model, Relations):
        return []
    if isinstance(model, Context):
        weights = model.classifier and model.classifier.weights
        return (
            [] if not weights else _file(*weights.files[0], CLASSIFIER_FILES.chosen(weights.file))
        )
    if isinstance(model, Deidentification):
        return _release(model)
    if model.weights is None:  # what comes in the package of the reader
        return [version("rapidocr")]
    files = folder_files(model)
    return [line for file in model.weights.files for line in _file(*file, files)]


def _digests(vocabulary: LinkedVocabulary, made: Manifest) -> list[str]:
    """Identify an index by its digest, with those of its vectors only if they are used."""
    if vocabulary.embedding is None or made.embedding is None:
        return [made.digest]
    return [made.digest, made.embedding.digest, made.embedding.model]


def _release(section: Deidentification) -> list[str]:
    from pipelines.release import release_identity  # here: its libraries are an extra

    return release_identity(section)


def _file(uri: str, sha256: Stated, files: FolderFiles | None) -> list[str]:
    """Identify a model's files: the first by their stated SHA-256, the rest by their content, or by
    the version in their store."""
    stated = () if sha256 is None else (sha256,) if isinstance(sha256, str) else sha256
    if local_path(uri) is None:
        if files is not None:
            chosen = [] if files.models[1:] else list(files.models)
            return [*stated, *chosen] if stated else [*_versions(uri), *chosen]
        rest = gguf_parts(uri)[len(stated) :]
        return [*stated, *(line for part in rest for line in _versions(part))]
    found = local_files(uri, files)
    return [*stated, *(f"{file.name} {digest(file)}" for file in found[len(stated) :])]


def _versions(uri: str) -> list[str]:
    return [f"{Path(file.uri).name} {file.version}" for file in list_files([uri], "text")]
