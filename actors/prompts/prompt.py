"""What goes to a model and what comes back: the words of the prompts room."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from actors.spans import Mention


class PromptError(ValueError):
    """A prompt that cannot be made; the message holds no document text."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a prompt. Only where ``special`` may it hold control tokens.

    Document text never is: a note that contains ``<|im_end|>`` says these ten characters, and does
    not end its turn.
    """

    text: str
    special: bool
    picture: bool = False
    """Whether a picture stands here; it has no text then."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A rendered prompt: ``prefix`` is the same for every document, ``suffix`` begins with it.

    Each segment may be tokenized by itself: the cuts are where a BPE tokenizer cuts anyway.
    """

    prefix: tuple[Segment, ...]
    suffix: tuple[Segment, ...]

    @property
    def text(self) -> str:
        """The whole prompt, as a reader sees it."""
        return "".join(segment.text for segment in self.prefix + self.suffix)


@dataclass(frozen=True, slots=True)
class Said:
    """A mention, and where its words stand in the completion (code points, quotes left out)."""

    mention: Mention
    span: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a completion says.

    ``structured`` is the template filled, as JSON; ``reasoning`` the thinking block; ``answer`` the
    completion without it. ``problems`` say what was wrong with the form, never with which words.
    ``bounded``: a list or a string is as long as the grammar let it be, so there may be more.
    """

    said: tuple[Said, ...] = ()
    structured: str | None = None
    reasoning: str | None = None
    problems: tuple[str, ...] = ()
    answer: str = ""
    bounded: bool = False


class Format(Protocol):
    """One way to ask and be answered: render, grammar and parse belong together."""

    def render(self, text: str, prompt: str | None = None, pictures: int = 0) -> Prompt:
        """The prompt for a document or one window of it, with ``pictures`` before its text.

        ``prompt`` is a document's own; only prose takes one, the others raise PromptError.
        """

    def grammar(self, text: str | None) -> str | None:
        """A Lark grammar (llguidance's dialect) of the answers allowed for ``text`` (None: a
        picture whose text is not known), or None."""

    def parse(self, completion: str) -> Parsed:
        """What a completion says, complete or cut off, well-formed or not."""
