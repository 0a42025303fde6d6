"""The `prompt` section of a generative model's file: prompt, answer format and grounding."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from actors.config.base import ConfigSection
from actors.guideline import Guideline

PromptForm = Literal["template", "nuextract", "entity-list", "prose"]
Verbatim = Literal["words", "chars", "off"]
JsonStyle = Literal["spaced", "compact"]

SPARK_NAMES = {
    "systemPrompt": "system",
    "chatTemplate": "chat_template",
    "reasoningBudget": "reasoning_budget",
}
"""Spark NLP's setter names in this section; useChatTemplate is accepted too."""


class GroundingOptions(ConfigSection):
    """Grounding of mentions in the document; see ``actors.grounding``."""

    fuzzy_threshold: float = Field(
        default=0.85,
        ge=0.5,
        le=1,
        description="Minimum similarity of a fuzzy match, from 0 to 1; 1 disables fuzzy matching.",
    )
    mark_all: bool = Field(
        default=False,
        description="Return every further occurrence of a found mention as an entity too.",
    )


class PromptSection(ConfigSection):
    """Prompt and answer format of a generative model."""

    format: PromptForm = Field(
        description="template: a JSON template under the prompt's headings (jsl_meds_ner_2b). "
        "nuextract: NuExtract 2.0's own format. entity-list: a JSON list of entity and type. "
        "prose: prompt in, text out.",
    )
    guideline: Guideline | str | None = Field(
        default=None,
        description="What to extract: the path of a guideline file, or the guideline inline.",
    )
    instruction: str | None = Field(
        default=None,
        description="prose: the prompt for every document whose row has no prompt of its own.",
    )
    chat_template: str = Field(
        default="gguf",
        description="gguf: from the model's metadata; a name (chatml, llama2, llama3, gemma, "
        "mistral, phi3, zephyr, vicuna, none); or a Jinja template inline.",
    )
    template_kwargs: dict[str, bool | int | float | str | None] = Field(
        default_factory=dict,
        description="Variables of the chat template, such as enable_thinking or date_string. A "
        "name that the template does not read is an error.",
    )
    date: str = Field(
        default="2024-07-26",
        pattern=r"^\d{4}-\d{2}-\d{2}$",
        description="The date for templates that print today's date: fixed, so that results do "
        "not change from day to day. The default is the date that Llama 3's "
        "templates print without a clock.",
    )
    system: str | None = Field(
        default=None, description="System prompt; default: the format's own, if it has one."
    )
    constrained: bool = Field(
        default=True, description="Constrain the output to the format's JSON with a grammar."
    )
    verbatim: Verbatim = Field(
        default="words",
        description="How the grammar restricts verbatim strings to text copied from the document. "
        "words: whole words and numbers; chars: also parts of words; off: any string, flagged by "
        "grounding if it is not in the document.",
    )
    max_items: int = Field(default=64, ge=1, le=1000, description="Maximum items in a JSON list.")
    max_length: int = Field(
        default=200, ge=1, le=10_000, description="Maximum characters in a JSON string."
    )
    json_style: JsonStyle = Field(
        default="spaced",
        description="Whitespace of the output. spaced: a space after comma and colon, as most "
        "models were trained; compact: none, which needs fewer tokens overall but leaves more of "
        "them to the model rather than the grammar.",
    )
    reasoning_budget: int = Field(
        default=-1,
        ge=-1,
        description="Maximum tokens of a thinking block; then it is closed and the model must "
        "answer, under the grammar if there is one. -1: limited only by the context, or with a "
        "grammar by half of what is left of it. 0: no thinking; a template that knows "
        "enable_thinking gets it. Spark NLP: reasoningBudget.",
    )
    tables: bool = Field(
        default=False,
        description="prose: return tables and lists of a markdown answer as rows in `structured`.",
    )
    check: bool = Field(
        default=False,
        description="prose: fact-check the answer. Each drug, dose, frequency, duration, quantity, "
        "date, name and word in a foreign script becomes an entity, grounded in the document's "
        "text or flagged as ungrounded. A dose, frequency or duration of a drug is grounded only "
        "where the document states it of that drug. Needs the extra lake.",
    )
    examples: bool = Field(
        default=True, description="Include the guideline's examples in the prompt."
    )
    grounding: GroundingOptions = GroundingOptions()

    @model_validator(mode="before")
    @classmethod
    def _spark(cls, content: Any) -> Any:
        """Accept Spark NLP's setter names, as the other sections do."""
        if not isinstance(content, dict):
            return content
        renamed = {SPARK_NAMES.get(key, key): value for key, value in content.items()}
        if len(renamed) < len(content):
            raise ValueError("a parameter is set twice: by its own name and by Spark NLP's")
        used = renamed.pop("useChatTemplate", True)
        if used is False and renamed.setdefault("chat_template", "none") != "none":
            raise ValueError("useChatTemplate: false conflicts with chat_template")
        return renamed

    @field_validator("date")
    @classmethod
    def _a_day(cls, value: str) -> str:
        date.fromisoformat(value)
        return value

    @model_validator(mode="after")
    def _guideline_fits(self) -> PromptSection:
        if self.format == "prose":
            if self.guideline is not None:
                raise ValueError("format prose takes `instruction`, not a guideline")
        elif self.tables or self.check:
            raise ValueError("`tables` and `check` require format prose")
        elif self.guideline is None:
            raise ValueError(f"format {self.format} needs a guideline")
        elif self.instruction is not None:
            raise ValueError("`instruction` requires format prose; other formats use the guideline")
        return self
