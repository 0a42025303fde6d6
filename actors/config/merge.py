"""Configuration of merging the entities of several models."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from actors.config.base import ConfigSection

OverlapPolicy = Literal["longest", "score", "priority", "all"]


class Merge(ConfigSection):
    """Resolution of overlapping entities; see ``actors.merge`` for the rules."""

    overlaps: OverlapPolicy = Field(
        default="all",
        description="Which of several overlapping entities to keep. longest: the longest; score: "
        "the highest score; priority: the model that comes first in `priority`; all: every one "
        "(identical spans with the same label are always merged into one entity).",
    )
    priority: tuple[str, ...] = Field(
        default=(), description="Model names, most trusted first; default: the order of the steps."
    )
