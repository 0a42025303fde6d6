"""What every model file shares: strictness, weights, and the fingerprint."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A part of a configuration file: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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


def fingerprint(config: BaseModel, **more: str) -> str:
    """A stable 16-hex-digit digest of a configuration: the staleness test of enrichment.

    ``more`` adds facts that the file does not hold, such as the digest of the weights.
    Raises TypeError where a value has no stable serialisation.
    """
    content = {"config": config.model_dump(mode="json"), "more": dict(sorted(more.items()))}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
