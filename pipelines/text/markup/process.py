"""Markup parsed in a process that can be ended.

Parsers have inputs that take them quadratic time: an element with 40,000 attributes, 0.7 MB of
HTML, takes half a minute, and nothing in the same process can stop C code. A text of at most
100,000 characters cannot take more than about a second and is parsed here; a larger one goes to a
child process, which is reused until it runs out of time.
"""

from __future__ import annotations

from multiprocessing.connection import Connection

from actors.child_process import CLOCK, ChildPool, ChildProcess
from pipelines.text.errors import BadMarkupError
from pipelines.text.markup.detect import Markup, markup_kind
from pipelines.text.markup.line_layout import Visible
from pipelines.text.markup.parse import parsed

SMALL = 100_000
"""Characters of the longest text that is parsed in this process."""
MARKUP_SECONDS = 20.0
"""Default limit of CPU seconds for a text."""


def visible_text(
    text: str, markup: Markup | str = "auto", seconds: float = MARKUP_SECONDS
) -> Visible:
    """Return the visible text of markup; with ``auto``, plain text is returned as it is.

    Raises BadMarkupError where it is not of the kind that it should be, or beyond the limits:
    ``seconds`` of CPU time, and the depth that ``parsed`` allows.
    """
    kind = markup_kind(text) if markup == "auto" else markup
    if kind is None or kind == "none":
        return Visible(text)
    if len(text) <= SMALL and not _may_hold_word(text, kind):
        return parsed(text, kind)
    return _parsed_in_child(text, kind, seconds)


def _may_hold_word(text: str, kind: str) -> bool:
    """True for a message in which a Word document may be, which inflates to more than its size."""
    return kind in ("cda", "fhir", "hl7") and (
        "wordprocessingml" in text.lower() or "\\u00" in text or "&#" in text
    )


def word_text(content: bytes, seconds: float = MARKUP_SECONDS) -> Visible:
    """Return the visible text of a Word document (.docx). Always parses in a child process, since
    the file's size is no limit to its inflated size.

    Raises BadMarkupError where it cannot be read, or is beyond the limits.
    """
    return _parsed_in_child(content, "docx", seconds)


def _parsed_in_child(content: str | bytes, kind: str, seconds: float) -> Visible:
    child = _CHILDREN.take()
    try:
        return child.parsed(content, kind, seconds)
    finally:
        _CHILDREN.give_back(child)


class _Child(ChildProcess):
    """A running ``pipelines.text.markup.child``. Not thread-safe."""

    def __init__(self) -> None:
        super().__init__("pipelines.text.markup.child")
        self._answers = Connection(self.socket.detach())
        self._answers.recv()

    def parsed(self, content: str | bytes, kind: str, seconds: float) -> Visible:
        """Raises BadMarkupError; after one for its time or a crash the process is gone."""
        try:
            self._answers.send((content, kind, seconds))
            answer: Visible | BadMarkupError | None = (
                self._answers.recv() if self._answers.poll(CLOCK * seconds) else None
            )
        except (EOFError, OSError):
            if not self.ran_out_of_time():
                raise BadMarkupError("it crashed the parser") from None
            answer = None
        if answer is None:
            self.kill()
            raise BadMarkupError(f"it takes more than {seconds:g} s of CPU time to parse")
        if isinstance(answer, BadMarkupError):
            raise answer
        return answer

    def kill(self) -> None:
        """Kill the process; its work in progress is lost."""
        super().kill()
        self._answers.close()


_CHILDREN = ChildPool(_Child)
