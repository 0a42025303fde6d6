"""Core types of the prompts package: prompts, mentions in completions, and the format protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from actors.spans import Mention


class PromptError(ValueError):
    """A prompt that cannot be built; the message holds no document text."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a prompt. It may contain control tokens only if ``special``.

    Document text never is: a note that contains ``<|im_end|>`` has these ten characters and does
    not end its turn.
    """

    text: str
    special: bool
    picture: bool = False
    """True for an image; it has no text then."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A rendered prompt: ``prefix`` is the same for every document; ``suffix`` starts with the
    document.

    Each segment may be tokenized separately: segments end where a BPE tokenizer splits anyway.
    """

    prefix: tuple[Segment, ...]
    suffix: tuple[Segment, ...]

    @property
    def text(self) -> str:
        """The whole prompt as text."""
        return "".join(segment.text for segment in self.prefix + self.suffix)

    @property
    def thinking(self) -> Literal["opened", "closed"] | None:
        """State of the thinking block at the end of the prompt; after a closed one the answer
        follows. None if the chat template printed no block."""
        if not self.suffix or not self.suffix[-1].special:
            return None  # the document's own text
        end = self.suffix[-1].text.rstrip()
        if end.endswith("<think>"):
            return "opened"
        return "closed" if end.endswith("</think>") else None


@dataclass(frozen=True, slots=True)
class PlacedMention:
    """A mention and its span in the completion (code points, without quotes)."""

    mention: Mention
    span: tuple[int, int]


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """A parsed completion.

    ``structured`` is the filled template as JSON, ``reasoning`` the thinking block, ``answer`` the
    completion without it. ``problems`` describe what was wrong with the form, without quoting it.
    ``bounded``: a list or string reached its grammar limit, so there may be more.
    """

    mentions: tuple[PlacedMention, ...] = ()
    structured: str | None = None
    reasoning: str | None = None
    problems: tuple[str, ...] = ()
    answer: str = ""
    bounded: bool = False


class PromptFormat(Protocol):
    """A prompt format: render, grammar and parse belong together."""

    def render(self, text: str, prompt: str | None = None, pictures: int = 0) -> Prompt:
        """Render the prompt for a document or one of its windows, with ``pictures`` images before
        it.

        ``prompt`` is a document's own; only prose takes one, other formats raise PromptError.
        """

    def grammar(self, text: str | None) -> str | None:
        """Return a Lark grammar (llguidance's dialect) of the answers allowed for ``text`` (None:
        an image whose text is unknown), or None."""

    def parse(self, completion: str, begun: bool = False) -> ParsedAnswer:
        """Parse a completion, whether complete or truncated, well-formed or not. ``begun``: the
        prompt had opened a thinking block, which the completion closes first."""
