"""The process that decodes pages, started by ``actors.pages.process``: one file at a time, page by
page, until the parent closes its socket."""

from __future__ import annotations

import resource
import signal
import socket
import sys
from collections.abc import Generator
from dataclasses import replace

from actors.pages.decoding import decode_pages
from actors.pages.errors import PageError, TooLarge
from actors.pages.page import DecodeLimits, Page
from actors.pages.wire import receive, send


def main(descriptor: int) -> None:
    """Serve the socket with this file descriptor."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would contain a patient's page
    with socket.socket(fileno=descriptor) as parent:
        send(parent, "ready")
        pages: Generator[Page] | None = None
        limits = DecodeLimits()
        while True:
            try:
                message, content = receive(parent)
            except EOFError:
                return
            if isinstance(message, DecodeLimits):
                limits, pages = message, decode_pages(bytes(content), message)
                content.clear()
            elif message == "close":
                pages = None
                send(parent, "closed")
            elif pages is not None:
                _answer(parent, pages, limits.page_seconds)


def _answer(parent: socket.socket, pages: Generator[Page], seconds: float) -> None:
    # Limits the CPU time of this process, so that a busy machine fails no page. The signal also
    # ends the process inside a library call that never returns.
    signal.setitimer(signal.ITIMER_PROF, seconds)
    answer: Page | PageError | None
    try:
        answer = next(pages, None)
    except PageError as error:
        answer = error
    except MemoryError:
        answer = TooLarge("not enough memory to decode the page")
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    if isinstance(answer, Page) and answer.picture is not None:
        picture = answer.picture
        send(parent, (replace(answer, picture=None), picture.shape), picture.data.cast("B"))
    else:
        send(parent, (answer, None))


if __name__ == "__main__":
    main(int(sys.argv[1]))
