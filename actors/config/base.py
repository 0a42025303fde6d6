"""Base classes for model files: strict sections, weights, label filter and fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from actors.spans import Entity


class ConfigSection(BaseModel):
    """A section of a configuration file: frozen; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    RUNNING: ClassVar[frozenset[str]] = frozenset()
    """Fields that cannot change an answer: threads, batch sizes, memory mapping, paths."""

    def identity(self) -> dict[str, Any]:
        """Return the part of this section that can change an answer, as JSON values.

        Weights are identified by file contents, so their paths are excluded; see ``fingerprint``.
        """
        return {
            name: _identity_of(getattr(self, name))
            for name in type(self).model_fields
            if name not in self.RUNNING
        }


def _identity_of(value: Any) -> Any:
    if isinstance(value, ConfigSection):
        return value.identity()
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, tuple | list):
        return [_identity_of(item) for item in value]
    if isinstance(value, dict):
        return {key: _identity_of(item) for key, item in value.items()}
    return value


Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Stated = str | tuple[str, ...] | None
"""The SHA-256 that a model file states: of the weights' first file, or of each."""


class Weights(ConfigSection):
    """Location of a model's files."""

    model: Annotated[
        str,
        Field(
            description="A path, file://, s3://, hf://, https:// or starter: URI, or "
            "package:<name>/<file> for a file of an installed Python package. For ONNX a folder "
            "with the model, config.json and tokenizer.json; a GGUF in parts is named by its first "
            "one (-00001-of-0000N.gguf)."
        ),
    ]
    sha256: Annotated[
        Sha256 | tuple[Sha256, ...] | None,
        Field(
            description="SHA-256 of the weights file (the ONNX model or the GGUF), verified after "
            "fetching. For weights in several files: of the first, or a list with one for each.",
        ),
    ] = None

    RUNNING = frozenset({"model", "sha256"})

    @property
    def files(self) -> tuple[tuple[str, Stated], ...]:
        """Every file or folder with its expected SHA-256; the model comes first."""
        return ((self.model, self.sha256),)


class LabelFilter(ConfigSection):
    """Filter and rename labels and apply score thresholds, in the order of the fields.

    Equivalent to whiteList, blackList, threshold and replaceLabels of Spark NLP's
    NerConverterInternal.
    """

    white_list: tuple[str, ...] = Field(
        (), description="Keep only these labels (names before replacement); empty keeps all."
    )
    black_list: tuple[str, ...] = Field((), description="Drop these labels.")
    threshold: float = Field(0.0, ge=0, le=1, description="Minimum score of an entity.")
    thresholds: dict[str, float] = Field(
        default_factory=dict, description="Minimum score per label; overrides `threshold`."
    )
    replace: dict[str, str] = Field(
        default_factory=dict, description="Maps old label names to new ones; applied last."
    )

    def unknown(self, known: Iterable[str]) -> list[str]:
        """Return the labels that the filter names but ``known`` lacks, sorted."""
        named = {*self.white_list, *self.black_list, *self.thresholds, *self.replace}
        return sorted(named - set(known))

    def names(self, known: Iterable[str]) -> list[str]:
        """Return the labels that can appear in the output, under their new names, sorted."""
        kept = set(self.white_list or known) - set(self.black_list)
        return sorted({self.replace.get(label, label) for label in kept})

    def keeps(self, label: str, score: float | None) -> bool:
        """Return True if an entity with this label and score passes the filter."""
        if self.white_list and label not in self.white_list:
            return False
        least = self.thresholds.get(label, self.threshold)
        return label not in self.black_list and (score is None or score >= least)

    def apply(self, entities: Iterable[Entity]) -> list[Entity]:
        """Return the entities that pass the filter, under their new label names."""
        return [
            replace(entity, label=self.replace.get(entity.label, entity.label))
            for entity in entities
            if self.keeps(entity.label, entity.score)
        ]


def fingerprint(content: BaseModel | Mapping[str, Any], **more: str) -> str:
    """Return a stable digest of 16 hex digits; equal digests, equal answers.

    ``content`` is a section, of which only the identity counts, or JSON values. ``more`` adds facts
    that are in no file, such as the digest of the weights. Raises TypeError for a value without a
    stable serialisation.
    """
    value = _identity_of(content) if isinstance(content, BaseModel) else dict(content)
    canonical = json.dumps(
        {"content": value, "more": dict(sorted(more.items()))},
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=True,
    )
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
