"""The process that parses large markup, started by ``pipelines.text.markup.process``: one text at a
time, until the parent closes its end."""

from __future__ import annotations

import resource
import signal
import sys
from multiprocessing.connection import Connection

from pipelines.text.errors import BadMarkupError
from pipelines.text.markup.line_layout import Visible
from pipelines.text.markup.parse import parsed


def main(descriptor: int) -> None:
    """Serve the socket with this file descriptor."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would contain a patient's text
    with Connection(descriptor) as parent:
        parent.send("ready")
        while True:
            try:
                content, kind, seconds = parent.recv()
            except EOFError:
                return
            parent.send(_answer(content, kind, seconds))


def _answer(content: str | bytes, kind: str, seconds: float) -> Visible | BadMarkupError:
    # CPU time of this process, so that a busy machine fails no text. The signal also ends the
    # process inside a parser that does not return.
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        return parsed(content, kind)
    except BadMarkupError as error:
        return error
    except MemoryError:
        return BadMarkupError("it needs more memory to parse than there is")
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
