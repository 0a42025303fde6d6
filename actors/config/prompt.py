"""The `prompt` section of a generative model's file: what to ask, how, and how to place answers."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from actors.config.base import Section
from actors.guideline import Guideline

PromptForm = Literal["template", "nuextract", "entity-list", "prose"]
Verbatim = Literal["words", "chars", "off"]
JsonStyle = Literal["spaced", "compact"]

SPARK_NAMES = {
    "systemPrompt": "system",
    "chatTemplate": "chat_template",
    "reasoningBudget": "reasoning_budget",
}
"""Spark NLP's setter names of this section; useChatTemplate is understood too."""


class GroundingOptions(Section):
    """How the words of a model are found in the document; see ``actors.grounding``."""

    fuzzy_threshold: float = Field(
        default=0.85,
        ge=0.5,
        le=1,
        description="Least similarity of a fuzzy match, from 0 to 1; 1 turns fuzzy matching off.",
    )
    mark_all: bool = Field(
        default=False,
        description="Every further occurrence of a found mention becomes an entity too.",
    )


class PromptSection(Section):
    """How a generative model is asked and answered."""

    format: PromptForm = Field(
        description="template: a JSON template in the prompt's headings (jsl_meds_ner_2b). "
        "nuextract: NuExtract 2.0's own form. entity-list: a JSON list of entity and type. "
        "prose: prompt in, text out.",
    )
    guideline: Guideline | str | None = Field(
        default=None, description="What to extract: a guideline file's path, or the guideline."
    )
    instruction: str | None = Field(
        default=None,
        description="prose: what to ask of every document whose row brings no prompt of its own.",
    )
    chat_template: str = Field(
        default="gguf",
        description="gguf: from the model's metadata; a name (chatml, llama2, llama3, gemma, "
        "mistral, phi3, zephyr, vicuna, none); or a Jinja template inline.",
    )
    system: str | None = Field(
        default=None, description="The system turn; default: the format's own, where it has one."
    )
    constrained: bool = Field(
        default=True, description="Whether a grammar keeps the output to the format's JSON."
    )
    verbatim: Verbatim = Field(
        default="words",
        description="Whether verbatim strings can only be copied from the document. words: whole "
        "words and numbers; chars: also parts of words; off: any string, flagged by grounding "
        "where it is not in the document.",
    )
    max_items: int = Field(default=64, ge=1, le=1000, description="Most items of a JSON list.")
    max_length: int = Field(
        default=200, ge=1, le=10_000, description="Most characters of a JSON string."
    )
    json_style: JsonStyle = Field(
        default="spaced",
        description="The fixed white space of the output. spaced: a space after comma and colon, "
        "as most models were trained; compact: none, which makes fewer tokens in all, and more of "
        "those that a model decides one by one.",
    )
    reasoning_budget: int = Field(
        default=-1,
        ge=-1,
        description="Tokens of a thinking block at most; then it is closed and the model must "
        "answer. -1: as many as there is room for. Spark NLP: reasoningBudget.",
    )
    tables: bool = Field(
        default=False,
        description="prose: tables and lists of a markdown answer as rows in `structured`.",
    )
    check: bool = Field(
        default=False,
        description="prose: each dose, quantity, date, name and word in letters that the document "
        "lacks becomes an entity, with its place in the document's text or flagged as ungrounded.",
    )
    examples: bool = Field(
        default=True, description="Whether the guideline's examples are printed in the prompt."
    )
    grounding: GroundingOptions = GroundingOptions()

    @model_validator(mode="before")
    @classmethod
    def _spark(cls, content: Any) -> Any:
        """Spark NLP's setter names, as the other sections take them."""
        if not isinstance(content, dict):
            return content
        renamed = {SPARK_NAMES.get(key, key): value for key, value in content.items()}
        if len(renamed) < len(content):
            raise ValueError("a parameter is set twice, under its own and under Spark NLP's name")
        used = renamed.pop("useChatTemplate", True)
        if used is False and renamed.setdefault("chat_template", "none") != "none":
            raise ValueError("useChatTemplate is false, yet chat_template is set")
        return renamed

    @model_validator(mode="after")
    def _guideline_fits(self) -> PromptSection:
        if self.format == "prose":
            if self.guideline is not None:
                raise ValueError("prose asks with `instruction` and has no use for a guideline")
        elif self.tables or self.check:
            raise ValueError("`tables` and `check` are for format prose")
        elif self.guideline is None:
            raise ValueError(f"format {self.format} needs a guideline")
        elif self.instruction is not None:
            raise ValueError("`instruction` is for format prose; a guideline has its own")
        return self
