"""The ``prose`` format: a prompt in, text out, for summaries and questions."""

from __future__ import annotations

from actors.config.prompt import PromptSection
from actors.prompts.chat import ChatTemplate, lay_out, turns
from actors.prompts.json_reader import split_reasoning
from actors.prompts.markdown import rows_of
from actors.prompts.types import ParsedAnswer, Prompt, PromptError


class Prose:
    """The model file's instruction, or a row's own prompt, followed by the document."""

    def __init__(self, section: PromptSection, chat: ChatTemplate) -> None:
        earlier = turns(section.system)
        self._instruction = section.instruction
        self._tables = section.tables
        self._open = lay_out(chat, earlier, "")
        self._instructed = lay_out(chat, earlier, f"{section.instruction or ''}\n\n")

    def render(self, text: str, prompt: str | None = None, pictures: int = 0) -> Prompt:
        """Render the prompt for a document, or the prompt alone if the text is empty. Images come
        before the text.

        A row's own prompt replaces the instruction. It is data, so it cannot contain control
        tokens.
        """
        instruction = self._instruction if prompt is None else prompt
        if not instruction:
            raise PromptError("format prose needs prompt.instruction or a prompt in each row")
        if prompt is None and text and not pictures:
            return self._instructed.fill(text)
        return self._open.fill(f"{instruction}\n\n{text}" if text else instruction, pictures)

    def grammar(self, text: str | None) -> str | None:
        """Return None: prose is unconstrained."""
        return None

    def parse(self, completion: str, begun: bool = False) -> ParsedAnswer:
        """Return the answer, with the thinking block separated."""
        thought = split_reasoning(completion, begun)
        problems = () if thought.closed else ("truncated: the reasoning never ends",)
        answer = completion[thought.start :].strip()
        structured = rows_of(answer) if self._tables else None
        return ParsedAnswer((), structured, thought.reasoning, problems, answer)
