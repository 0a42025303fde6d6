"""The vocabularies that a pipeline links entities to, as they are listed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from actors.config.linking import Linking
from pipelines.serve.wire.responses import VocabularyOut
from pipelines.stages import Stage


def vocabularies_of(stages: Iterable[Stage]) -> list[VocabularyOut]:
    """The vocabularies of some stages, in their order, each index once.

    Raises VocabularyError where an index cannot be read.
    """
    linked = (stage.config for stage in stages if isinstance(stage.config, Linking))
    found = {one.index: one for config in linked for one in config.vocabularies}
    if not found:
        return []
    from actors.linking import read_manifest  # its libraries are needed by who links alone

    listed = []
    for one in found.values():
        manifest = read_manifest(Path(one.index))
        listed.append(
            VocabularyOut(
                name=manifest.name,
                version=manifest.version,
                concepts=manifest.concepts,
                terms=manifest.terms,
                link=one.link,
            )
        )
    return listed
