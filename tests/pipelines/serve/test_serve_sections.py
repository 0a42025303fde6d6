"""Sections that a document's markup states: they come with the text however it arrives."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient
from support.browser import Served, says
from support.serve import make_app
from typer.testing import CliRunner

from actors.spans import Document
from pipelines.cli.app import app
from pipelines.client import Client
from pipelines.offset_units import OffsetUnit
from pipelines.text.files import read_file

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytest_plugins = ["support.browser_fixtures"]

# Titles that no lexicon has: only the code says what the sections are.
CDA = """<ClinicalDocument xmlns="urn:hl7-org:v3"><title>\U0001f48a Letter</title><component>
<structuredBody><component><section><code code="10160-0"/><title>Was er nimmt</title>
<text>insulin, na\u00efve</text></section></component>
<component><section><code code="48765-2"/><title>Was er nicht vertr\u00e4gt</title>
<text>metformin</text></section></component></structuredBody></component></ClinicalDocument>"""
NAMES = ["medications", "allergies"]
MORE = "context: {}"


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    application = make_app(tmp_path, more=MORE)
    return TestClient(application, base_url="http://127.0.0.1:8000", raise_server_exceptions=False)


def _uploaded(client: TestClient, **options: Any) -> Any:
    answer = client.post(
        "/v1/extract/upload", files=[("file", CDA.encode())], data={"options": json.dumps(options)}
    )
    return answer.json()["documents"][0]


def _facts(answer: dict[str, Any]) -> Any:
    return [answer[key] for key in ("entities", "sections", "stated_sections")]


@pytest.mark.parametrize("unit", ["code_points", "utf16", "bytes"])
def test_a_text_sent_again_with_its_sections_has_the_answer_of_the_file(
    client: TestClient, unit: OffsetUnit
) -> None:
    file = _uploaded(client, offsets=unit)
    assert [section["name"] for section in file["sections"]] == NAMES
    assert [entity["section"] for entity in file["entities"]] == NAMES
    document = {"text": file["text"], "sections": file["stated_sections"]}
    again = client.post("/v1/extract", json={"documents": [document], "offsets": unit})
    assert _facts(again.json()["documents"][0]) == _facts(file)
    without = client.post("/v1/extract", json={"text": file["text"]}).json()["documents"][0]
    assert [entity["section"] for entity in without["entities"]] == [None, None]


def test_the_client_and_the_command_send_them(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = _uploaded(client)
    read = read_file(CDA.encode(), 10_000, "10 kB")
    served = Served(make_app(tmp_path, more=MORE))
    try:
        document = Document("a", read.text, sections=read.sections)
        with Client(served.url) as remote:
            [answer] = remote.extract([document])
        assert [entity.section for entity in answer.entities] == NAMES
        (tmp_path / "letter.xml").write_text(CDA)
        arguments = ["extract", "--json", "-f", str(tmp_path / "letter.xml")]
        monkeypatch.delenv("MEDSPAN_TOKEN", raising=False)
        found = CliRunner().invoke(app, [*arguments, "--url", served.url])
    finally:
        served.stop()
    assert found.exit_code == 0, found.output
    said = json.loads(found.stdout)
    assert said["sections"] == file["sections"]
    assert [entity["section"] for entity in said["entities"]] == NAMES


def _section(start: int, end: int, heading_end: int) -> dict[str, int]:
    return {"start": start, "end": end, "heading_end": heading_end}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"text": "abc", "sections": [_section(0, 4, 0)]}, "outside the text"),
        ({"text": "abc", "sections": [_section(-1, 3, 0)]}, "outside the text"),
        ({"text": "\U0001f48ac", "sections": [_section(1, 3, 1)]}, "within a character"),
        ({"text": "abc", "sections": [_section(0, 2, 3)]}, "not in order"),
        ({"text": "abc", "sections": [_section(1, 1, 1)]}, "not in order"),
        ({"text": "abc", "sections": [_section(1, 3, 1), _section(0, 1, 0)]}, "not in order"),
        ({"text": "abc", "sections": [_section(0, 2, 0), _section(1, 3, 1)]}, "not in order"),
        ({"image": "aaaa", "sections": [_section(0, 1, 0)]}, "sections need a text"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/extract", "/v1/extract/stream"])
def test_sections_that_are_not_in_the_text_are_refused(
    client: TestClient, document: dict[str, Any], words: str, path: str
) -> None:
    answer = client.post(path, json={"documents": [document], "offsets": "utf16"})
    assert answer.status_code == 422
    assert words in answer.text


def test_many_sections_are_refused_before_they_are_read(client: TestClient) -> None:
    sections = [_section(at, at + 1, at) for at in range(2_001)]
    answer = client.post("/v1/extract", json={"documents": [{"text": "", "sections": sections}]})
    assert answer.status_code in (413, 422)


@pytest.fixture
def noting(browser: Any, tmp_path: Path) -> Iterator[tuple[Page, list[dict[str, Any]]]]:
    """The page over a pipeline with a context stage, and the documents of its requests."""
    served = Served(make_app(tmp_path, more=MORE))
    page = browser.new_page()
    asked: list[dict[str, Any]] = []

    def note(request: Any) -> None:
        if request.url.endswith("/v1/extract"):
            asked.append(json.loads(request.post_data))

    page.on("request", note)
    page.goto(served.url)
    says(page, "#status", "entit")
    yield page, asked
    page.close()
    served.stop()


def _edit(page: Page, old: str, new: str) -> str:
    text = page.input_value("#text").replace(old, new)
    page.fill("#text", text)
    page.keyboard.press("Control+Enter")
    page.locator("#marked").filter(has_text=new.strip() or "insulin").wait_for()
    says(page, "#status", "in")
    return text


def test_the_page_keeps_them_while_the_note_is_edited(
    noting: tuple[Page, list[dict[str, Any]]],
) -> None:
    page, asked = noting
    file: Any = {"name": "letter.xml", "mimeType": "", "buffer": CDA.encode()}
    page.set_input_files("#file", files=file)
    says(page, "#sections", "Allergies")
    text = _edit(page, "insulin", "insulin \U0001f48a twice daily")
    says(page, "#sections", "Allergies")
    [document] = asked[-1]["documents"]
    headings = [text[one["start"] : one["heading_end"]] for one in document["sections"]]
    assert headings == ["Was er nimmt", "Was er nicht vertr\u00e4gt"]
    text = _edit(page, "Was er nicht vertr\u00e4gt\nmetformin", "")
    [document] = asked[-1]["documents"]
    assert [one["loinc"] for one in document["sections"]] == ["10160-0"]
    page.fill("#text", "another note")
    page.keyboard.press("Control+Enter")
    says(page, "#marked", "another note")
    assert asked[-1].get("text") == "another note"


def test_the_page_shows_what_was_left_out_of_a_file(
    noting: tuple[Page, list[dict[str, Any]]],
) -> None:
    page, _ = noting
    assert not page.is_visible("#doubts")
    message = b"MSH|^~\\&|A\rOBX|1|TX|||insulin\rOBX|2|NM|||4\r"
    page.set_input_files("#file", files={"name": "a.hl7", "mimeType": "", "buffer": message})
    says(page, "#doubts", "observations left out: 1 NM")
    page.fill("#text", "another note")
    page.keyboard.press("Control+Enter")
    says(page, "#marked", "another note")
    assert not page.is_visible("#doubts")


MOVED = """([sections, before, after]) =>
  import("/sections.js").then(({moved}) => moved(sections, before, after))"""


@pytest.mark.parametrize(
    ("after", "parts"),
    [
        ("A\none\nB\ntwo", ["A\none\n", "B\ntwo"]),
        ("A\n\U0001f48aone!\nB\ntwo", ["A\n\U0001f48aone!\n", "B\ntwo"]),
        (" A\none\nB\ntwo", ["A\none\n", "B\ntwo"]),
        ("A\none\nB:\ntwo", ["A\none\n", "B:\ntwo"]),
        ("A\none\nB\ntwo\nC", ["A\none\n", "B\ntwo\nC"]),
        ("A\none\n", ["A\none\n"]),
        ("B\ntwo", ["B\ntwo"]),
        ("A\nowo", ["A\nowo"]),
        ("x", []),
        ("", []),
    ],
)
def test_sections_move_with_what_is_edited(page: Page, after: str, parts: list[str]) -> None:
    before = "A\none\nB\ntwo"
    sections = [_section(0, 6, 1), _section(6, 11, 7)]
    found = page.evaluate(MOVED, [sections, before, after])
    assert [after[one["start"] : one["end"]] for one in found] == parts
    assert all(one["start"] <= one["heading_end"] <= one["end"] for one in found)
