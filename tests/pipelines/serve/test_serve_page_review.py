"""The page for annotators in a real Chromium: accept, reject, relabel, add, undo, export."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.browser import read, says
from support.serve import FakeExtractor

from actors.spans import Document, Entity, Extraction, Grounding, spanning
from pipelines.evaluate import GoldDocument, agreements
from pipelines.exchange.gold_formats import read_gold

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytest_plugins = ["support.browser_fixtures"]

NOTE = "💊💊 Insulin and e\u0301dema,\nnow with severe asthma. Metformin helps."
WORDS = {"Insulin": "Drug", "e\u0301dema": "Sign", "Metformin": "Drug"}
LINE = "Metformin 500 mg daily against asthma, Insulin at night, Metformin since March.\n"
LONG = LINE * 2500  # 200,000 characters, 7,500 entities


class Words(FakeExtractor):
    """Marks known words, and says one that the text does not have."""

    def read(self, document: Document) -> Extraction:
        text = document.text or ""
        found = tuple(
            spanning(text, m.start(), m.end(), WORDS[m[0]], score=0.9, model=self.name)
            for m in re.finditer("|".join(WORDS), text)
        )
        lost = Entity("Drug", "aspirin", None, None, 0.7, Grounding.UNGROUNDED, model=self.name)
        return Extraction(document.id, self.name, self.fingerprint, entities=(*found, lost))


@pytest.fixture(scope="module")
def fake() -> FakeExtractor:
    return Words()


@pytest.fixture
def review(page: Page) -> Page:
    read(page, NOTE)
    says(page, "#status", "4 entities")
    page.click("#review")
    return page


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def exported(page: Page, folder: Path, **fields: str) -> GoldDocument:
    """The document of the page's export, as ``medspan evaluate --gold`` reads it."""
    for name, value in fields.items():
        page.fill(f"#review-{name}", value)
    with page.expect_download() as download:
        page.click("#export")
    assert download.value.suggested_filename == "reviewed.jsonl"
    path = folder / f"{fields.get('name', 'reviewed')}.jsonl"
    download.value.save_as(path)
    (document,) = read_gold(str(path)).documents.values()
    return document


def spans(gold: GoldDocument) -> list[tuple[str, str]]:
    return [(gold.text[e.start : e.end], e.label) for e in gold.entities]


def select(page: Page, words: str) -> None:
    """Select words as a pointer does, wherever marks divide them."""
    page.evaluate(
        """words => {
          const text = document.querySelector("#marked");
          const walker = document.createTreeWalker(text, NodeFilter.SHOW_TEXT);
          const nodes = []; let whole = "";
          for (let node = walker.nextNode(); node; node = walker.nextNode()) {
            nodes.push([node, whole.length]); whole += node.data;
          }
          const at = whole.indexOf(words), place = (k) => {
            const [node, start] = nodes.findLast(([, start]) => start <= k);
            return [node, k - start];
          };
          getSelection().setBaseAndExtent(...place(at), ...place(at + words.length));
        }""",
        words,
    )


def test_marks_are_judged_by_keyboard_and_exported_as_gold(review: Page, tmp_path: Path) -> None:
    asked: list[str] = []
    review.on("request", lambda request: asked.append(request.url))
    press(review, "a", "r", "2")  # accept Insulin, reject édema, Metformin is a Sign
    says(review, "#review-said", "3 decisions, nothing undecided")
    verdicts = review.eval_on_selector_all("#marked mark", "m => m.map(x => x.dataset.v)")
    assert verdicts == ["accepted", "rejected", "accepted"]
    gold = exported(review, tmp_path, id="n1")
    assert (gold.id, gold.text) == ("n1", NOTE)
    assert spans(gold) == [("Insulin", "Drug"), ("Metformin", "Sign")]
    assert not gold.annotators
    assert [url for url in asked if not url.startswith("blob:")] == []


def test_undecided_entities_are_not_exported_until_accepted(review: Page, tmp_path: Path) -> None:
    press(review, "r")
    assert spans(exported(review, tmp_path)) == []
    says(review, "#review-said", "Exported without what is undecided")
    review.click("#accept-rest")
    says(review, "#review-said", "2 marks accepted")
    assert spans(exported(review, tmp_path)) == [("e\u0301dema", "Sign"), ("Metformin", "Drug")]


def test_selected_words_become_an_entity_across_lines_and_marks(
    review: Page, tmp_path: Path
) -> None:
    select(review, "e\u0301dema,\nnow with ")
    review.click("#review-labels [data-label=Drug]")
    says(review, "#review-said", "Drug: added")
    assert review.evaluate("document.activeElement.dataset.t") == "Drug"
    select(review, "asthma")
    review.fill("#review-label", "Disease")
    press(review, "Enter")
    says(review, "#review-said", "Disease: added")
    found = spans(exported(review, tmp_path))
    assert found == [("e\u0301dema,\nnow with", "Drug"), ("asthma", "Disease")]
    assert review.text_content("#marked") == NOTE
    assert review.text_content("#legend [data-label=Disease]") == "Disease 1"


def test_words_are_selected_by_keyboard_alone(review: Page, tmp_path: Path) -> None:
    press(review, "ArrowRight", "n")  # after édema
    assert review.evaluate("getSelection().toString()") == "now"
    press(review, "ArrowRight", "ArrowRight", "Shift+ArrowRight", "Shift+ArrowRight")
    assert review.evaluate("getSelection().toString()") == "severe asthma. Metformin"
    press(review, "Shift+ArrowLeft", "Shift+ArrowUp", "Shift+ArrowDown")
    assert review.evaluate("getSelection().toString()") == "severe asthma"
    press(review, "Enter")
    assert review.evaluate("document.activeElement.id") == "review-label"
    review.keyboard.type("Disease")
    press(review, "Enter")
    assert spans(exported(review, tmp_path)) == [("severe asthma", "Disease")]
    review.focus("#p-text")
    press(review, "n", "Escape")
    assert review.evaluate("getSelection().isCollapsed")


def test_every_step_can_be_undone(review: Page, tmp_path: Path) -> None:
    before = review.inner_html("#marked")
    press(review, "a", "2", "r")
    select(review, "asthma")
    review.click("#review-labels [data-label=Sign]")
    press(review, "r")  # what was added is taken back
    assert "asthma" not in review.eval_on_selector_all(
        "#marked mark", "marks => marks.map(m => m.textContent)"
    )
    for _ in range(5):
        review.click("#undo")
    assert review.is_disabled("#undo")
    says(review, "#review-said", "0 decisions, 3 undecided")
    without = re.compile(r' (tabindex|aria-describedby)="[^"]*"| hot\b')
    assert without.sub("", review.inner_html("#marked")) == without.sub("", before)
    assert spans(exported(review, tmp_path)) == []


def test_the_note_stays_as_it_is_while_it_is_reviewed(review: Page) -> None:
    press(review, "a")
    for selector in ("#go", "#model", "#clear-text", "#open"):
        assert review.is_disabled(selector)
    assert review.get_attribute("#text", "readonly") is not None
    press(review, "Control+Enter")
    says(review, "#review-said", "1 decision, 2 undecided")
    review.click("#review")
    assert review.is_hidden("#reviewer")
    assert review.is_enabled("#go")
    press(review, "r")  # no key of the page without a review
    assert review.locator("#marked mark[data-v=rejected]").count() == 0
    review.click("#review")
    says(review, "#review-said", "1 decision, 2 undecided")


def test_words_without_a_place_are_no_mark(review: Page) -> None:
    review.focus("#unplaced li")
    press(review, "a")
    says(review, "#review-said", "Choose a mark first")


def test_two_people_and_their_agreement(review: Page, tmp_path: Path) -> None:
    folder = tmp_path / "both"
    folder.mkdir()
    press(review, "a", "a", "a")
    exported(review, folder, name="ann", id="n1")
    review.click("#reject")  # the last one
    exported(review, folder, name="bob", id="n1")
    (found,) = agreements(read_gold(str(folder)).documents.values())
    assert (found.first, found.second) == ("ann", "bob")
    assert found.strict == pytest.approx(2 * 2 / (3 + 2))


def test_the_table_and_json_show_the_review(review: Page) -> None:
    press(review, "a", "r", "2")
    review.click("#t-table")
    says(review, "#rows", "accepted, was Drug")
    review.click("#t-json")
    assert [e["label"] for e in json.loads(review.inner_text("#json"))["entities"]] == [
        "Drug",
        "Sign",
    ]


def test_controls_and_verdicts_have_names_for_screen_readers(review: Page) -> None:
    press(review, "a")
    nodes: list[Any] = review.context.new_cdp_session(review).send("Accessibility.getFullAXTree")[
        "nodes"
    ]
    names = {
        (node["role"]["value"], node["name"]["value"])
        for node in nodes
        if node.get("name", {}).get("value")
    }
    said = " ".join(name for _, name in names)
    assert {("button", "Accept A"), ("button", "Reject R"), ("textbox", "Your name")} <= {
        (role, " ".join(re.sub(r"(?<=[a-z])(?=[A-Z]$)", " ", name).split())) for role, name in names
    }
    assert "Another label" in said
    assert "Drug, accepted" in said
    assert review.get_attribute("#review-said", "role") == "status"
    assert review.get_attribute("#review", "aria-pressed") == "true"


def test_a_long_document_is_reviewed_without_drawing_all_of_it(page: Page, tmp_path: Path) -> None:
    page.uncheck("#live")
    page.eval_on_selector("#text", "(box, text) => { box.value = text; }", LONG)
    page.click("#go")
    says(page, "#status", "7,501 entities")
    page.click("#review")
    press(page, "r", "a")
    select(page, "asthma")
    page.click("#review-labels [data-label=Sign]")
    assert page.locator("#marked mark").count() < 2000
    # What was decided is drawn again after it was out of view.
    page.evaluate("document.activeElement.blur()")
    page.eval_on_selector("#p-text", "panel => { panel.scrollTop = panel.scrollHeight; }")
    page.wait_for_selector("#marked .part:first-child:not(:has(mark))", state="attached")
    page.eval_on_selector("#p-text", "panel => { panel.scrollTop = 0; }")
    page.locator("#marked .part:first-child mark[data-v=added]").wait_for()
    page.click("#accept-rest")
    says(page, "#review-said", "7,498 marks accepted")
    gold = exported(page, tmp_path)
    assert len(gold.entities) == 7_500
    assert spans(gold)[:2] == [("asthma", "Sign"), ("Insulin", "Drug")]
