"""The page in a real Chromium (Debian's, driven by Playwright), over a fake model."""

from __future__ import annotations

import json
import shlex
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from page_kit import CHROMIUM, TEXT, Nesting, Served
from serve_fakes import MODEL, FakeExtractor, make_app, picture
from starlette.testclient import TestClient

from pipelines.serve.tokens import new_token

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def fake() -> FakeExtractor:
    return Nesting()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, fake: FakeExtractor) -> Iterator[Served]:
    labels = ("Stage", "Cancer", "Disease", "Drug", "Substance", "Sign")
    folder = tmp_path_factory.mktemp("page")
    (folder / "ward.yaml").write_text(
        "name: ward\nlabels: {Medicine: {synonyms: [Drug]}, Sign: }\n"
    )
    serve = "{guidelines: [ward.yaml]}"
    served = Served(make_app(folder, serve, fake=fake, labels=labels, ocr=True))
    yield served
    served.stop()


@pytest.fixture(scope="module")
def context(browser: Any) -> Iterator[Any]:
    context = browser.new_context()
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    context.set_default_timeout(20_000)
    yield context
    context.close()


@pytest.fixture
def page(context: Any, served: Served) -> Iterator[Page]:
    page = context.new_page()
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda m: troubles.append(m.text) if m.type == "error" else None)
    page.on(
        "request",
        lambda r: None if r.url.startswith(served.url) else troubles.append(f"asked {r.url}"),
    )
    page.goto(served.url)
    _says(page, "#status", "entit")
    yield page
    page.close()
    # The browser itself reports an answer of 503; a test may ask for one.
    troubles = [trouble for trouble in troubles if "status of 503" not in trouble]
    assert troubles == [], "an error in the page, or a request to somewhere else"


def _says(page: Page, selector: str, words: str) -> None:
    # Not wait_for_function: it evaluates a string, which the page's policy forbids, rightly.
    page.locator(selector).filter(has_text=words).wait_for()


def _read(page: Page, text: str) -> None:
    page.fill("#text", text)
    page.keyboard.press("Control+Enter")
    ends = time.monotonic() + 10
    while page.text_content("#marked") != text:
        assert time.monotonic() < ends
        page.wait_for_timeout(20)


def _marked(page: Page) -> dict[str, str]:
    """Label to the text in its marks, of whatever pieces they are."""
    parts = page.eval_on_selector_all(
        "#marked mark", "marks => marks.map(m => [m.dataset.t, m.textContent])"
    )
    found: dict[str, str] = {}
    for label, text in parts:
        found[label] = found.get(label, "") + text
    return found


def test_marks_lose_nothing_and_stand_where_the_entities_do(page: Page) -> None:
    _read(page, TEXT)
    assert _marked(page) == {
        "Stage": "stage III",
        "Cancer": "colon carcinoma",
        "Disease": "stage III colon carcinoma",
        "Crossing": "III colon",
        "Drug": "insulin",
        "Substance": "insulin",
        "Sign": "e\u0301dema",
    }
    assert page.inner_text("#unplaced li span") == "aspirin"
    assert page.inner_text("#status").startswith("8 entities in")


def test_two_marks_over_a_character_never_share_a_line(page: Page) -> None:
    _read(page, TEXT)
    nested = page.eval_on_selector_all(
        "#marked mark mark",
        """marks => marks.map(inner => {
          const level = m => [...m.classList].find(c => /^l[0-9]/.test(c)) || 'l0';
          const levels = [];
          for (let m = inner; m && m.matches('mark'); m = m.parentElement) levels.push(level(m));
          return levels.length === new Set(levels).size;
        })""",
    )
    assert nested
    assert all(nested)


def test_score_and_grounding_by_pointer_and_by_keyboard(page: Page) -> None:
    _read(page, TEXT)
    page.hover("#marked mark[data-t=Drug]")
    said = page.inner_text("#pop")
    for words in ("Drug", "0.900", "exact", "–", MODEL):
        assert words in said
    page.mouse.move(0, 0)
    page.focus("#unplaced li")
    assert "ungrounded" in page.inner_text("#pop")
    page.keyboard.press("ArrowRight")
    focused = "document.activeElement.closest('#marked mark') !== null"
    assert page.evaluate(focused)
    assert page.get_attribute("#marked mark:focus", "aria-describedby") == "pop"
    page.keyboard.press("Escape")
    assert page.is_hidden("#pop")


def test_filters_are_in_the_marks_the_table_the_json_and_the_curl(page: Page) -> None:
    _read(page, TEXT)
    page.click("#legend [data-label=Drug]")
    assert page.get_attribute("#legend [data-label=Drug]", "aria-pressed") == "true"
    on = page.eval_on_selector_all("#marked mark:not(.off)", "m => m.map(x => x.dataset.t)")
    assert set(on) == {"Drug"}
    page.evaluate(
        "() => { const s = document.querySelector('#score'); s.value = 0.8;"
        " s.dispatchEvent(new Event('input')); }"
    )
    page.click("#t-table")
    assert page.locator("#rows tr").count() == 1
    page.click("#t-json")
    shown = json.loads(page.inner_text("#json"))["documents"][0]["entities"]
    assert [(e["label"], e["text"]) for e in shown] == [("Drug", "insulin")]
    page.click("#t-curl")
    page.click("#copy")
    assert page.evaluate("navigator.clipboard.readText()") == page.inner_text("#curl")


def test_the_curl_line_asks_for_what_the_page_shows(page: Page, served: Served) -> None:
    _read(page, TEXT)
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


def test_the_keyboard_reaches_the_views(page: Page) -> None:
    page.focus("#t-text")
    for view in ("table", "json", "curl", "text"):
        page.keyboard.press("ArrowRight")
        assert page.get_attribute(f"#t-{view}", "aria-selected") == "true"
        assert page.is_visible(f"#p-{view}")
        assert page.evaluate("document.activeElement.id") == f"t-{view}"


def test_everything_has_a_name_for_a_screen_reader(page: Page) -> None:
    _read(page, TEXT)
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, textarea, [role=tabpanel]')]
          .filter(e => e.checkVisibility())
          .filter(e => !(e.ariaLabel || e.labels?.length || e.textContent.trim()
            || e.getAttribute('aria-labelledby')))
          .map(e => e.outerHTML)"""
    )
    assert unnamed == []
    assert page.get_attribute("html", "lang") == "en"
    assert page.get_attribute("#status", "role") == "status"
    assert page.get_attribute("#problem", "role") == "alert"


def test_no_width_needs_scrolling_sideways(page: Page) -> None:
    _read(page, TEXT + " " + "x" * 300)
    wider = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    for width in (320, 390, 768, 1024, 1440):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate(wider) == 0, width


def test_dark_mode_keeps_the_ink_legible(browser: Any, served: Served) -> None:
    inks = []
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme=scheme)
        page = context.new_page()
        page.goto(served.url)
        page.wait_for_selector("#legend .chip, .empty")
        style = "getComputedStyle(document.body)"
        inks.append(page.evaluate(f"[{style}.color, {style}.backgroundColor]"))
        context.close()
    assert inks[0] != inks[1]
    light, dark = ([sum(map(int, c[4:-1].split(","))) for c in pair] for pair in inks)
    assert light[0] < light[1]
    assert dark[0] > dark[1]


def test_a_problem_is_said_and_goes_away(page: Page, fake: FakeExtractor) -> None:
    fake.error = RuntimeError("secret")
    try:
        page.fill("#text", "one insulin")
        page.wait_for_selector("#problem:not([hidden])")
        assert "No replica of the model can answer now" in page.inner_text("#problem")
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
    _upload(page, "c.png", b"\xff")
    _says(page, "#problem", "cannot be read")


def test_labels_are_chosen_before_anything_is_found(page: Page) -> None:
    page.click("#choice summary")
    page.click("#all-labels [data-label=Sign]")
    assert page.get_attribute("#all-labels [data-label=Sign]", "aria-pressed") == "true"
    assert page.inner_text("#look-what") == "Sign"
    _read(page, TEXT)
    on = page.eval_on_selector_all("#marked mark:not(.off)", "m => m.map(x => x.dataset.t)")
    assert set(on) == {"Sign"}
    page.click("#t-curl")
    assert '"labels": [\n  "Sign"\n ]' in page.inner_text("#curl")


def test_a_guideline_is_chosen_by_name(page: Page) -> None:
    _read(page, TEXT)
    page.select_option("#guideline", "ward")
    page.wait_for_selector("#marked mark[data-t=Medicine]")
    assert set(_marked(page)) == {"Medicine", "Sign"}
    page.click("#t-curl")
    assert '"guideline": "ward"' in page.inner_text("#curl")


def test_what_a_language_model_prints_is_shown(browser: Any, tmp_path: Path) -> None:
    served = Served(make_app(tmp_path, guideline="any", prompts=True))
    try:
        context = browser.new_context()
        page = context.new_page()
        page.goto(served.url)
        page.wait_for_selector("#t-said:not([hidden])")
        page.fill("#text", "some insulin")
        page.fill("#prompt", "Which drug?")
        page.keyboard.press("Control+Enter")
        _says(page, "#said", "read 12")
        assert page.is_visible("#p-said")
        page.click("#t-curl")
        assert '"prompt": "Which drug?"' in page.inner_text("#curl")
        page.select_option("#guideline", label="labels of my own")
        page.fill("#labels", "Drug: what is taken\n\nDisease")
        page.press("#labels", "Tab")
        _says(page, "#curl", "what is taken")
        asked = json.loads(shlex.split(page.text_content("#curl") or "")[-1])
        labels = {"Drug": "what is taken", "Disease": ""}
        assert asked["guideline"] == {"name": "page", "labels": labels}
        page.click("#t-text")
        page.wait_for_selector("#marked mark[data-t=Drug]")
        context.close()
    finally:
        served.stop()


def test_markup_in_a_note_stays_text(page: Page) -> None:
    _read(page, "<img src=x onerror=alert(1)> insulin <script>alert(2)</script>")
    assert page.locator("#marked img, #marked script").count() == 0


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
        _says(page, "#ask-why", "not know")
        page.fill("#token", secret)
        page.keyboard.press("Enter")
        _says(page, "#status", "entit")
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


def test_the_samples_of_the_page_are_those_of_the_quickstart(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    with TestClient(make_app(tmp_path), base_url="http://127.0.0.1") as client:
        script = client.get("/samples.js").text
    samples = json.loads(script[script.index("[") : script.rindex("]") + 1])
    folder = Path(__file__).parent.parent / "configs/samples/quickstart"
    known = set(pq.read_table(folder, columns=["note"])["note"].to_pylist())
    assert len(samples) == 3
    assert all(sample["text"] in known for sample in samples)
