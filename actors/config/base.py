"""What every model file shares: strictness, weights, and the fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from actors.spans import Entity


class Section(BaseModel):
    """A part of a configuration file: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    RUNNING: ClassVar[frozenset[str]] = frozenset()
    """Fields that cannot change an answer: threads, batch sizes, memory mapping, paths."""

    def identity(self) -> dict[str, Any]:
        """The part of this section that can change an answer, as JSON values.

        Weights count by what is in their files, so their paths are left out here; see
        ``fingerprint``.
        """
        return {
            name: _identity_of(getattr(self, name))
            for name in type(self).model_fields
            if name not in self.RUNNING
        }


def _identity_of(value: Any) -> Any:
    if isinstance(value, Section):
        return value.identity()
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, tuple | list):
        return [_identity_of(item) for item in value]
    if isinstance(value, dict):
        return {key: _identity_of(item) for key, item in value.items()}
    return value


class Weights(Section):
    """Where a model's files are."""

    model: Annotated[
        str,
        Field(
            description="A path, file://, s3://, hf://, https:// or starter: URI. "
            "For ONNX a folder with model.onnx, config.json and tokenizer.json."
        ),
    ]
    sha256: Annotated[
        str | None,
        Field(
            pattern="^[0-9a-f]{64}$",
            description="SHA-256 of the weights file (model.onnx or the GGUF), checked after "
            "fetching.",
        ),
    ] = None

    RUNNING = frozenset({"model", "sha256"})

    @property
    def files(self) -> tuple[tuple[str, str | None], ...]:
        """Every file or folder with its expected SHA-256, the model first."""
        return ((self.model, self.sha256),)


class LabelFilter(Section):
    """Which labels come out, under what names, from what score; in the order of the fields.

    The words of Spark NLP's NerConverterInternal: whiteList, blackList, threshold, replaceLabels.
    """

    white_list: tuple[str, ...] = Field(
        (), description="Only these labels; empty means all. Names before replacement."
    )
    black_list: tuple[str, ...] = Field((), description="Never these labels.")
    threshold: float = Field(0.0, ge=0, le=1, description="Least score of an entity.")
    thresholds: dict[str, float] = Field(
        default_factory=dict, description="Least score per label, instead of `threshold`."
    )
    replace: dict[str, str] = Field(
        default_factory=dict, description="Old label name to new label name, applied last."
    )

    def unknown(self, known: Iterable[str]) -> list[str]:
        """Labels that the filter names and that are not among the known ones, sorted."""
        named = {*self.white_list, *self.black_list, *self.thresholds, *self.replace}
        return sorted(named - set(known))

    def names(self, known: Iterable[str]) -> list[str]:
        """The labels that can come out, under their new names, sorted."""
        wanted = set(self.white_list or known) - set(self.black_list)
        return sorted({self.replace.get(label, label) for label in wanted})

    def keeps(self, label: str, score: float | None) -> bool:
        """Whether an entity of this label and score comes out."""
        if self.white_list and label not in self.white_list:
            return False
        least = self.thresholds.get(label, self.threshold)
        return label not in self.black_list and (score is None or score >= least)

    def apply(self, entities: Iterable[Entity]) -> list[Entity]:
        """The entities that come out, under their new names."""
        return [
            replace(entity, label=self.replace.get(entity.label, entity.label))
            for entity in entities
            if self.keeps(entity.label, entity.score)
        ]


def fingerprint(content: BaseModel | Mapping[str, Any], **more: str) -> str:
    """A stable digest of 16 hex digits; equal digests, equal answers.

    ``content``: a section, of which the identity counts, or JSON values. ``more`` adds facts that
    no file holds, such as the digest of the weights. Raises TypeError for a value without a stable
    serialisation.
    """
    value = _identity_of(content) if isinstance(content, BaseModel) else dict(content)
    canonical = json.dumps(
        {"content": value, "more": dict(sorted(more.items()))},
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=True,
    )
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
