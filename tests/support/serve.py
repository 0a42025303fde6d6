"""An Extractor that needs no weights, and applications over it."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from io import BytesIO
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from starlette.testclient import TestClient

from actors.guideline import Guideline
from actors.onnx.tokens.label_selection import select_labels
from actors.pages import OcrResult, Page, PageSize, PixelBudget, TooManyPixels, Word
from actors.spans import (
    Box,
    Document,
    Extraction,
    Failure,
    MarkKind,
    OnText,
    PageMark,
    Status,
    Usage,
    spanning,
)
from pipelines.config import load_pipeline
from pipelines.serve.answering.models import GuidelineUse, LocalModels, ModelFacts
from pipelines.serve.catalogue import Catalogue, catalogue_of
from pipelines.serve.http.app import create_app

MODEL = "starter-token-classifier"
PIPELINE = """
name: pipe
source: {{path: notes/}}
steps: [{{model: "starter:token-classifier"}}]
{more}
sink: {{path: out/}}
serve: {serve}
"""
_WORDS = {"metformin": ("Drug", 0.9), "insulin": ("Drug", 0.6), "diabetes": ("Disease", 0.8)}


class FakeExtractor:
    """Finds three words. ``hold``: answers wait until ``release``. A text 'FAIL' fails. Tells its
    completion word by word."""

    fingerprint = "0123456789abcdef"

    def __init__(self, name: str = MODEL, hold: bool = False) -> None:
        self.name, self.hold = name, hold
        self.asked: list[Document] = []
        self.held: list[tuple[Document, Future[Extraction]]] = []
        self.arrived = threading.Event()
        self.error: Exception | None = None

    def submit(
        self, document: Document, guideline: Guideline | None = None, on_text: OnText | None = None
    ) -> Future[Extraction]:
        future: Future[Extraction] = Future()
        self.asked.append(document)
        if self.error is not None:
            future.set_exception(self.error)
        elif self.hold:
            self.held.append((document, future))
        else:
            said = self.read(document)
            for word in re.findall(r"\S+\s*", said.completion or "") if on_text else ():
                assert on_text is not None
                on_text(0, word)
            future.set_result(select_labels(said, guideline))
        self.arrived.set()
        return future

    def release(self) -> None:
        for document, future in self.held:
            if future.set_running_or_notify_cancel():
                future.set_result(self.read(document))
        self.held.clear()

    def read(self, document: Document) -> Extraction:
        text = document.text or ""
        base: dict[str, Any] = {
            "document_id": document.id,
            "model": self.name,
            "fingerprint": self.fingerprint,
        }
        if text == "FAIL":
            return Extraction(**base, status=Status.FAILED, failure=Failure("Bad", "cannot"))
        entities = tuple(
            spanning(text, m.start(), m.end(), label, score=score, model=self.name)
            for word, (label, score) in _WORDS.items()
            for m in re.finditer(word, text)
        )
        return Extraction(
            **base, entities=entities, completion=f"read {len(text)}", usage=Usage(len(text), 1)
        )


class FakeReader:
    """Reads a 'picture' that is UTF-8, or a PNG's text 'note', without one 'print': a word of ten
    pixels a letter, lines of twelve pixels, cells of 200. A word in tildes is a signature."""

    def submit(
        self, document: Document, budget: PixelBudget, on_page: Callable[[int], None]
    ) -> Future[OcrResult | Failure]:
        future: Future[OcrResult | Failure] = Future()
        content = document.image or b""
        text = _note(content) or content.decode(errors="replace")
        if "\ufffd" in text:
            future.set_result(Failure("UnknownFormat", "neither a picture nor a PDF"))
            return future
        try:
            budget.take(Page(640, 480))
        except TooManyPixels as error:
            future.set_result(Failure("TooManyPixels", str(error)))
            return future
        on_page(1)
        words = tuple(
            Word(m.start(), m.end(), _place(text, m.start(), m.end()), 0.75)
            for m in re.finditer(r"\S+", text)
        )
        marks = tuple(
            PageMark(MarkKind.SIGNATURE, _place(text, m.start(), m.end()))
            for m in re.finditer(r"~\S+~", text)
        )
        future.set_result(OcrResult(text, words, (PageSize(640, 480),), marks=marks))
        return future


def _place(text: str, start: int, end: int) -> Box:
    line, cell = text.rfind("\n", 0, start) + 1, text.rfind("\t", 0, start) + 1
    left = 200 * text.count("\t", line, start) + 10 * (start - max(line, cell))
    top = 12 * text.count("\n", 0, start)
    return Box(0, left, top, left + 10 * (end - start), top + 12)


def picture(note: str) -> bytes:
    """A PNG that FakeReader reads as ``note``: white, with a grey letter a ten pixels."""
    image, chunk, file = Image.new("RGB", (640, 480), "white"), PngInfo(), BytesIO()
    for i, letter in enumerate(note):
        if letter != " ":
            image.paste("grey", (i * 10 + 2, 2, i * 10 + 8, 10))
    chunk.add_text("note", note)
    image.save(file, "PNG", pnginfo=chunk)
    return file.getvalue()


def _note(content: bytes) -> str:
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        return ""
    with Image.open(BytesIO(content)) as image:
        return str(image.info.get("note", "print"))


def make_app(
    folder: Path,
    serve: str = "{}",
    fake: FakeExtractor | None = None,
    labels: Sequence[str] = ("Disease", "Drug"),
    ocr: bool = False,
    guideline: GuidelineUse = "labels",
    prompts: bool = False,
    more: str = "",
) -> FastAPI:
    """An application over one fake model, configured by the ``serve`` section given as YAML, and
    ``more`` sections."""
    path = folder / "pipe.yaml"
    more += "\nocr: {model: 'starter:ocr'}" if ocr else ""
    path.write_text(PIPELINE.format(serve=serve, more=more))
    facts = ModelFacts(MODEL, "onnx", FakeExtractor.fingerprint, tuple(labels), prompts, guideline)
    models = LocalModels({MODEL: fake or FakeExtractor()}, {MODEL: facts}, FakeReader())
    return create_app(catalogue_of(load_pipeline(path)), models)


def two_models(folder: Path) -> Catalogue:
    """A pipeline of MODEL and starter-extractor."""
    path = folder / "two.yaml"
    path.write_text(
        "name: two\n"
        "source: {path: notes/}\n"
        'steps: [{model: "starter:token-classifier"}, {model: "starter:extractor"}]\n'
        "sink: {path: out/}\n"
    )
    return catalogue_of(load_pipeline(path))


def make_client(
    folder: Path, serve: str = "{}", fake: FakeExtractor | None = None, token: str = ""
) -> TestClient:
    """A client of ``make_app`` that names the host as a browser on this machine would."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    app = make_app(folder, serve, fake)
    return TestClient(
        app, base_url="http://127.0.0.1:8000", headers=headers, raise_server_exceptions=False
    )


def events(content: str) -> list[tuple[str, dict[str, Any]]]:
    """Event names and data, as a browser would read them."""
    found = []
    for block in content.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line[0] != ":")
        if fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found
