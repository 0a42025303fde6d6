"""Common implementation of the JSON formats: prompt layout, grammar, parsed answer."""

from __future__ import annotations

from collections.abc import Callable

from actors.config.prompt import PromptSection
from actors.guideline import Guideline
from actors.prompts.chat import Layout
from actors.prompts.grammar import Grammar
from actors.prompts.json_answer import Answer, Bounds
from actors.prompts.json_reader import JsonNode, read, split_reasoning
from actors.prompts.types import ParsedAnswer, PlacedMention, Prompt, PromptError

Start = Callable[[Grammar], str]
Understood = tuple[list[PlacedMention], str | None, list[str], bool]
"""The mentions, the filled template, the problems, and whether a grammar limit was reached."""


class JsonFormat:
    """A format whose answer is JSON, parameterised by layout, grammar start and interpretation."""

    def __init__(
        self,
        section: PromptSection,
        layout: Layout,
        start: Start,
        understand: Callable[[str, list[JsonNode]], Understood],
    ) -> None:
        self._section = section
        self._layout = layout
        self._start = start
        self._understand = understand

    def render(self, text: str, prompt: str | None = None, pictures: int = 0) -> Prompt:
        """Render the prompt for a document or one of its windows, with ``pictures`` images before
        it."""
        if prompt is not None:
            raise PromptError(
                f"the document has its own prompt, but format {self._section.format} takes none"
            )
        return self._layout.fill(text, pictures)

    def grammar(self, text: str | None) -> str | None:
        """Return the Lark grammar of the answers allowed for ``text`` (None: an image whose text is
        unknown); None if unconstrained."""
        if not self._section.constrained:
            return None
        grammar = Grammar(self._section, text)
        return grammar.lark(self._start(grammar))

    def parse(self, completion: str, begun: bool = False) -> ParsedAnswer:
        """See Format.parse."""
        thought = split_reasoning(completion, begun)
        if not thought.closed:
            problems = ("truncated: the reasoning never ends",)
            return ParsedAnswer(reasoning=thought.reasoning, problems=problems)
        values, form_problems = read(completion, thought.start)
        mentions, structured, content_problems, bounded = self._understand(completion, values)
        return ParsedAnswer(
            tuple(mentions),
            structured,
            thought.reasoning,
            (*form_problems, *content_problems),
            completion[thought.start :].strip(),
            bounded,
        )


def by_guideline(
    section: PromptSection, guideline: Guideline
) -> Callable[[str, list[JsonNode]], Understood]:
    """Return the function that interprets an answer keyed by label."""

    def understand(completion: str, values: list[JsonNode]) -> Understood:
        bounds = Bounds.of(section)
        answer = Answer(guideline, completion, values, bounds)
        return answer.mentions, answer.structured, answer.problems, bounds.met

    return understand
