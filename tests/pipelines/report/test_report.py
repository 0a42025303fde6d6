from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.spans import (
    Assertion,
    Code,
    Cue,
    Entity,
    Experiencer,
    Grounding,
    Relation,
    Section,
    Status,
    spanning,
)
from pipelines.markup.colours import HUES, looks
from pipelines.markup.highlight import Mark, highlight
from pipelines.markup.layers import pieces
from pipelines.markup.numbers import duration, rate
from pipelines.report import (
    ReportDocument,
    ReportRun,
    ReportStep,
    has_problem,
    render_report,
    sample,
    write,
)

UNICODE = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from("\r\n\t \u00a0&<>\"'e\u0301Đ\u0323\u2028\0\ud800🫀👩\u200d⚕️漢عaaaa"),
    ),
    max_size=60,
)


@st.composite
def spans_of(draw: Any, texts: st.SearchStrategy[str] = UNICODE) -> tuple[str, list[Mark]]:
    text = draw(texts.filter(len))
    edges = st.integers(0, len(text))
    pairs = draw(st.lists(st.tuples(edges, edges).filter(lambda p: p[0] != p[1]), max_size=8))
    marks = [Mark(min(p), max(p), i % 3, i, '"tag>' * (i % 2)) for i, p in enumerate(pairs)]
    return text, marks


class Tags(HTMLParser):
    """The text of a fragment, and the text inside each data-e."""

    def __init__(self, fragment: str) -> None:
        super().__init__(convert_charrefs=False)
        self.text = ""
        self.inside: dict[str, str] = {}
        self.open: list[str] = []
        self.feed(str(fragment))  # a Markup would escape what it is joined with
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "mark":
            self.open.append(str(dict(attrs)["data-e"]))

    def handle_endtag(self, tag: str) -> None:
        if tag == "mark":
            self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text += data
        for name in self.open:
            self.inside[name] = self.inside.get(name, "") + data

    def handle_entityref(self, name: str) -> None:
        self.handle_data(html.unescape(f"&{name};"))

    def handle_charref(self, name: str) -> None:
        self.handle_data(html.unescape(f"&#{name};"))


def visible(text: str) -> str:
    """Replace code points that HTML cannot hold, each by one sign."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text.replace("\0", "\u2400"))


@settings(max_examples=300)
@given(spans_of())
def test_highlighting_loses_nothing_and_marks_exactly_the_spans(
    case: tuple[str, list[Mark]],
) -> None:
    text, marks = case
    parsed = Tags(highlight(text, marks))
    assert parsed.text == visible(text)
    for mark in marks:
        assert parsed.inside[str(mark.item)] == visible(text[mark.start : mark.end])


@given(spans_of())
def test_no_raw_carriage_return_reaches_a_parser_that_would_rewrite_it(
    case: tuple[str, list[Mark]],
) -> None:
    assert "\r" not in highlight(*case)


@given(spans_of())
def test_spans_that_share_a_character_never_share_an_underline(
    case: tuple[str, list[Mark]],
) -> None:
    text, marks = case
    cut = pieces(len(text), [(mark.start, mark.end) for mark in marks])
    assert [p.start for p in cut] == [0, *(p.end for p in cut[:-1])]
    levels: dict[int, int] = {}
    for piece in cut:
        assert len(set(piece.levels)) == len(piece.levels)
        for i, level in zip(piece.spans, piece.levels, strict=True):
            assert levels.setdefault(i, level) == level  # one height from end to end
    for piece in cut:  # outermost first
        widths = [marks[i].end - marks[i].start for i in piece.spans]
        assert all(a >= b for a, b in pairwise(widths))


def test_crossing_spans_are_both_whole_and_named_once() -> None:
    out = highlight("abcdef", [Mark(0, 4, 0, 0, "A"), Mark(2, 6, 1, 1, "B")])
    assert out.count('data-t="A"') == out.count('data-t="B"') == 1
    assert Tags(out).inside == {"0": "abcd", "1": "cdef"}


def test_a_span_outside_the_text_is_refused() -> None:
    with pytest.raises(ValueError, match="outside the text"):
        highlight("abc", [Mark(1, 4, 0, 0)])


def test_a_label_keeps_its_colour_and_36_labels_look_different() -> None:
    names = [f"Label{i}" for i in range(36)]
    assert len({(look.hue, look.line) for look in looks(names).values()}) == 36
    assert looks(["Drug", "Dose"]) == looks(["Dose", "Drug", "Drug"])
    assert looks(["Drug"])["Drug"] == looks(["Drug", "Dose"])["Drug"]
    assert len(looks(str(i) for i in range(80))) == 80


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _mixed(ink: str, paper: str, part: float) -> str:
    both = [(int(ink[i : i + 2], 16), int(paper[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a * part + b * (1 - part)):02x}" for a, b in both)


@pytest.mark.parametrize("hue", HUES)
@pytest.mark.parametrize(
    ("mode", "paper", "tint"), [("light", "#ffffff", 0.13), ("dark", "#171d26", 0.20)]
)
def test_names_of_labels_can_be_read_on_their_own_tint(
    hue: Any, mode: str, paper: str, tint: float
) -> None:
    ink = getattr(hue, mode)
    faint = {"light": "#5d6b80", "dark": "#93a0b2"}[mode]  # --ink2, of what is historical
    for text, part in ((ink, tint), (faint, 0.45 * tint)):
        a, b = _luminance(text), _luminance(_mixed(ink, paper, part))
        assert (max(a, b) + 0.05) / (min(a, b) + 0.05) >= 4.5


def run(**fields: Any) -> ReportRun:
    values: dict[str, Any] = {
        "name": "quickstart", "run_id": "r1", "seconds": 2.0, "documents_ok": 2,
        "documents_failed": 1, "entity_counts": {"Drug": 2, "Country": 1},
        "entities_ungrounded": 1, "started": datetime(2026, 11, 20, 19, 2, tzinfo=UTC),
    }  # fmt: skip
    return ReportRun(**(values | fields))


TEXT = "Metformin & insulin <b>glargine</b>\r\n🫀 daily"
DOCUMENTS = [
    ReportDocument(
        doc_id="a",
        status=Status.OK,
        text=TEXT,
        entities=[
            spanning(TEXT, 0, 9, "Drug", score=0.98765, model="m1", attributes={"negated": "no"}),
            spanning(TEXT, 37, 38, "Drug", score=0.5, model="m1", grounding=Grounding.FUZZY),
            Entity("Country", "United <States>", None, None, grounding=Grounding.UNGROUNDED),
        ],
    ),
    ReportDocument(doc_id="<script>", status=Status.OK, text="nothing here"),
    ReportDocument(
        doc_id="c", status=Status.FAILED, text=None, error_type="NullText", error_message="no text"
    ),
]


def test_a_page_shows_what_a_reader_asks_for() -> None:
    page = render_report(run(steps=[ReportStep(model="m1")], config="name: <x>"), DOCUMENTS)
    assert page.count("<script>") == 1  # the page's own; the document's id is escaped
    assert "Not found in the text" in page
    assert "United &lt;States&gt;" in page
    assert "NullText: no text" in page
    assert "name: &lt;x&gt;" in page
    assert "Shown below" not in page.split("<article", 1)[0].split("</style>")[1]  # no sample
    text = re.search(r'<div class="text[^>]*>(.*?)</div>', page, re.S)
    assert text is not None
    assert Tags(text[1]).text == TEXT


def test_the_pages_data_speaks_of_each_entity_in_code_points() -> None:
    page = render_report(run(), DOCUMENTS)
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found is not None
    data = json.loads(found[1])
    first, heart, country = data["items"][0]
    assert data["keys"][first[0]] == "Drug"
    assert first[1:4] == [0.9877, 0, 9]
    assert heart[2:4] == [37, 38]
    assert TEXT[37:38] == "🫀"
    assert country[2:4] == [None, None]
    facts = [tuple(data["facts"][f]) for f in first[4]]
    assert facts == [("grounding", "exact"), ("model", "m1"), ("negated", "no")]


def test_the_page_needs_no_network_and_its_policy_allows_just_its_own_code() -> None:
    page = render_report(run(), DOCUMENTS)
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", page)
    assert "@import" not in page
    assert "url(" not in page
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    allowed = html.unescape(policy[1])
    assert "default-src 'none'" in allowed
    for tag in ("style", "script"):
        content = re.search(f"<{tag}>(.*?)</{tag}>", page, re.S)
        assert content is not None
        digest = base64.b64encode(hashlib.sha256(content[1].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in allowed
    assert " style=" not in page.split("</style>")[1]
    assert not re.search(r"\son\w+=", page.split("</style>")[1].split("<script>")[0])


def test_labels_and_models_cannot_break_out_of_style_or_data() -> None:
    evil = '</style></script>"}<img>\\'
    entity = spanning("abc", 0, 1, evil, model="</script><img>", attributes={"</script>": "<img>"})
    document = ReportDocument(doc_id="a", status=Status.OK, text="abc", entities=[entity])
    page = render_report(run(entity_counts={evil: 1}), [document])
    assert "<img>" not in page
    assert page.count("</script>") == 2
    assert page.count("</style>") == 1


def test_a_sample_is_marked_as_one_and_shows_problems() -> None:
    many = [
        ReportDocument(doc_id=str(i), status=Status.FAILED if i % 100 == 7 else Status.OK, text="x")
        for i in range(2000)
    ]
    chosen = sample(many, 40, has_problem)
    assert len(chosen) == 40
    assert [int(d.doc_id) for d in chosen] == sorted(int(d.doc_id) for d in chosen)
    assert sum(d.status is Status.FAILED for d in chosen) == 10
    assert chosen == sample(iter(many), 40, has_problem)
    assert sample(many[:30], 40, has_problem) == many[:30]
    assert sample([d for d in many if d.status is Status.FAILED], 10, has_problem) != []
    page = render_report(run(documents_ok=1980, documents_failed=20), many, limit=40)
    assert "40 of 2,000 documents" in page


def test_200_documents_are_under_2_mb_and_a_giant_is_cut_honestly() -> None:
    text = "In this trial patients took insulin glargine once daily for 52 weeks. " * 30
    spans = [
        spanning(text, i * 50, i * 50 + 20, f"Label{i % 21}", score=0.9, model="starter:classifier")
        for i in range(40)
    ]
    one = ReportDocument(doc_id="pmid-123456", status=Status.OK, text=text, entities=spans)
    assert len(render_report(run(), [one] * 200).encode()) < 2_000_000
    giant = "word " * 1_000_000
    last = spanning(giant, 4_000_000, 4_000_004, "Drug")
    big = ReportDocument(doc_id="a", status=Status.OK, text=giant, entities=[last])
    page = render_report(run(), [big])
    assert "4,980,000 more characters are not shown" in page
    assert len(page) < 200_000


def test_writing_goes_through_fsspec_and_survives_what_utf8_cannot_say(tmp_path: Path) -> None:
    broken = ReportDocument(doc_id="\ud800", status=Status.OK, text="a\udfff")
    target = tmp_path / "deep" / "report.html"
    write(str(target), run(), [broken])
    assert target.read_text(encoding="utf-8").startswith("<!doctype html>")
    write("memory://reports/r.html", run(documents_ok=0, documents_failed=0, entity_counts={}), [])


def test_seconds_and_rates_in_words() -> None:
    spoken = [duration(x) for x in (0.84, 42.4, 185, 7805)]
    assert spoken == ["0.8 s", "42 s", "3 min 5 s", "2 h 10 min"]
    assert [rate(n, 10) for n in (1, 55, 12345)] == ["0.10", "5.5", "1,234"]
    assert rate(1, 0) == "–"


def test_ids_that_are_files_are_named_without_the_folder_they_share() -> None:
    ids = ("file:///lake/pages/a.png", "file:///lake/pages/deep/b.png#3")
    page = render_report(
        run(), [ReportDocument(doc_id=id_, status=Status.OK, text="x") for id_ in ids]
    )
    assert '<span class="id">a.png</span>' in page
    assert '<span class="id">deep/b.png#3</span>' in page
    assert f'title="{ids[0]}"' in page


NOTE = "Denies fever. Mother had asthma. Metformin 500 mg daily."
REFINED = ReportDocument(
    doc_id="n",
    status=Status.OK,
    text=NOTE,
    entities=[
        spanning(
            NOTE, 7, 12, "Symptom",
            assertion=Assertion(negated=True, cues=(Cue("negated", "en.denies", 0, 6),)),
        ),
        spanning(
            NOTE, 25, 31, "Disease",
            assertion=Assertion(
                uncertain=True,
                historical=True,
                experiencer=Experiencer.FAMILY,
                cues=(Cue("experiencer", "en.kin", 14, 20),),
            ),
            section="family_history",
        ),
        spanning(
            NOTE, 33, 42, "Drug",
            assertion=Assertion(),
            codes=(Code("drugbank", "DB00331", "Metformin", 1.0, "exact", ("A10BA",)),),
        ),
        spanning(NOTE, 43, 49, "Strength"),
    ],
    sections=[Section("family_history", 14, 32, 20, "10157-6")],
    relations=[Relation(2, 3, "strength", attributes={"value": "500", "unit": "mg"})],
)  # fmt: skip


def test_the_status_of_a_mark_is_drawn_named_and_explained() -> None:
    page = render_report(run(), [REFINED])
    text = page.split('<div class="text', 1)[1]
    marks = re.findall(r'<mark class="([^"]*)" data-e="\d"([^>]*)>([^<]*)', text)
    assert [(set(c.split()) - {f"k{i}" for i in range(4)}, said, w) for c, said, w in marks] == [
        ({"negated"}, ' data-s=", negated"', "fever"),
        (
            {"unsure", "historical", "others"},
            ' data-s=", uncertain, historical, family"',
            "asthma",
        ),
        (set(), "", "Metformin"),
        (set(), "", "500 mg"),
    ]
    # Read aloud with the label, whether or not names are shown.
    assert 'content:"Symptom" / "\\2c \\20 Symptom" attr(data-s)' in page
    legend = re.search(r'<p class="statuses">(.*?)</p>', page, re.S)
    assert legend is not None
    for look in ("negated", "unsure", "historical", "others"):
        assert f'class="sample {look}"' in legend[1]
    assert "Sections: family history" in page
    assert 'class="statuses"' not in render_report(run(), DOCUMENTS)


def test_the_details_of_an_item_have_cues_codes_and_what_it_is_related_to() -> None:
    page = render_report(run(), [REFINED])
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found is not None
    data = json.loads(found[1])
    fever, asthma, drug, strength = (
        [tuple(data["facts"][f]) for f in item[4]] for item in data["items"][0]
    )
    assert ("status", "negated: “Denies” (en.denies)") in fever
    assert asthma[:4] == [
        ("status", "uncertain"),
        ("status", "historical"),
        ("status", "family: “Mother” (en.kin)"),
        ("section", "family history"),
    ]
    assert ("code", "drugbank DB00331, Metformin (exact, 1.00; below A10BA)") in drug
    assert ("strength", "500 mg (value 500, unit mg)") in drug
    assert ("strength of", "Metformin") in strength
    assert data["links"] == [[[2, 3]]]
