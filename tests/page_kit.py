"""The page's tests: a server in a thread, and a model whose entities nest and cross."""

from __future__ import annotations

import shutil
import socket
import threading
from typing import Any

import uvicorn
from serve_fakes import FakeExtractor

from actors.spans import Document, Entity, Extraction, Grounding, spanning

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
