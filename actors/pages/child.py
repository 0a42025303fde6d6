"""The process that decodes pages, started by ``actors.pages.process``: one file at a time, page by
page, until the other side of its socket is closed."""

from __future__ import annotations

import resource
import signal
import socket
import sys
from collections.abc import Generator
from dataclasses import replace

from actors.pages.errors import PageError, TooLarge
from actors.pages.formats import decode_pages
from actors.pages.page import Limits, Page
from actors.pages.wire import receive, send


def main(descriptor: int) -> None:
    """Serve the socket with this file descriptor."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a dump would hold a patient's page
    with socket.socket(fileno=descriptor) as parent:
        send(parent, "ready")
        pages: Generator[Page] | None = None
        limits = Limits()
        while True:
            try:
                message, content = receive(parent)
            except EOFError:
                return
            if isinstance(message, Limits):
                limits, pages = message, decode_pages(bytes(content), message)
                content.clear()
            elif message == "close":
                pages = None
                send(parent, "closed")
            elif pages is not None:
                _answer(parent, pages, limits.page_seconds)


def _answer(parent: socket.socket, pages: Generator[Page], seconds: float) -> None:
    # Of this process's own CPU time, so that a busy machine fails no page. Its signal ends the
    # process also in the midst of a library that never comes back.
    signal.setitimer(signal.ITIMER_PROF, seconds)
    answer: Page | PageError | None
    try:
        answer = next(pages, None)
    except PageError as error:
        answer = error
    except MemoryError:
        answer = TooLarge("a page asks for more memory than there is")
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    if isinstance(answer, Page) and answer.picture is not None:
        picture = answer.picture
        send(parent, (replace(answer, picture=None), picture.shape), picture.data.cast("B"))
    else:
        send(parent, (answer, None))


if __name__ == "__main__":
    main(int(sys.argv[1]))
