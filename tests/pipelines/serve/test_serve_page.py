"""The page in a real Chromium (Debian's, by Playwright): how entities of a text are shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.testclient import TestClient
from support import ROOT
from support.browser import TEXT, Served, marked, read
from support.serve import MODEL, make_app

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytest_plugins = ["support.browser_fixtures"]


def test_marks_lose_nothing_and_stand_where_the_entities_do(page: Page) -> None:
    read(page, TEXT)
    assert marked(page) == {
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
    read(page, TEXT)
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
    read(page, TEXT)
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
    read(page, TEXT)
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


def test_the_keyboard_reaches_the_views(page: Page) -> None:
    page.focus("#t-text")
    for view in ("table", "json", "curl", "text"):
        page.keyboard.press("ArrowRight")
        assert page.get_attribute(f"#t-{view}", "aria-selected") == "true"
        assert page.is_visible(f"#p-{view}")
        assert page.evaluate("document.activeElement.id") == f"t-{view}"


def test_everything_has_a_name_for_a_screen_reader(page: Page) -> None:
    read(page, TEXT)
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
    read(page, TEXT + " " + "x" * 300)
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


def test_markup_in_a_note_stays_text(page: Page) -> None:
    read(page, "<img src=x onerror=alert(1)> insulin <script>alert(2)</script>")
    assert page.locator("#marked img, #marked script").count() == 0


def test_the_samples_of_the_page_are_those_of_the_quickstart(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    with TestClient(make_app(tmp_path), base_url="http://127.0.0.1") as client:
        script = client.get("/samples.js").text
    samples = json.loads(script[script.index("[") : script.rindex("]") + 1])
    folder = ROOT / "configs/samples/quickstart"
    known = set(pq.read_table(folder, columns=["note"])["note"].to_pylist())
    assert len(samples) == 3
    assert all(sample["text"] in known for sample in samples)
