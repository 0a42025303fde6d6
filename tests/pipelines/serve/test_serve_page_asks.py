"""The page in a real Chromium: what it asks of the server, and with which words."""

from __future__ import annotations

import gzip
import json
import shlex
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.browser import TEXT, Served, marked, read, says
from support.serve import FakeExtractor, make_app, picture

from pipelines.serve.http.bearer_tokens import new_token

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytest_plugins = ["support.browser_fixtures"]


def test_the_curl_line_asks_for_what_the_page_shows(page: Page, served: Served) -> None:
    read(page, TEXT)
    page.click("#legend [data-label=Substance]")
    page.click("#t-json")
    shown = json.loads(page.inner_text("#json"))["documents"]
    page.click("#t-curl")
    words = shlex.split(page.text_content("#curl") or "")
    assert words[:2] == ["curl", f"{served.url}v1/extract"]
    answer = page.request.post(
        words[1], data=words[words.index("-d") + 1], headers={"content-type": "application/json"}
    )
    assert answer.ok
    assert answer.json()["documents"][0]["entities"] == shown[0]["entities"]


def test_typing_reads_by_itself_and_the_last_text_wins(page: Page) -> None:
    page.fill("#text", "")
    assert page.is_visible(".empty")
    page.type("#text", "some insulin", delay=5)
    page.wait_for_selector("#marked mark[data-t=Drug]")
    assert page.text_content("#marked") == "some insulin"


def test_a_problem_is_shown_and_goes_away(page: Page, fake: FakeExtractor) -> None:
    fake.error = RuntimeError("secret")
    try:
        page.fill("#text", "one insulin")
        page.wait_for_selector("#problem:not([hidden])")
        assert "No replica of the model is available" in page.inner_text("#problem")
    finally:
        fake.error = None
    page.click("#go")
    page.wait_for_selector("#problem", state="hidden")


def _upload(page: Page, name: str, content: bytes) -> None:
    file: Any = {"name": name, "mimeType": "", "buffer": content}
    page.set_input_files("#file", files=file)


def test_a_file_becomes_the_note(page: Page) -> None:
    _upload(page, "a.txt", "čistý insulin".encode())
    page.wait_for_selector("#marked mark[data-t=Drug]")
    assert page.input_value("#text") == "čistý insulin"


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        (b"{\\rtf1\\ansi some \\b insulin\\b0 }", "some insulin"),
        ("čistý insulin".encode("utf-16"), "čistý insulin"),
        (gzip.compress(b"<p>pure</p><p>insulin &amp; more</p>"), "pure\ninsulin & more"),
        (b"insulin <b and no markup", "insulin <b and no markup"),
    ],
)
def test_the_server_reads_what_is_not_plain_text(page: Page, content: bytes, seen: str) -> None:
    _upload(page, "a", content)
    page.wait_for_selector("#marked mark[data-t=Drug]")
    assert page.input_value("#text") == seen


def test_a_picture_is_shown_with_boxes_that_belong_to_marks(page: Page) -> None:
    _upload(page, "b.png", picture("stage III insulin"))
    drug = page.locator("#desk rect.i")
    drug.first.wait_for()
    assert page.text_content("#marked") == "stage III insulin"
    assert page.get_attribute("#desk svg", "viewBox") == "0 0 640 480"
    places = {
        (rect.get_attribute("x"), rect.get_attribute("width"))
        for rect in page.locator("#desk rect").all()
    }
    assert ("100", "70") in places, "ten pixels a letter"
    assert page.locator("#desk image").evaluate("i => i.href.baseVal.slice(0, 15)") == (
        "data:image/webp"
    )
    page.hover("#marked mark[data-t=Drug]")
    assert page.locator("#desk rect.hot").count() >= 1
    page.mouse.move(0, 0)
    page.locator("#desk rect").last.hover()
    assert page.is_visible("#pop")
    assert "read with" in page.inner_text("#pop")
    page.click("#legend [data-label=Stage]")
    shown = page.eval_on_selector_all("#desk rect:not(.off)", "r => r.map(x => x.dataset.e)")
    assert len(shown) == 1
    before = page.locator("#desk svg").bounding_box()
    page.click("[data-zoom='1']")
    after = page.locator("#desk svg").bounding_box()
    assert before is not None
    assert after is not None
    assert after["width"] > 1.3 * before["width"]


def test_the_layout_of_a_page_is_shown_and_copied(page: Page) -> None:
    written = "Name: Wren\nTest\tResult\nCRP\t3\nTSH\t4 insulin\n~signed~"
    _upload(page, "form.png", picture(written))
    page.click("#t-layout")
    tables = page.locator("#p-layout table")
    shown = [table.inner_text().split() for table in tables.all()]
    assert shown == [
        ["1", "field", "Field", "Value", "Name", "Wren"],
        ["Table", "of", "3", "rows", "Test", "Result", "CRP", "3", "TSH", "4", "insulin"],
        ["Drawn", "on", "the", "page", "signature", "page", "1", "0,", "48", "to", "80,", "60"],
    ]
    assert page.locator("#p-layout th").all_text_contents() == ["Field", "Value", "Test", "Result"]
    assert page.locator("#sheets rect.drawn title").text_content() == "signature"
    page.click("#copy")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == "Name\tWren\n\nTest\tResult\nCRP\t3\nTSH\t4 insulin"
    _upload(page, "plain.png", picture("plain insulin"))
    page.wait_for_selector("#t-layout", state="hidden")
    assert page.is_visible("#p-text")


def test_a_picture_can_be_asked_for_by_curl_and_becomes_a_text(page: Page) -> None:
    _upload(page, "it's.png", picture("stage III insulin"))
    page.wait_for_selector("#desk rect")
    page.click("#t-curl")
    words = shlex.split(page.text_content("#curl") or "")
    assert words[1].endswith("/v1/extract/upload")
    assert words[words.index("-F") + 1] == "file=@it's.png"
    page.click("#t-json")
    shown = json.loads(page.inner_text("#json"))["documents"][0]
    assert shown["pages"][0]["picture"] == "…"
    assert shown["entities"][0]["boxes"]
    page.click("#as-text")
    assert page.is_hidden("#sheets")
    assert page.input_value("#text") == "stage III insulin"
    _upload(page, "c.jpg", b"\xff\xd8\xff")
    says(page, "#problem", "cannot be read")


def test_labels_are_chosen_before_anything_is_found(page: Page) -> None:
    page.click("#choice summary")
    page.click("#all-labels [data-label=Sign]")
    assert page.get_attribute("#all-labels [data-label=Sign]", "aria-pressed") == "true"
    assert page.inner_text("#look-what") == "Sign"
    read(page, TEXT)
    on = page.eval_on_selector_all("#marked mark:not(.off)", "m => m.map(x => x.dataset.t)")
    assert set(on) == {"Sign"}
    page.click("#t-curl")
    assert '"labels": [\n  "Sign"\n ]' in page.inner_text("#curl")


def test_a_guideline_is_chosen_by_name(page: Page) -> None:
    read(page, TEXT)
    page.select_option("#guideline", "ward")
    page.wait_for_selector("#marked mark[data-t=Medicine]")
    assert set(marked(page)) == {"Medicine", "Sign"}
    page.click("#t-curl")
    assert '"guideline": "ward"' in page.inner_text("#curl")


def test_streamed_output_is_shown(browser: Any, tmp_path: Path) -> None:
    served = Served(make_app(tmp_path, guideline="any", prompts=True))
    try:
        context = browser.new_context()
        page = context.new_page()
        page.goto(served.url)
        page.wait_for_selector("#t-said:not([hidden])")
        page.fill("#text", "some insulin")
        page.fill("#prompt", "Which drug?")
        page.keyboard.press("Control+Enter")
        says(page, "#said", "read 12")
        assert page.is_visible("#p-said")
        page.click("#t-curl")
        assert '"prompt": "Which drug?"' in page.inner_text("#curl")
        page.select_option("#guideline", label="labels of my own")
        page.fill("#labels", "Drug: what is taken\n\nDisease")
        page.press("#labels", "Tab")
        says(page, "#curl", "what is taken")
        asked = json.loads(shlex.split(page.text_content("#curl") or "")[-1])
        labels = {"Drug": "what is taken", "Disease": ""}
        assert asked["guideline"] == {"name": "page", "labels": labels}
        page.click("#t-text")
        page.wait_for_selector("#marked mark[data-t=Drug]")
        context.close()
    finally:
        served.stop()


def test_a_server_with_tokens_asks_for_one(
    browser: Any, tmp_path: Path, fake: FakeExtractor
) -> None:
    secret, entry = new_token("ward")
    (tmp_path / "tokens.yaml").write_text(
        json.dumps({"tokens": [entry.model_dump(mode="json", exclude_none=True)]})
    )
    served = Served(make_app(tmp_path, "{tokens: tokens.yaml}", fake))
    try:
        context = browser.new_context()
        page = context.new_page()
        page.goto(served.url)
        page.wait_for_selector("#ask[open]")
        page.fill("#token", "wrong")
        page.keyboard.press("Enter")
        says(page, "#ask-why", "not know")
        page.fill("#token", secret)
        page.keyboard.press("Enter")
        says(page, "#status", "entit")
        page.click("#t-curl")
        assert "$MEDSPAN_TOKEN" in page.inner_text("#curl")
        assert secret not in page.content()
        context.close()
    finally:
        served.stop()


def test_leaving_a_request_cancels_its_work(tmp_path: Path) -> None:
    held = FakeExtractor(hold=True)
    served = Served(make_app(tmp_path, fake=held))
    try:
        with socket.create_connection(("127.0.0.1", int(served.url[:-1].rsplit(":", 1)[1]))) as raw:
            body = b'{"text": "insulin"}'
            raw.sendall(
                b"POST /v1/extract HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json"
                b"\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
            )
            assert held.arrived.wait(10)
        future = held.held[0][1]
        ends = time.monotonic() + 10
        while not future.cancelled() and time.monotonic() < ends:
            time.sleep(0.02)
        assert future.cancelled()
    finally:
        held.release()
        served.stop()
