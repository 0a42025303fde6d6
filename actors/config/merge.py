"""How the entities of several models become one list."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from actors.config.base import Section

Policy = Literal["longest", "score", "priority", "all"]


class Merge(Section):
    """What happens where entities overlap; see ``actors.merge`` for the rules."""

    overlaps: Policy = Field(
        default="all",
        description="Which of several overlapping entities stay. longest: the longest; "
        "score: the highest score; priority: the model that stands first in `priority`; "
        "all: every one (the same span and label said twice is one entity in any case).",
    )
    priority: tuple[str, ...] = Field(
        default=(), description="Model names, most trusted first; default: the order of the steps."
    )
