"""The page in a real Chromium: a note and a scan without their identifiers."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.browser import Served, read, says
from support.deidentify import SECRET
from support.painted_pages import PaintedReader, painted_file
from support.serve import MODEL, PIPELINE, FakeExtractor, make_app

from actors.pages import OcrResult, PixelBudget, page_format
from actors.spans import Document, spanning
from pipelines.config import load_pipeline
from pipelines.deidentification import KEY
from pipelines.serve.answering.models import LocalModels, ModelFacts
from pipelines.serve.catalogue import catalogue_of
from pipelines.serve.http.app import create_app

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytest_plugins = ["support.browser_fixtures"]

NOTE = "Patient: Jonathan Doe 💊, MRN 99812.\nMr. Doe was seen on 2024-03-05. metformin 500 mg"
CLEAN = "Patient: [NAME] 💊, MRN [MRN].\nMr. [NAME] was seen on [DATE]. metformin 500 mg"
SCAN = "Patient: Jonathan Doe, MRN 998877. Takes aspirin, metformin"
LEFT = "Smurf"


class Doubting(FakeExtractor):
    """Finds a name in what is de-identified already that no rule finds."""

    def read(self, document: Document) -> Any:
        found, text = super().read(document), document.text or ""
        if LEFT not in text or "[NAME]" not in text:
            return found
        at = text.index(LEFT)
        return replace(
            found, entities=(spanning(text, at, at + len(LEFT), "PATIENT", model=MODEL),)
        )


class _Reader(PaintedReader):
    texts = {1: SCAN}  # noqa: RUF012

    def submit(
        self, document: Document, budget: PixelBudget | None = None, on_page: Any = None
    ) -> Any:
        future = super().submit(document)
        read = future.result()
        if on_page is not None and isinstance(read, OcrResult):
            on_page(len(read.pages))
        return future


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KEY, SECRET.decode())
        path = folder / "pipe.yaml"
        more = "deidentify: {preset: strict}\nocr: {model: 'starter:ocr'}"
        path.write_text(PIPELINE.format(serve="{}", more=more))
        facts = ModelFacts(MODEL, "onnx", FakeExtractor.fingerprint, ("Drug",), False, "labels")
        models = LocalModels({MODEL: Doubting()}, {MODEL: facts}, _Reader())
        served = Served(create_app(catalogue_of(load_pipeline(path)), models))
        yield served
        served.stop()


def _opened(page: Page, text: str = NOTE) -> None:
    read(page, text)
    page.click("#t-clean")
    page.wait_for_selector("#p-clean[aria-busy=false] #after", state="attached")


def _upload(page: Page) -> None:
    file: Any = {"name": "doe.png", "mimeType": "", "buffer": painted_file([(1, SCAN)])}
    page.set_input_files("#file", files=file)
    page.wait_for_selector("#desk svg")
    page.click("#t-clean")
    page.wait_for_selector("#clean-file:not([hidden])")


def test_the_note_is_shown_before_and_after_with_what_was_taken(page: Page) -> None:
    _opened(page)
    says(page, "#clean-said", "4 identifiers taken")
    assert "found nothing more" in page.inner_text("#clean-said")
    assert page.text_content("#before") == NOTE
    assert page.text_content("#after") == CLEAN
    counts = [one.inner_text().split() for one in page.locator("#clean-counts li").all()]
    assert counts == [["DATE", "1", "masked"], ["MRN", "1", "masked"], ["NAME", "2", "masked"]]
    before = page.eval_on_selector_all(
        "#before mark", "marks => marks.map(m => [m.dataset.t, m.textContent])"
    )
    taken = [["NAME", "Jonathan Doe"], ["MRN", "99812"], ["NAME", "Doe"], ["DATE", "2024-03-05"]]
    assert before == taken
    line = "m => getComputedStyle(m).borderBottomStyle + getComputedStyle(m).borderBottomWidth"
    for mark in ("#before mark", "#after mark"):
        assert page.locator(mark).first.evaluate(line).endswith("2px"), "not by colour alone"


def test_the_clean_text_is_copied_and_downloaded(page: Page, tmp_path: Path) -> None:
    _opened(page)
    says(page, "#clean-said", "taken")
    assert page.inner_text("#copy") == "Copy clean text"
    page.click("#copy")
    says(page, "#copy", "Copied")
    assert page.evaluate("navigator.clipboard.readText()") == CLEAN
    with page.expect_download() as download:
        page.click("#clean-text")
    assert download.value.suggested_filename == "deidentified.txt"
    download.value.save_as(tmp_path / "clean.txt")
    assert (tmp_path / "clean.txt").read_text(encoding="utf-8") == CLEAN


def test_a_scan_comes_back_covered(page: Page, tmp_path: Path) -> None:
    _upload(page)
    assert page.inner_text("#clean-file") == "Download covered picture"
    says(page, "#clean-said", "2 identifiers taken")
    shown = page.locator("#clean-page")
    assert shown.evaluate("i => i.decode().then(() => i.naturalWidth)") == 900
    with page.expect_download() as download:
        page.click("#clean-file")
    assert download.value.suggested_filename == "deidentified.png"
    download.value.save_as(tmp_path / "clean.png")
    content = (tmp_path / "clean.png").read_bytes()
    assert page_format(content) == "png"
    words = _Reader().submit(Document("", image=content)).result()
    assert not {"Jonathan", "Doe,", "998877."} & {*words.text.split()}
    asked = shlex.split(page.text_content("#clean-curl") or "")
    assert asked[1].endswith("/v1/deidentify/upload")
    assert json.loads(asked[-1].removeprefix("options=")) == {"pages": True}


def test_what_the_second_look_finds_is_said_and_no_text_comes_out(page: Page) -> None:
    _opened(page, f"{NOTE} with {LEFT}")
    says(page, "#clean-problem", f"Withheld: the second look still finds NAME by {MODEL}")
    assert page.get_attribute("#clean-problem", "role") == "alert"
    assert page.is_hidden("#after")
    assert page.is_hidden("#clean-text")
    assert page.is_hidden("#clean-file")
    assert page.locator("#before mark").all_text_contents() == [LEFT]
    page.click("#copy")
    assert page.inner_text("#copy") == "Copy clean text", "there is nothing to copy"
    read(page, NOTE)
    says(page, "#clean-said", "4 identifiers taken")
    assert page.is_hidden("#clean-problem")


def test_the_patient_and_known_names_are_asked_with(page: Page) -> None:
    _opened(page, "the sister Zzyzx rang")
    says(page, "#clean-said", "0 identifiers taken")
    page.fill("#clean-patient", "4471")
    page.fill("#clean-names", "Zzyzx Doe; Kim")
    page.keyboard.press("Enter")
    says(page, "#clean-said", "1 identifier taken")
    assert page.text_content("#after") == "the sister [NAME] rang"
    page.click("#clean-asked summary")
    asked = json.loads(shlex.split(page.text_content("#clean-curl") or "")[-1])
    names = ["Zzyzx Doe", "Kim"]
    text = "the sister Zzyzx rang"
    assert asked == {"documents": [{"text": text, "patient": "4471", "names": names}]}


def test_the_keyboard_goes_from_mark_to_mark(page: Page) -> None:
    _opened(page)
    says(page, "#clean-said", "taken")
    page.focus("#before mark")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.textContent") == "99812"
    assert page.locator("#after mark.hot").all_text_contents() == ["[MRN]"]
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.textContent") == "Jonathan Doe"
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll('#p-clean :is(button, input, section, img)')]
          .filter(e => e.checkVisibility())
          .filter(e => !(e.ariaLabel || e.alt || e.labels?.length || e.textContent.trim()
            || e.getAttribute('aria-labelledby')))
          .map(e => e.outerHTML)"""
    )
    assert unnamed == []


def test_no_width_needs_scrolling_sideways(page: Page) -> None:
    _opened(page, NOTE + " " + "x" * 300)
    wider = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    for width in (320, 390, 768, 1024, 1440):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate(wider) == 0, width


def test_a_server_that_does_not_deidentify_does_not_offer_it(browser: Any, tmp_path: Path) -> None:
    served = Served(make_app(tmp_path, fake=FakeExtractor()))
    try:
        page = browser.new_page()
        page.goto(served.url)
        says(page, "#status", "entit")
        assert page.is_hidden("#t-clean")
        page.close()
    finally:
        served.stop()
