"""The configuration of a GLiNER model: a model that finds entities of any labels."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from actors.config.base import ConfigSection, LabelFilter
from actors.config.onnx import FolderWeights, OnnxSession, Windowing
from actors.guideline import Guideline


class GlinerPrompt(ConfigSection):
    """Which labels are asked for, and in what words."""

    guideline: Guideline | str = Field(
        description="What to extract: a guideline file's path, or the guideline. A request may "
        "bring another. Of a label its name, definition and synonyms count."
    )
    ask: Literal["name", "definition", "both"] = Field(
        "name",
        description="What represents a label in the prompt. definition: its definition, if it "
        "has one; both: name, colon, definition.",
    )
    synonyms: bool = Field(
        False,
        description="Also prompt with each synonym. Its entities get the label; the prompt grows "
        "with each synonym.",
    )
    most_labels: int | None = Field(
        None,
        ge=1,
        description="Maximum labels per prompt; more labels need several prompts, and the text "
        "is processed once for each. Default: as many as fit in half a window.",
    )


class GlinerDecode(ConfigSection):
    """Decoding of scores into entities: greedy by score, and of two that conflict one stays."""

    splitter: Literal["model", "whitespace", "punctuation"] = Field(
        "model",
        description="How text is split into words; entities start and end with one. model: as in "
        "its gliner_config.json. whitespace: GLiNER's default, which keeps "
        "hyphenated words whole. punctuation: hyphens are separate, numbers with a "
        "point or comma stay whole.",
    )
    overlaps: Literal["flat", "nested"] = Field(
        "flat",
        description="flat: no two entities share a word. nested: one may lie within another.",
    )
    multi_label: bool = Field(False, description="Whether one span may have several labels.")


class GlinerLabels(LabelFilter):
    """Label filter, applied after scores have decided between overlapping entities."""

    threshold: float = Field(0.5, ge=0, le=1, description="Minimum score of an entity.")


class GlinerModel(ConfigSection):
    """A model file of kind gliner: a GLiNER model as its own tool exports it to ONNX."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    kind: Literal["gliner"]
    weights: FolderWeights
    prompt: GlinerPrompt
    window: Windowing = Windowing()
    decode: GlinerDecode = GlinerDecode()
    labels: GlinerLabels = GlinerLabels()
    session: OnnxSession = OnnxSession()

    RUNNING = frozenset({"session"})
