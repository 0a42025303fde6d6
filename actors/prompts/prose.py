"""The ``prose`` format: a prompt in, text out, for summaries and questions."""

from __future__ import annotations

from actors.config.prompt import PromptSection
from actors.prompts.chat import ChatTemplate, lay_out, turns
from actors.prompts.markdown import rows_of
from actors.prompts.prompt import Parsed, Prompt, PromptError
from actors.prompts.reading import split_reasoning


class Prose:
    """The model file's instruction, or a row's own prompt, above the document."""

    def __init__(self, section: PromptSection, chat: ChatTemplate) -> None:
        earlier = turns(section.system)
        self._instruction = section.instruction
        self._tables = section.tables
        self._open = lay_out(chat, earlier, "")
        self._asked = lay_out(chat, earlier, f"{section.instruction or ''}\n\n")

    def render(self, text: str, prompt: str | None = None, pictures: int = 0) -> Prompt:
        """The prompt for a document, or for a prompt alone where the text is empty. Pictures come
        before the words.

        A row's own prompt takes the instruction's place. It is data, so it holds no control tokens.
        """
        asked = self._instruction if prompt is None else prompt
        if not asked:
            raise PromptError("prose needs prompt.instruction or a prompt of each row's own")
        if prompt is None and text and not pictures:
            return self._asked.fill(text)
        return self._open.fill(f"{asked}\n\n{text}" if text else asked, pictures)

    def grammar(self, text: str | None) -> str | None:
        """None: prose is free."""
        return None

    def parse(self, completion: str) -> Parsed:
        """The answer, with the thinking block apart."""
        thought = split_reasoning(completion)
        problems = () if thought.closed else ("truncated: the reasoning never ends",)
        answer = completion[thought.start :].strip()
        structured = rows_of(answer) if self._tables else None
        return Parsed((), structured, thought.reasoning, problems, answer)
