"""What the JSON formats have in common: a layout filled, a grammar, a parsed answer."""

from __future__ import annotations

from collections.abc import Callable

from actors.config.prompt import PromptSection
from actors.guideline import Guideline
from actors.prompts.answers import Answer, Bounds
from actors.prompts.chat import Layout
from actors.prompts.grammar import Grammar
from actors.prompts.prompt import Parsed, Prompt, PromptError, Said
from actors.prompts.reading import Node, read, split_reasoning

Start = Callable[[Grammar], str]
Understood = tuple[list[Said], str | None, list[str], bool]
"""What was said, the template filled, the problems, and whether a bound of the grammar was met."""


class JsonFormat:
    """A format whose answer is JSON; what differs between them is given to it."""

    def __init__(
        self,
        section: PromptSection,
        layout: Layout,
        start: Start,
        understand: Callable[[str, list[Node]], Understood],
    ) -> None:
        self._section = section
        self._layout = layout
        self._start = start
        self._understand = understand

    def render(self, text: str, prompt: str | None = None, pictures: int = 0) -> Prompt:
        """The prompt for a document or one window of it, with ``pictures`` before its text."""
        if prompt is not None:
            raise PromptError(
                f"a document brings its own prompt, and format {self._section.format} takes none"
            )
        return self._layout.fill(text, pictures)

    def grammar(self, text: str | None) -> str | None:
        """The Lark grammar of the answers allowed for ``text`` (None: a picture whose text is not
        known); None where unconstrained."""
        if not self._section.constrained:
            return None
        grammar = Grammar(self._section, text)
        return grammar.lark(self._start(grammar))

    def parse(self, completion: str) -> Parsed:
        """What a completion says, complete or cut off, well-formed or not."""
        thought = split_reasoning(completion)
        if not thought.closed:
            problems = ("truncated: the reasoning never ends",)
            return Parsed(reasoning=thought.reasoning, problems=problems)
        values, form = read(completion, thought.start)
        said, structured, content, bounded = self._understand(completion, values)
        return Parsed(
            tuple(said),
            structured,
            thought.reasoning,
            (*form, *content),
            completion[thought.start :].strip(),
            bounded,
        )


def by_guideline(
    section: PromptSection, guideline: Guideline
) -> Callable[[str, list[Node]], Understood]:
    """Understanding of an answer that is keyed by label."""

    def understand(completion: str, values: list[Node]) -> Understood:
        bounds = Bounds.of(section)
        answer = Answer(guideline, completion, values, bounds)
        return answer.said, answer.structured, answer.problems, bounds.met

    return understand
