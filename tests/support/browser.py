"""Tests of the page: a server in a thread, and a model with entities that nest and cross."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import uvicorn

from actors.spans import Document, Entity, Extraction, Grounding, spanning
from support.serve import FakeExtractor

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
TEXT = "Ā💊 stage III colon carcinoma\n\tand <b>insulin</b> & e\u0301dema 'daily'"


class Nesting(FakeExtractor):
    """Entities that nest, cross, repeat a span, stand after astral characters, or have no place."""

    def read(self, document: Document) -> Extraction:
        text = document.text or ""
        entities: list[Entity] = []
        for label, words in (
            ("Stage", "stage III"),
            ("Cancer", "colon carcinoma"),
            ("Disease", "stage III colon carcinoma"),
            ("Crossing", "III colon"),
            ("Drug", "insulin"),
            ("Substance", "insulin"),
            ("Sign", "e\u0301dema"),
        ):
            at = text.find(words)
            if at >= 0:
                score = 0.4 if label == "Crossing" else 0.9
                entities.append(
                    spanning(text, at, at + len(words), label, score=score, model=self.name)
                )
        lost = Entity("Drug", "aspirin", None, None, 0.7, Grounding.UNGROUNDED, model=self.name)
        return Extraction(document.id, self.name, self.fingerprint, entities=(*entities, lost))


class Served:
    """A uvicorn in a thread."""

    def __init__(self, app: Any) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}/"
        self.server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        self.thread = threading.Thread(target=self.server.run, args=([self.socket],), daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(10)
        self.socket.close()


def says(page: Page, selector: str, words: str) -> None:
    # Not wait_for_function: it evaluates a string, which the page's policy forbids, rightly.
    page.locator(selector).filter(has_text=words).wait_for()


def read(page: Page, text: str) -> None:
    page.fill("#text", text)
    page.keyboard.press("Control+Enter")
    ends = time.monotonic() + 10
    while page.text_content("#marked") != text:
        assert time.monotonic() < ends
        page.wait_for_timeout(20)


def marked(page: Page) -> dict[str, str]:
    """Label to the text in its marks, of whatever pieces they are."""
    parts = page.eval_on_selector_all(
        "#marked mark", "marks => marks.map(m => [m.dataset.t, m.textContent])"
    )
    found: dict[str, str] = {}
    for label, text in parts:
        found[label] = found.get(label, "") + text
    return found
