"""The page in a real Chromium: long documents, odd files, small screens, lost servers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.browser import Served, read, says
from support.serve import FakeExtractor, FakeReader, make_app, picture

from actors.guideline import Guideline
from actors.spans import Document, Extraction, OnText, spanning

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytest_plugins = ["support.browser_fixtures"]

LINE = "Metformin 500 mg daily against diabetes, insulin at night, aspirin since March.\n"
MARKS = re.compile("Metformin|500 mg|daily|diabetes|insulin|aspirin|March")
LONG = LINE * 2500  # 200,000 characters, 17,500 entities


class Many(FakeExtractor):
    """Marks seven words a line."""

    def read(self, document: Document) -> Extraction:
        text = document.text or ""
        entities = tuple(
            spanning(text, m.start(), m.end(), m[0].split()[-1], score=0.9, model=self.name)
            for m in MARKS.finditer(text)
        )
        return Extraction(document.id, self.name, self.fingerprint, entities=entities)


@pytest.fixture(scope="module")
def fake() -> FakeExtractor:
    return Many()


def paste(page: Page, text: str) -> None:
    """Read a text without typing it, which takes a browser long where it has many lines."""
    page.uncheck("#live")
    page.eval_on_selector("#text", "(box, text) => { box.value = text; }", text)
    page.click("#go")


@pytest.fixture
def long(page: Page) -> Page:
    paste(page, LONG)
    says(page, "#status", "17,500 entities")
    return page


def test_a_long_document_is_all_there_and_few_of_its_marks_are(long: Page) -> None:
    whole = long.text_content("#marked") == LONG
    assert whole
    assert 0 < long.locator("#marked mark").count() < 2000
    # So is its end, once it is seen, and then the beginning is plain text.
    last = "#marked .part:last-child"
    long.eval_on_selector("#p-text", "panel => { panel.scrollTop = panel.scrollHeight; }")
    long.locator(f"{last} mark").last.wait_for()
    long.wait_for_selector("#marked .part:first-child:not(:has(mark))", state="attached")
    whole = long.text_content("#marked") == LONG
    assert whole
    assert long.locator("#marked mark").count() < 2000
    long.click("#legend [data-label=insulin]")
    shown = long.eval_on_selector_all(f"{last} mark:not(.off)", "m => m.map(x => x.textContent)")
    assert set(shown) == {"insulin"}


def test_arrows_go_through_marks_that_are_not_drawn_yet(long: Page) -> None:
    long.click("#legend [data-label=March]")
    long.focus("#p-text")
    for _ in range(60):  # the third screen
        long.keyboard.press("ArrowRight")
    place = long.evaluate("+document.activeElement.dataset.e")
    assert place == 7 * 60 - 1
    assert long.evaluate("document.activeElement.textContent") == "March"
    assert long.locator("#pop").is_visible()


def test_the_table_has_all_rows_as_it_is_scrolled_and_leads_to_the_text(long: Page) -> None:
    long.click("#t-table")
    rows = long.locator("#rows tr")
    first = rows.count()
    assert 50 <= first < 1000
    assert long.inner_text("#more").endswith("more rows")
    long.locator("#more").scroll_into_view_if_needed()
    long.locator(f"#rows tr:nth-child({first + 1})").wait_for()
    rows.nth(first).locator("button").click()
    assert long.evaluate("+document.activeElement.dataset.e") == first
    assert long.is_visible("#p-text")


def test_long_json_is_begun_and_copied_whole(long: Page) -> None:
    long.click("#t-json")
    assert len(long.text_content("#json") or "") == 20_000
    assert "Copy includes all" in long.inner_text("#p-json .cut")
    long.click("#copy")
    says(long, "#copy", "Copied")
    copied = json.loads(long.evaluate("navigator.clipboard.readText()"))
    assert len(copied["documents"][0]["entities"]) == 17_500
    long.click("#t-curl")
    long.click("#copy")
    says(long, "#copy", "Copied")
    assert LINE[:-1] in long.evaluate("navigator.clipboard.readText()")


@pytest.mark.parametrize("text", ["word " * 4000, "x" * 20_000, "a\n" * 9000, "\n" * 9000])
def test_parts_lose_nothing(page: Page, text: str) -> None:
    page.fill("#text", "no word")
    says(page, "#status", "0 entities")
    paste(page, text + "insulin")
    says(page, "#status", "1 entity")
    whole = page.text_content("#marked") == text + "insulin"
    assert whole
    lengths = page.eval_on_selector_all("#marked .part", "p => p.map(x => x.textContent.length)")
    assert len(lengths) > 1
    assert max(lengths) <= 2008


def test_words_and_labels_are_apart_for_a_screen_reader(page: Page) -> None:
    read(page, "some insulin and aspirin daily")
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    texts = [node["name"]["value"] for node in nodes if node.get("name", {}).get("value")]
    said = " ".join(texts)
    assert "insulin, insulin" in re.sub(r"\s+(?=,)", "", said), said
    assert "insulininsulin" not in said
    chip = page.locator("#legend [data-label=insulin]")
    assert chip.text_content() == "insulin 1"


def _upload(page: Page, name: str, content: bytes) -> None:
    file: Any = {"name": name, "mimeType": "", "buffer": content}
    page.set_input_files("#file", files=file)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", "na\nnéomycine".encode("latin-1"), "invalid at byte 4"),
        ("a.docx", b"PK\x03\x04\x14\x00\x06\x00", "ZIP"),
        ("a.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Office"),
        ("a.xml", b"<ClinicalDocument><a></ClinicalDocument>", "not well-formed XML"),
        ("a.txt.gz", b"\x1f\x8b\x08\x00\x00\x00\x00\x00", "damaged"),
        ("a.txt", b"\x00\x00\x00\x1cftypmp42", "not an image, a PDF or a text"),
        ("empty.pdf", b"", "empty"),
    ],
)
def test_a_file_that_is_no_text_is_named_and_the_note_stays(
    page: Page, name: str, content: bytes, words: str
) -> None:
    read(page, "some insulin")
    _upload(page, name, content)
    says(page, "#problem", words)
    assert page.input_value("#text") == "some insulin"
    _upload(page, "b.txt", "\ufeffnéomycine, insulin".encode())
    page.wait_for_selector("#problem", state="hidden")
    assert page.input_value("#text") == "néomycine, insulin"


def test_a_picture_is_one_by_its_content(page: Page) -> None:
    _upload(page, "scan.txt", picture("some insulin"))
    page.wait_for_selector("#desk rect", state="attached")


def test_rows_of_the_table_can_be_read_on_a_phone(page: Page) -> None:
    read(page, "some insulin against diabetes")
    page.set_viewport_size({"width": 390, "height": 800})
    page.click("#t-table")
    wide = page.eval_on_selector("#p-table", "p => p.scrollWidth - p.clientWidth")
    assert wide == 0
    for cell in page.locator("#rows td:visible").all():
        box = cell.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
    page.set_viewport_size({"width": 1280, "height": 720})


class ProcessMemory(Many):
    """Answers nothing before it is released."""

    def submit(
        self, document: Document, guideline: Guideline | None = None, on_text: OnText | None = None
    ) -> Future[Extraction]:
        self.hold = "slow" in (document.text or "")
        return super().submit(document, guideline, on_text)


@pytest.fixture
def held(browser: Any, tmp_path: Path) -> Iterator[tuple[Page, ProcessMemory, Served]]:
    fake = ProcessMemory()
    served = Served(make_app(tmp_path, fake=fake, ocr=True))
    page = browser.new_page()
    page.goto(served.url)
    says(page, "#status", "entit")
    yield page, fake, served
    page.close()
    fake.release()
    served.stop()


@pytest.mark.parametrize("kind", ["text", "picture"])
def test_ocr_can_be_cancelled(held: tuple[Page, ProcessMemory, Served], kind: str) -> None:
    page, fake, _ = held
    fake.arrived.clear()
    if kind == "text":
        page.fill("#text", "slow insulin")
        page.click("#go")
    else:
        _upload(page, "a.png", picture("slow insulin"))
    says(page, "#status", "reading" if kind == "text" else "reading the pages")
    assert fake.arrived.wait(60)
    page.click("#cancel")
    says(page, "#status", "cancelled")
    assert page.is_hidden("#cancel")
    page.wait_for_timeout(500)
    assert page.inner_text("#status") == "cancelled"
    assert fake.held[0][1].cancelled()
    page.fill("#text", "quick insulin")
    says(page, "#status", "1 entity")


def test_pages_are_counted_as_they_are_read(
    held: tuple[Page, ProcessMemory, Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    page, _, _ = held

    def read_three(reader: FakeReader, document: Document, budget: Any, on_page: Any) -> Any:
        on_page(3)
        return Future()

    monkeypatch.setattr(FakeReader, "submit", read_three)
    _upload(page, "a.png", picture("some insulin"))
    says(page, "#status", "3 pages done")
    page.click("#cancel")


def test_a_server_that_comes_back_is_asked_again(held: tuple[Page, ProcessMemory, Served]) -> None:
    page, _, _ = held
    page.route("**/v1/extract", lambda route: route.abort())
    page.fill("#text", "some insulin")
    page.click("#go")
    says(page, "#problem", "cannot be reached. This page tries again in")
    page.unroute("**/v1/extract")
    page.wait_for_selector("#problem", state="hidden")
    assert page.text_content("#marked") == "some insulin"
