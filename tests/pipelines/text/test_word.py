"""Word documents: what a reader sees once all changes are accepted, within limits."""

from __future__ import annotations

import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from support.word import note, paragraph, part, run, table, text_box, word

from pipelines.config import Source
from pipelines.source.read import read_units
from pipelines.source.units import plan_source
from pipelines.text.errors import BadMarkupError
from pipelines.text.files import read_file
from pipelines.text.markup import docx
from pipelines.text.markup.docx import docx_text
from pipelines.text.markup.process import word_text

CHANGED = paragraph(
    "Takes ",
    '<w:del w:id="1" w:author="x"><w:r><w:delText>warfarin</w:delText></w:r></w:del>',
    f'<w:ins w:id="2" w:author="x">{run("apixaban")}</w:ins>',
    " 5 mg.",
    note(2),
)
LETTER = word(
    paragraph("Dear Dr Weber,"),
    CHANGED,
    table(("Drug", "Dose"), ("Aspirin", "100 mg</w:t></w:r></w:p><w:p><w:r><w:t>daily")),
    paragraph(f'<w:hyperlink w:anchor="a">{run("insulin")}</w:hyperlink>'),
    f"<w:sdt><w:sdtContent>{paragraph('ramipril')}</w:sdtContent></w:sdt>",
    paragraph(run("hidden", "<w:vanish/>"), "seen"),
    paragraph(text_box("Allergic to penicillin")),
    headers={"default": "Ward 3", "first": "Letterhead", "even": "never"},
    footers={"default": "Ward 3"},
    notes={2: "Since 2020."},
)
SEEN = [
    "Ward 3",
    "",
    "Dear Dr Weber,",
    "Takes apixaban 5 mg.[1]",
    "Drug\tDose",
    "Aspirin\t100 mg",
    "daily",
    "insulin",
    "ramipril",
    "seen",
    "Allergic to penicillin",
    "Since 2020.",
]


def test_visible_text_of_word_documents() -> None:
    assert docx_text(LETTER).text.split("\n") == SEEN


def test_the_header_of_the_first_page_is_there_where_the_page_has_one() -> None:
    texts = {"first": "Letterhead", "default": "Ward 3"}
    assert docx_text(word(paragraph("x"), headers=texts, first_page=True)).text.split() == [
        *("Letterhead", "Ward", "3", "x")
    ]


@pytest.mark.parametrize(
    ("more", "sign"),
    [("", "☐"), ('<w14:checked w14:val="1"/>', "☒"), ('<w14:checked w14:val="0"/>', "☐")],
)
def test_boxes_are_ticked_or_not(more: str, sign: str) -> None:
    box = (
        f"<w:sdt><w:sdtPr><w14:checkbox>{more}</w14:checkbox></w:sdtPr>"
        f"<w:sdtContent>{run('?')}</w:sdtContent></w:sdt>"
    )
    assert docx_text(word(paragraph(box, " smoker"))).text == f"{sign} smoker"


def test_paragraphs_moved_and_deleted_are_where_they_stand_now() -> None:
    moved = paragraph(
        f'<w:moveFrom w:id="1" w:author="x">{run("before")}</w:moveFrom>',
        f'<w:moveTo w:id="2" w:author="x">{run("after")}</w:moveTo>',
    )
    assert docx_text(word(moved)).text == "after"


HIDES = "<w:rPr><w:vanish/></w:rPr>"
SHOWS = '<w:rPr><w:vanish w:val="0"/></w:rPr>'
STYLES = part(
    "styles",
    "".join(
        f'<w:style w:type="{type_}" w:styleId="{name}">{base}{more}</w:style>'
        for type_, name, base, more in [
            ("paragraph", "Hidden", "", HIDES),
            ("character", "Letter", "", HIDES),
            ("paragraph", "Child", '<w:basedOn w:val="Hidden"/>', ""),
            ("paragraph", "Shown", '<w:basedOn w:val="Hidden"/>', SHOWS),
            ("paragraph", "A", '<w:basedOn w:val="B"/>', ""),
            ("paragraph", "B", '<w:basedOn w:val="A"/>', ""),
        ]
    ),
)


def _styled(style: str, *runs: str) -> str:
    return paragraph(f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>', *runs)


def test_text_that_a_style_hides_is_left_out_and_counted() -> None:
    content = word(
        _styled("Hidden", "never "),
        _styled("Child", "never ", run("direct", '<w:vanish w:val="0"/>')),
        _styled("Child", run(" both", '<w:rStyle w:val="Letter"/>')),
        _styled("Shown", "shown"),
        _styled("A", "loop"),
        paragraph(run("never", '<w:rStyle w:val="Letter"/>'), "plain"),
        more={"word/styles.xml": STYLES},
        related={"styles": "styles.xml"},
    )
    found = docx_text(content)
    assert found.text.split("\n") == ["direct", "both", "shown", "loop", "plain"]
    assert found.problems == ("pieces of hidden text left out: 3",)


def test_what_a_word_document_has_beside_its_text_is_named() -> None:
    comments = "".join(
        f'<w:comment w:id="{number}">{paragraph(text)}</w:comment>'
        for number, text in enumerate(["check the dose", "done"])
    )
    numbered = '<w:pPr><w:numPr><w:ilvl w:val="0"/><w:numId w:val="1"/></w:numPr></w:pPr>'
    level = '<w:lvl w:ilvl="0"><w:numFmt w:val="decimal"/></w:lvl>'
    numbering = (
        f'<w:abstractNum w:abstractNumId="0">{level}</w:abstractNum>'
        '<w:num w:numId="1"><w:abstractNumId w:val="0"/></w:num>'
    )
    content = word(
        paragraph("Aspirin", '<w:r><w:commentReference w:id="0"/></w:r>'),
        paragraph(numbered, "Diabetes"),
        '<m:oMathPara xmlns:m="urn:math"><m:r><m:t>x</m:t></m:r></m:oMathPara>',
        more={
            "word/comments.xml": part("comments", comments),
            "word/numbering.xml": part("numbering", numbering),
            "word/media/scan.png": b"x",
            "word/embeddings/labs.xlsx": b"x",
        },
        related={
            "comments": "comments.xml",
            "numbering": "numbering.xml",
            "aFChunk": "chunk.htm",
        },
    )
    found = docx_text(content)
    assert found.text == "Aspirin\nDiabetes\n\ncheck the dose\ndone"
    assert set(found.problems) == {
        "elements left out: 1 oMathPara",
        "numbers of lists are not in the text",
        "parts left out: 1 picture, 1 embedded file, 1 file in another format",
        "review comments at the end of the text: 2",
    }
    assert docx_text(LETTER).problems == ("pieces of hidden text left out: 1",)


def test_word_parts_without_text_are_not_opened() -> None:
    huge = bytes(40_000_000)  # a picture, which is never inflated
    assert docx_text(word(paragraph("x"), more={"word/media/a.png": huge})).text == "x"


def _without(part: str) -> bytes:
    kept = BytesIO()
    with zipfile.ZipFile(BytesIO(LETTER)) as old, zipfile.ZipFile(kept, "w") as new:
        for name in old.namelist():
            if name != part:
                new.writestr(name, old.read(name))
    return kept.getvalue()


LAUGHS = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>'
DEEP = "<w:tbl><w:tr><w:tc>" * 2_000 + "</w:tc></w:tr></w:tbl>" * 2_000


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "BadZipFile"),
        (LETTER[:1000], "BadZipFile"),
        (_without("word/document.xml"), "KeyError"),
        (_without("_rels/.rels"), "StopIteration"),
        (word("<w:p>"), "ParseError"),
        (word(before=LAUGHS), "DTDForbidden"),
        (word(DEEP), "RecursionError|nested"),
        (word(paragraph(" " * docx._MOST_BYTES)), "over 16 MB"),
        (word(more={f"{n}.png": b"" for n in range(docx._MOST_PARTS)}), "more than 5,000 parts"),
    ],
)
def test_damaged_or_hostile_word_file_is_an_error(content: bytes, words: str) -> None:
    with pytest.raises(BadMarkupError, match=words):
        docx_text(content)


def test_one_that_takes_too_long_fails_alone() -> None:
    long = word(*(paragraph(f"row {n}") for n in range(40_000)))
    with pytest.raises(BadMarkupError, match=r"more than 0\.2 s of CPU"):
        word_text(long, seconds=0.2)
    assert word_text(LETTER).text.split("\n") == SEEN


def test_an_upload_is_read_like_a_file_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "a.docx").write_bytes(LETTER)
    (tmp_path / "b.docx").write_bytes(b"PK")
    (tmp_path / "c.rtf").write_text(r"{\rtf1 Metformin\par 500 mg}")
    (tmp_path / "d.html").write_text("<p>insulin</p>")
    source = Source(path=str(tmp_path))
    plan = plan_source(source)
    [rows] = [table.to_pylist() for table in read_units(plan.units, source, plan.keep)]
    assert [row["doc_id"].rpartition("/")[2] for row in rows] == [
        *("a.docx", "b.docx", "c.rtf", "d.html")
    ]
    assert rows[0]["text"] == "\n".join(SEEN) == read_file(LETTER, 10**6, "1 MB").text
    assert len(rows[0]["original_hash"]) == 32
    assert (rows[1]["error_type"], rows[1]["text"]) == ("BadMarkup", None)
    assert [row["text"] for row in rows[2:]] == ["Metformin\n500 mg", "insulin"]
    small = source.model_copy(update={"max_document_mb": len(LETTER) / 2e6})
    [rows] = [table.to_pylist() for table in read_units(plan.units, small, plan.keep)]
    assert rows[0]["error_type"] == "TooLarge"
