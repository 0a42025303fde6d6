"""The page in a real Chromium: status, codes, related entities and sections of what was found."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from support.browser import Served, read
from support.serve import FakeExtractor, make_app

from actors.spans import Document, Extraction, spanning

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytest_plugins = ["support.browser_fixtures"]

NOTE = (
    "🫀 Denies insulin use.\nFamily history:\nMother had diabetes.\n\n"
    "Medications:\nmetformin 500 mg daily"
)
SECTIONS = "Sections: family history · medications"
MORE = """
context: {}
relations: {}
linking:
  vocabularies:
    - index: starter:drugs
      labels: {Drug: []}
      drugs: [Drug]
      link: "https://example.org/{code}"
"""


class Prescribing(FakeExtractor):
    """Drugs, diseases and strengths by their words."""

    def read(self, document: Document) -> Extraction:
        text = document.text or ""
        entities = [
            spanning(text, at, at + len(words), label, score=score, model=self.name)
            for words, label, score in (
                ("insulin", "Drug", 0.5),
                ("diabetes", "Disease", 0.9),
                ("metformin", "Drug", 0.9),
                ("500 mg", "Strength", 0.9),
            )
            if (at := text.find(words)) >= 0
        ]
        return Extraction(document.id, self.name, self.fingerprint, entities=tuple(entities))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("status")
    served = Served(make_app(folder, fake=Prescribing(), labels=("Drug", "Disease"), more=MORE))
    yield served
    served.stop()


def test_a_mark_shows_its_status_and_names_it_after_its_label(page: Page) -> None:
    read(page, NOTE)
    drawn = page.eval_on_selector_all(
        "#marked mark",
        """marks => marks.map(m => [m.textContent, getComputedStyle(m).textDecorationLine,
          getComputedStyle(m, '::before').clipPath !== 'none',
          getComputedStyle(m, '::after').content])""",
    )
    found = {text: (line, sign, said) for text, line, sign, said in drawn}
    assert found["insulin"][:2] == ("line-through", False)
    assert found["insulin"][2].endswith('", negated"')
    assert found["diabetes"][1]
    assert found["diabetes"][2].endswith('", family"')
    assert found["metformin"][:2] == ("none", False)
    assert page.locator("#statuses .sample.negated").is_visible()
    assert page.locator("#statuses .sample.others").is_visible()
    assert page.inner_text("#sections") == SECTIONS
    page.uncheck("#names")
    bare = page.eval_on_selector_all(
        "#marked mark.negated", "m => m.map(x => getComputedStyle(x, '::after').content)"
    )
    page.check("#names")
    assert bare == ['"" / ", negated"'], "unseen, and still read aloud"
    read(page, "plain words")
    assert page.is_hidden("#statuses")


def test_cue_code_and_relations_by_pointer_and_in_the_table(page: Page) -> None:
    read(page, NOTE)
    page.hover("#marked mark.negated")
    assert "negated: “Denies” (en." in page.inner_text("#pop")
    page.hover("#marked mark:text-is('metformin')")
    said = page.inner_text("#pop")
    assert "drugbank DB00331, Metformin" in said
    assert "500 mg (value 500, unit mg)" in said
    assert page.locator("#marked mark.kin").all_text_contents() == ["500 mg"]
    page.click("#t-table")
    (code,) = page.locator("#rows a", has_text="Metformin").all()
    assert code.get_attribute("href") == "https://example.org/DB00331"
    assert code.get_attribute("rel") == "noopener noreferrer"
    assert page.locator("#rows .f-status", has_text="negated").count() == 1
    read(page, "plain insulin")
    assert page.is_hidden("#p-table th.f-status")
    page.click("#t-text")


def test_relations_of_the_shown_json_go_by_what_is_shown(page: Page) -> None:
    read(page, NOTE)
    page.evaluate(
        "() => { const s = document.querySelector('#score'); s.value = 0.8;"
        " s.dispatchEvent(new Event('input')); }"
    )
    page.click("#t-json")
    shown: dict[str, Any] = json.loads(page.inner_text("#json"))["documents"][0]
    texts = [entity["text"] for entity in shown["entities"]]
    links = [(texts[r["head"]], r["type"], texts[r["tail"]]) for r in shown["relations"]]
    assert "insulin" not in texts
    assert ("metformin", "strength", "500 mg") in links


def test_the_table_fits_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    read(page, NOTE)
    page.click("#t-table")
    wider = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(wider) == 0
