"""Chat templates: messages to the text that a model was trained on, with its control tokens.

Templates are Jinja, rendered as Hugging Face and llama.cpp render them: sandboxed, with
``trim_blocks`` and ``lstrip_blocks``, ``raise_exception`` and ``strftime_now``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import NoReturn

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from actors.prompts.prompt import Prompt, PromptError, Segment
from actors.prompts.templates import NAMED

Message = Mapping[str, str]

# Private-use characters, so that no guideline holds the marker by chance.
_DOCUMENT = "\ue0d0document\ue0d1"


class ChatTemplateError(PromptError):
    """A chat template that is missing, wrong, or refuses the messages."""


class _Refused(jinja2.TemplateError):
    """The template itself called raise_exception."""


class _Generation(Extension):
    """Hugging Face's ``{% generation %}`` marks what a model trains on; here its body counts."""

    tags = frozenset({"generation"})  # type: ignore[assignment]

    def parse(self, parser: Parser) -> list[Node]:
        """The nodes between the tags."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@dataclass(frozen=True)
class ChatTemplate:
    """A chat template with the texts of its model's first and last token."""

    source: str
    bos: str = ""
    eos: str = ""

    def render(self, messages: Sequence[Message]) -> str:
        """The messages as text, with the opening of the model's answer.

        A template that refuses a system turn gets its words at the head of the user's.
        """
        try:
            return self._print(messages)
        except _Refused as refusal:
            if messages[0]["role"] != "system" or len(messages) < 2:
                raise ChatTemplateError(f"the chat template refuses: {refusal}") from refusal
        first, user, *rest = messages
        merged = {"role": user["role"], "content": f"{first['content']}\n\n{user['content']}"}
        try:
            return self._print([merged, *rest])
        except _Refused as refusal:
            raise ChatTemplateError(f"the chat template refuses: {refusal}") from refusal

    @cached_property
    def trims(self) -> bool:
        """Whether the template strips white space from the ends of what a user says."""
        return " . " not in self.render([{"role": "user", "content": " . "}])

    def _print(self, messages: Sequence[Message]) -> str:
        if not self._takes_parts:
            return self._printed([dict(message) for message in messages])
        return self._printed([dict(m) | {"content": _part(m["content"])} for m in messages])

    @cached_property
    def _takes_parts(self) -> bool:
        """Whether the template reads a message's content as a list of parts only, as those of some
        vision models do."""
        try:
            if _DOCUMENT in self._printed([{"role": "user", "content": _DOCUMENT}]):
                return False
            parts = _part(_DOCUMENT)
            return _DOCUMENT in self._printed([{"role": "user", "content": parts}])
        except (_Refused, ChatTemplateError):
            return False

    def _printed(self, messages: Sequence[Mapping[str, object]]) -> str:
        compiled = self._compiled
        try:
            return compiled.render(
                messages=messages,
                add_generation_prompt=True,
                # Templates ask whether these are none, as Hugging Face always passes them.
                tools=None,
                documents=None,
                bos_token=self.bos,
                eos_token=self.eos,
            )
        except _Refused:
            raise
        except (jinja2.TemplateError, TypeError, ValueError, ZeroDivisionError) as error:
            # The error's own message may quote a message's content.
            raise ChatTemplateError(f"the chat template fails: {type(error).__name__}") from None

    @cached_property
    def _compiled(self) -> jinja2.Template:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
        try:
            return environment.from_string(self.source)
        except jinja2.TemplateSyntaxError as error:
            raise ChatTemplateError(
                f"the chat template is not Jinja: line {error.lineno}: {error.message}"
            ) from error


def chat_template(
    name: str, *, gguf: str | None = None, bos: str = "", eos: str = ""
) -> ChatTemplate:
    """The template of a model file: ``gguf`` (its metadata), a known name, or Jinja inline.

    Raises ChatTemplateError where there is none or it cannot be compiled.
    """
    if name == "gguf":
        if not gguf:
            raise ChatTemplateError(
                "the weights carry no chat template: set prompt.chat_template to one of "
                f"{', '.join(NAMED)}, or write it inline"
            )
        source = gguf
    elif "{%" in name or "{{" in name:
        source = name
    elif name in NAMED:
        source = NAMED[name]
    else:
        raise ChatTemplateError(f"no chat template {name!r}; there are gguf, {', '.join(NAMED)}")
    template = ChatTemplate(source, bos, eos)
    _ = template.trims
    return template


@dataclass(frozen=True, slots=True)
class Layout:
    """A prompt with a hole where the document goes."""

    before: str
    after_text: str
    """What the instruction says after the document."""
    control: str
    """The chat template's end of the turn and opening of the answer."""
    strip: tuple[bool, bool]

    def fill(self, text: str, pictures: int = 0) -> Prompt:
        """The prompt for one document, its pictures before its text."""
        if self.strip[0]:
            text = text.lstrip()
        if self.strip[1]:
            text = text.rstrip()
        # BPE joins a space to the word after it, so the cut goes before the space.
        prefix = self.before if pictures else self.before.rstrip(" \t")
        plain = self.before[len(prefix) :] + text + self.after_text
        suffix = (
            *[Segment("", special=False, picture=True)] * pictures,
            Segment(plain, special=False),
            Segment(self.control, special=True),
        )
        return Prompt(_full(Segment(prefix, special=True)), _full(*suffix))


def turns(system: str | None, *answered: tuple[str, str]) -> list[Message]:
    """The turns before the last: the system's words, and examples of question and answer."""
    messages: list[Message] = [{"role": "system", "content": system}] if system else []
    for question, answer in answered:
        messages.append({"role": "user", "content": question})
        messages.append({"role": "assistant", "content": answer})
    return messages


def lay_out(chat: ChatTemplate, earlier: Sequence[Message], before: str, after: str = "") -> Layout:
    """The prompt of some turns and a last one of ``before`` + document + ``after``."""
    messages = [*earlier, {"role": "user", "content": before + _DOCUMENT + after}]
    head, found, tail = chat.render(messages).partition(_DOCUMENT)
    if not found or _DOCUMENT in tail:
        raise ChatTemplateError("the chat template does not print the user's turn once")
    said = after if tail.startswith(after) else after.rstrip()
    if not tail.startswith(said):
        raise ChatTemplateError("the chat template changes the user's words")
    strip = (chat.trims and not before, chat.trims and not after)
    return Layout(head, said, tail[len(said) :], strip)


def _full(*segments: Segment) -> tuple[Segment, ...]:
    return tuple(segment for segment in segments if segment.text or segment.picture)


def _part(content: str) -> list[dict[str, str]]:
    """A message's content in the form of parts."""
    return [{"type": "text", "text": content}]


def _refuse(message: str) -> NoReturn:
    raise _Refused(message)


def _to_json(value: object, indent: int | None = None, **_: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)
