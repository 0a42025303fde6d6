"""Chat templates: render messages to the text a model was trained on, with its control tokens.

Templates are Jinja, rendered as Hugging Face and llama.cpp render them: sandboxed, with
``trim_blocks`` and ``lstrip_blocks``, ``raise_exception`` and ``strftime_now``. The latter prints a
fixed day at midnight: a prompt that changes with the clock would change answers, too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import NoReturn

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.meta import find_undeclared_variables
from jinja2.nodes import Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from actors.config.prompt import PromptSection
from actors.prompts.chat_templates import NAMED
from actors.prompts.types import Prompt, PromptError, Segment

Message = Mapping[str, str]

# Private-use characters, so that no guideline contains the marker by chance.
_DOCUMENT = "\ue0d0document\ue0d1"


_TODAY = datetime(2024, 7, 26)  # PromptSection.date without a model file
_OURS = frozenset(
    {
        *("messages", "add_generation_prompt", "tools", "documents", "bos_token", "eos_token"),
        *("raise_exception", "strftime_now"),
    }
)
"""Variables that rendering sets itself."""


class ChatTemplateError(PromptError):
    """A chat template that is missing, invalid, or rejects the messages."""


class _Refused(jinja2.TemplateError):
    """The template itself called raise_exception."""


class _Generation(Extension):
    """Hugging Face's ``{% generation %}`` marks training targets; only its body is rendered."""

    tags = frozenset({"generation"})  # type: ignore[assignment]

    def parse(self, parser: Parser) -> list[Node]:
        """Return the nodes between the tags."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@dataclass(frozen=True)
class ChatTemplate:
    """A chat template with its model's BOS and EOS texts, its variables and its date."""

    source: str
    bos: str = ""
    eos: str = ""
    variables: Mapping[str, object] = field(default_factory=dict)
    today: datetime = _TODAY

    def render(self, messages: Sequence[Message]) -> str:
        """Render the messages, ending with the start of the model's answer.

        If the template rejects a system turn, its text is prepended to the first user turn.
        """
        try:
            return self._print(messages)
        except _Refused as refusal:
            if messages[0]["role"] != "system" or len(messages) < 2:
                raise ChatTemplateError(
                    f"the chat template rejects the messages: {refusal}"
                ) from refusal
        first, user, *rest = messages
        merged = {"role": user["role"], "content": f"{first['content']}\n\n{user['content']}"}
        try:
            return self._print([merged, *rest])
        except _Refused as refusal:
            raise ChatTemplateError(
                f"the chat template rejects the messages: {refusal}"
            ) from refusal

    @cached_property
    def reads(self) -> frozenset[str]:
        """The names of the variables that the template reads."""
        return frozenset(find_undeclared_variables(_environment().parse(self.source)))

    @cached_property
    def trims(self) -> bool:
        """True if the template strips whitespace around a user message."""
        return " . " not in self.render([{"role": "user", "content": " . "}])

    def _print(self, messages: Sequence[Message]) -> str:
        if not self._takes_parts:
            return self._printed([dict(message) for message in messages])
        return self._printed([dict(m) | {"content": _part(m["content"])} for m in messages])

    @cached_property
    def _takes_parts(self) -> bool:
        """True if the template only reads a message's content as a list of parts, as templates of
        some vision models do."""
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
                # Templates test whether these are none, since Hugging Face always passes them.
                tools=None,
                documents=None,
                bos_token=self.bos,
                eos_token=self.eos,
                **self.variables,
            )
        except _Refused:
            raise
        except (jinja2.TemplateError, TypeError, ValueError, ZeroDivisionError) as error:
            # The error's own message may quote a message's content.
            raise ChatTemplateError(f"the chat template fails: {type(error).__name__}") from None

    @cached_property
    def _compiled(self) -> jinja2.Template:
        environment = _environment()
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = self.today.strftime
        try:
            return environment.from_string(self.source)
        except jinja2.TemplateSyntaxError as error:
            raise ChatTemplateError(
                f"the chat template is not Jinja: line {error.lineno}: {error.message}"
            ) from error


def section_template(
    section: PromptSection, *, gguf: str | None = None, bos: str = "", eos: str = ""
) -> ChatTemplate:
    """Return the template of a model file, with its variables and its date.

    If the model must not think, ``enable_thinking`` is False for templates that use it. Raises
    ChatTemplateError as ``chat_template`` does, and for a variable that the template never reads.
    """
    template = chat_template(section.chat_template, gguf=gguf, bos=bos, eos=eos)
    known = template.reads - _OURS
    variables: dict[str, object] = dict(section.template_kwargs)
    if unknown := sorted(variables.keys() - known):
        raise ChatTemplateError(
            f"prompt.template_kwargs: the chat template does not read {', '.join(unknown)}; "
            f"it reads {', '.join(sorted(known)) or 'no variables of its own'}"
        )
    if section.reasoning_budget == 0 and "enable_thinking" in known:
        variables.setdefault("enable_thinking", False)
    return replace(template, variables=variables, today=datetime.fromisoformat(section.date))


def chat_template(
    name: str, *, gguf: str | None = None, bos: str = "", eos: str = ""
) -> ChatTemplate:
    """Return a template by name: ``gguf`` (from its metadata), a known name, or inline Jinja.

    Raises ChatTemplateError if there is none or it does not compile.
    """
    if name == "gguf":
        if not gguf:
            raise ChatTemplateError(
                "the weights contain no chat template: set prompt.chat_template to one of "
                f"{', '.join(NAMED)}, or write it inline"
            )
        source = gguf
    elif "{%" in name or "{{" in name:
        source = name
    elif name in NAMED:
        source = NAMED[name]
    else:
        raise ChatTemplateError(
            f"unknown chat template {name!r}; available: gguf, {', '.join(NAMED)}"
        )
    template = ChatTemplate(source, bos, eos)
    _ = template.trims
    return template


@dataclass(frozen=True, slots=True)
class Layout:
    """A prompt with a slot for the document."""

    before: str
    after_text: str
    """The instruction text after the document."""
    control: str
    """The chat template's end of turn and start of the answer."""
    strip: tuple[bool, bool]

    def fill(self, text: str, pictures: int = 0) -> Prompt:
        """Build the prompt for one document, with its images before its text."""
        if self.strip[0]:
            text = text.lstrip()
        if self.strip[1]:
            text = text.rstrip()
        # BPE joins a space to the following word, so the prefix ends before the space.
        prefix = self.before if pictures else self.before.rstrip(" \t")
        plain = self.before[len(prefix) :] + text + self.after_text
        suffix = (
            *[Segment("", special=False, picture=True)] * pictures,
            Segment(plain, special=False),
            Segment(self.control, special=True),
        )
        return Prompt(_full(Segment(prefix, special=True)), _full(*suffix))


def turns(system: str | None, *answered: tuple[str, str]) -> list[Message]:
    """Build the turns before the last: system prompt, then example questions and answers."""
    messages: list[Message] = [{"role": "system", "content": system}] if system else []
    for question, answer in answered:
        messages.append({"role": "user", "content": question})
        messages.append({"role": "assistant", "content": answer})
    return messages


def lay_out(chat: ChatTemplate, earlier: Sequence[Message], before: str, after: str = "") -> Layout:
    """Lay out earlier turns plus a last one of ``before`` + document + ``after``."""
    messages = [*earlier, {"role": "user", "content": before + _DOCUMENT + after}]
    head, found, tail = chat.render(messages).partition(_DOCUMENT)
    if not found or _DOCUMENT in tail:
        raise ChatTemplateError("the chat template must print the user's turn exactly once")
    printed = after if tail.startswith(after) else after.rstrip()
    if not tail.startswith(printed):
        raise ChatTemplateError("the chat template modifies the user's text")
    strip = (chat.trims and not before, chat.trims and not after)
    return Layout(head, printed, tail[len(printed) :], strip)


def _environment() -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation]
    )


def _full(*segments: Segment) -> tuple[Segment, ...]:
    return tuple(segment for segment in segments if segment.text or segment.picture)


def _part(content: str) -> list[dict[str, str]]:
    """Return a message's content as a list of parts."""
    return [{"type": "text", "text": content}]


def _refuse(message: str) -> NoReturn:
    raise _Refused(message)


def _to_json(value: object, indent: int | None = None, **_: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)
