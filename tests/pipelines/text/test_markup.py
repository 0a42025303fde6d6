"""The visible text of markup: what a reader would see, and nothing of how it was written."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import threading
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.word import paragraph, word

from actors.config.merge import Merge
from pipelines.batch.finish import finish_unit
from pipelines.config import Source
from pipelines.source.read import read_units
from pipelines.source.units import plan_source
from pipelines.text.errors import BadMarkupError
from pipelines.text.markup import process
from pipelines.text.markup.detect import markup_kind
from pipelines.text.markup.line_layout import Visible
from pipelines.text.markup.process import SMALL, visible_text

HTML = (
    "<div><p>Patients&nbsp;received <b>met</b>formin&nbsp;500&#160;mg<br/>twice&nbsp;daily</p>"
    "<table><tr><td>for</td><td>12</td><td>weeks</td></tr></table>"
    "<style>p {color: red}</style><script>alert(1)</script><p hidden>not this</p>"
    "<p>Potassium &lt;3.5 mmol/L &amp; rising</p></div>"
)
SEEN = (
    "Patients received metformin 500 mg\ntwice daily\nfor\t12\tweeks\n"
    "Potassium <3.5 mmol/L & rising"
)
RTF = "{\\rtf1\\ansi Patients received \\b met\\b0 formin 500 mg\\par twice daily \\u233?.}"
CDA = """<?xml version="1.0"?><ClinicalDocument xmlns="urn:hl7-org:v3"><title>Discharge</title>
<component><structuredBody><component><section><code code="10160-0"/><title>Medications</title>
<text><list><item>Metformin <content>500 mg</content> daily</item><item>Aspirin</item></list>
<table><tr><td>a</td><td>b &lt; c</td></tr></table></text>
<entry><observation><code displayName="hidden"/></observation></entry></section></component>
</structuredBody></component></ClinicalDocument>"""
RTF_SEEN = "Patients received metformin 500 mg\ntwice daily é."
HL7 = (
    "MSH|^~\\&|LAB|H|EHR|H|20240101||ORU^R01|1|P|2.5\r"
    "OBX|1|TX|N^Note||Metformin 500 mg\\.br\\Tylenol \\T\\ codeine||||||F\r"
    "OBX|2|NM|K^Potassium||3.5|mmol/L|||||F\r"
    "OBX|3|FT|N^Note||first~second||||||F\r"
    "NTE|1|L|comment\r"
)


HL7_SEEN = "Metformin 500 mg\nTylenol & codeine\nfirst\nsecond\ncomment"


def _fhir(type_: str, text: bytes) -> str:
    attachment = {"contentType": type_, "data": base64.b64encode(text).decode()}
    document = {
        "resourceType": "DocumentReference",
        "text": {"status": "generated", "div": "<div>a summary</div>"},
        "content": [{"attachment": attachment}],
    }
    return json.dumps({"resourceType": "Bundle", "entry": [{"resource": document}]})


@pytest.mark.parametrize(
    ("kind", "markup", "seen"),
    [
        ("html", HTML, SEEN),
        ("html", "<pre>a\n  b</pre>c", "a\nb\nc"),
        ("html", "one<br>two<br>three", "one\ntwo\nthree"),
        ("rtf", RTF, RTF_SEEN),
        (
            "cda",
            CDA,
            "Discharge\nMedications\nMetformin 500 mg daily\nAspirin\na\tb < c",
        ),
        ("hl7", HL7, HL7_SEEN),
        ("hl7", HL7.replace("\r", "\n"), HL7_SEEN),
        ("hl7", HL7.translate(str.maketrans("|~\\&", "#*?!")), HL7_SEEN.replace("&", "!")),
        ("hl7", f"\x0b{HL7}\x1c\r", HL7_SEEN),
        ("hl7", f"FHS|^~\\&|A\rBHS|^~\\&|A\r{HL7}{HL7}BTS|2\rFTS|1\r", f"{HL7_SEEN}\n{HL7_SEEN}"),
        ("fhir", _fhir("text/plain; charset=latin-1", "fièvre".encode("latin-1")), "fièvre"),
        ("fhir", _fhir("text/html", HTML.encode()), SEEN),
        ("fhir", _fhir("application/rtf", RTF.encode()), RTF_SEEN),
        ("fhir", _fhir("application/pdf", b"%PDF"), "a summary"),
    ],
)
def test_visible_text_of_markup(kind: str, markup: str, seen: str) -> None:
    assert markup_kind(markup) == kind
    assert visible_text(markup, "auto").text == seen
    assert visible_text(markup, kind).text == seen


@pytest.mark.parametrize(
    ("html", "seen"),
    [
        ("<tr><td><p>a</p></td><td><p>b</p></td></tr><tr><td>c</td></tr>", "a\tb\nc"),
        ("<tr><td><p>a</p><p>b</p></td><td><br>c<br>d<br></td></tr>", "a\nb\tc\nd"),
        ("<tr><td><p>a</p> <table><tr><td>b</td><td>c</td></tr><tr><td>d", "a\nb\tc\nd"),
        ("<tr><td></td><td><pre>a\nb</pre></td></tr><tr><td>c", "a\nb\nc"),
    ],
)
def test_paragraphs_of_cells_stay_in_their_row(html: str, seen: str) -> None:
    assert visible_text(f"<table>{html}", "html").text == seen


def test_boxes_of_a_form_are_ticked_or_not() -> None:
    boxes = "<input type=checkbox checked> smoker <input type=radio> drinks <input value=x>"
    assert visible_text(boxes, "html").text == "☒ smoker ☐ drinks"


@pytest.mark.parametrize(
    "text",
    [
        "Glucose <5 and >3; K <b> 7.",
        "a < b > c",
        "{not: json}",
        '{"text": "json, but no resource"}',
        "Subject: <p.smith@example.org>",
        "MSH is no segment here",
        "",
    ],
)
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert markup_kind(text) is None
    assert visible_text(text, "auto") == Visible(text)


PDF = base64.b64encode(b"%PDF").decode()
WORD = "vnd.openxmlformats-officedocument.wordprocessingml.document"
BODY = (
    "<ClinicalDocument><component><nonXMLBody><text mediaType='{}' representation='B64'>{}</text>"
)
BODY += "</nonXMLBody></component></ClinicalDocument>"


def _binary(*attachments: tuple[str, bytes]) -> str:
    contents = [json.loads(_fhir(type_, content)) for type_, content in attachments]
    return json.dumps({"resourceType": "Bundle", "entry": contents})


@pytest.mark.parametrize(
    ("markup", "seen", "problems"),
    [
        (
            f"MSH|^~\\&|A\rOBX|1|ED|||^AP^PDF^Base64^{PDF}\rOBX|2|NM|||4\rOBX|3|TX|||a\r"
            f"OBX|4|ED|||^TEXT^RTF^Base64^{base64.b64encode(RTF.encode()).decode()}",
            f"a\n\n{RTF_SEEN}",
            ["attachments left out: 1 application/pdf", "observations left out: 1 NM"],
        ),
        (BODY.format("text/plain", base64.b64encode(b"Aspirin").decode()), "Aspirin", []),
        (
            BODY.format("application/pdf", PDF),
            "",
            ["attachments left out: 1 application/pdf", "no text is visible in it"],
        ),
        (
            _binary((f"application/{WORD}", word(paragraph("Aspirin"))), ("image/png", b"x")),
            "Aspirin",
            ["attachments left out: 1 image/png"],
        ),
        (
            _binary((f"application/{WORD}", b"PK"), ("text/plain", b"Aspirin")),
            "Aspirin",
            [f"attachments left out: 1 damaged application/{WORD}"],
        ),
        (
            _binary(("Mrs. Miller", b"x")),
            "a summary",
            ["attachments left out: 1 of an unknown type"],
        ),
        ("<html><p hidden>x", "", ["no text is visible in it"]),
    ],
)
def test_what_markup_has_beside_its_text_is_named(
    markup: str, seen: str, problems: list[str]
) -> None:
    found = visible_text(markup)
    assert (found.text, list(found.problems)) == (seen, problems)


@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    visible_text(f"<p>{text}</p>", "html")
    if markup_kind(text) is None:
        assert visible_text(text, "auto") == Visible(text)


def _stated(markup: str, kind: str) -> list[tuple[str, str, str | None]]:
    """Heading, text with the heading, and LOINC code of the sections that markup states."""
    seen = visible_text(markup, kind)
    return [
        (seen.text[s.start : s.heading_end], seen.text[s.start : s.end], s.loinc)
        for s in seen.sections
    ]


SECTIONS = """<ClinicalDocument xmlns="urn:hl7-org:v3"><title>Discharge summary</title><component>
<structuredBody><component><section>
<code code="10160-0" codeSystem="2.16.840.1.113883.6.1"/><title>Home meds</title>
<text>Aspirin</text>
<component><section><code code="X" codeSystem="2.16.840.1.113883.6.96"/><title> </title>
<text>Inner</text></section></component></section></component>
<component><section><code code="48765-2"/><title>Allergies</title><text/></section></component>
</structuredBody></component></ClinicalDocument>"""
STATED = [
    ("Home meds", "Home meds\nAspirin\n", "10160-0"),
    ("", "Inner\n", None),
    ("Allergies", "Allergies", "48765-2"),
]


def test_sections_of_a_clinical_document_are_stated_with_their_codes() -> None:
    assert _stated(SECTIONS, "cda") == STATED
    assert _stated(HTML, "html") == []


def test_sections_of_an_attachment_are_where_its_text_is() -> None:
    one = json.loads(_fhir("text/html", b"<p>before</p>"))
    other = json.loads(_fhir("application/xml", SECTIONS.encode()))
    both = json.dumps(one | {"entry": one["entry"] + other["entry"]})
    assert _stated(both, "fhir") == STATED


LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>'
    "<ClinicalDocument><title>&b;</title></ClinicalDocument>"
)


@pytest.mark.parametrize(
    ("kind", "markup", "why"),
    [
        ("cda", LAUGHS, "entities or a DTD"),
        ("cda", "<ClinicalDocument><a></ClinicalDocument>", "not well-formed XML at line 1"),
        ("cda", "<a>" * 3000 + "</a>" * 3000, "nested more than"),
        ("html", "<div>" * 3000 + "x", "nested more than"),
        ("fhir", "{", "not JSON"),
        ("fhir", '{"resourceType":' + "[" * 90_000, "nested too deeply"),
        ("fhir", '{"resourceType": "X", "contentType": "text/plain", "data": "\u00e9"}', "base64"),
        ("fhir", _fhir("text/plain; charset=none-such", b"x"), "in its charset"),
        ("rtf", "plain", "not RTF"),
        ("hl7", "plain", "not an HL7"),
    ],
)
def test_unreadable_markup_error_quotes_no_text(kind: str, markup: str, why: str) -> None:
    with pytest.raises(BadMarkupError, match=why):
        visible_text(markup, kind)


def _rows(path: Path, **more: Any) -> list[dict[str, Any]]:
    source = Source(path=str(path), id="id", **more)
    plan = plan_source(source)
    return [r for table in read_units(plan.units, source, plan.keep) for r in table.to_pylist()]


def test_rows_have_what_is_seen_and_the_hash_of_what_was_stored(tmp_path: Path) -> None:
    texts = ["plain <5", HTML, RTF, LAUGHS]
    (tmp_path / "a.jsonl").write_text(
        "\n".join(json.dumps({"id": str(i), "text": text}) for i, text in enumerate(texts))
    )
    rows = _rows(tmp_path)
    assert [row["text"] for row in rows[:2]] == ["plain <5", SEEN]
    hashes = [row["original_hash"] for row in rows]
    assert hashes[0] is None
    assert hashes[1] == hashlib.blake2b(HTML.encode(), digest_size=16).hexdigest()
    assert (rows[3]["error_type"], rows[3]["text"]) == ("BadMarkup", None)
    assert [row["text"] for row in _rows(tmp_path, markup="none")] == texts


def test_rows_carry_the_sections_that_their_markup_states(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"id": "1", "text": SECTIONS}))
    (row,) = _rows(tmp_path)
    headings = [row["text"][s["start"] : s["heading_end"]] for s in row["sections"]]
    assert headings == [heading for heading, _, _ in STATED]


SLOW = "<html><p " + " ".join(f"a{number}=1" for number in range(400_000)) + ">x</p>"
"""Takes the parser of HTML an hour: it looks at all attributes of an element for each."""


def test_markup_that_takes_its_parser_too_long_fails_alone(tmp_path: Path) -> None:
    texts = ["<p>one</p>", SLOW, "<p>two</p>" + "<p>long</p>" * SMALL]
    (tmp_path / "a.jsonl").write_text(
        "\n".join(json.dumps({"id": str(i), "text": text}) for i, text in enumerate(texts))
    )
    one, slow, two = _rows(tmp_path, max_markup_s=2)
    assert one["text"] == "one"
    assert (slow["error_type"], slow["text"]) == ("BadMarkup", None)
    assert "more than 2 s of CPU time" in slow["error_message"]
    assert two["text"].startswith("two\nlong\n")


@pytest.mark.parametrize(
    ("kind", "markup"),
    [
        ("html", SLOW),
        ("html", "".join(f"<font x={number}>" for number in range(SMALL))),
        ("html", "<a>" * SMALL),
        ("html", "<b><p>" * SMALL),
        ("html", "<table><b>" * SMALL),
        ("rtf", "{\\rtf1 " + "{\\fonttbl" * SMALL),
        ("rtf", "{\\rtf1 " + "\\u233?" * SMALL),
        ("cda", "<ClinicalDocument><text>" + "<br/>" * SMALL),
        ("cda", "<ClinicalDocument " + " ".join(f"a{n}='1'" for n in range(SMALL))),
        ("hl7", "MSH|^~\\&|a\rOBX|1|TX|a||" + "x~y^z&" * SMALL),
        ("hl7", "MSH|^~\\&|a\rOBX|1|TX|a||" + "\\" * SMALL),
        ("hl7", "MSH|^~\\&|a\r" + "OBX|1|TX|a||x\r" * SMALL),
        ("fhir", '{"resourceType":' + "[" * SMALL),
    ],
    ids=lambda value: value[:24],
)
def test_the_longest_text_parsed_in_this_process_is_soon_done(kind: str, markup: str) -> None:
    """Within this test's own limit: a second where it was measured, and never minutes."""
    with suppress(BadMarkupError):
        assert visible_text(markup[:SMALL], kind).text is not None


def test_a_text_that_crashes_its_parser_fails_alone() -> None:
    long = "<p>x</p>" * SMALL
    visible_text(long)
    child = process._CHILDREN._idle[-1]
    os.kill(child._process.pid, signal.SIGSTOP)
    threading.Timer(0.2, os.kill, (child._process.pid, signal.SIGKILL)).start()
    with pytest.raises(BadMarkupError, match="crashed the parser"):
        visible_text(long)
    assert visible_text(long).text.startswith("x\nx")


def test_the_documents_table_has_the_originals_hash_and_what_was_left_out(tmp_path: Path) -> None:
    message = "MSH|^~\\&|A\rOBX|1|TX|||Aspirin\rOBX|2|NM|||4\r"
    (tmp_path / "a.hl7").write_bytes(message.encode())
    (tmp_path / "b.txt").write_text("plain")
    source = Source(path=str(tmp_path))
    plan = plan_source(source)
    (table,) = read_units(plan.units, source, plan.keep)
    read, plain = finish_unit(table, Merge(), datetime.now(UTC))[0].documents.to_pylist()
    assert read["text"] == "Aspirin"
    assert read["problems"] == ["observations left out: 1 NM"]
    assert read["original_hash"] == hashlib.blake2b(message.encode(), digest_size=16).hexdigest()
    assert (plain["original_hash"], plain["problems"]) == (None, None)
