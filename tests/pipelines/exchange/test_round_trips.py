"""Exports read back as gold: spans, status, relations."""

from __future__ import annotations

import json
import tempfile
import unicodedata
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.exchange import document, documents, exported, texts

from actors.spans import spanning
from pipelines.evaluate import GoldDocument, GoldError
from pipelines.evaluate.realign import realigned
from pipelines.evaluate.statements import attributes_of
from pipelines.exchange.formats import ExportFormat, GoldFormat
from pipelines.exchange.gold_formats import read_gold
from pipelines.offset_units import OffsetUnit
from pipelines.runs.results import Result

UNITS: tuple[OffsetUnit, ...] = ("code_points", "utf16", "bytes")
Span = tuple[int, int, str]


def spans(result: Result) -> list[Span]:
    return sorted((e.start, e.end, e.label) for e in result.entities if e.start is not None)  # type: ignore[misc]


def gold_spans(gold: GoldDocument) -> list[Span]:
    return sorted((e.start, e.end, e.label) for e in gold.entities)


def back(result: Result, format_: ExportFormat, suffix: str, unit: OffsetUnit | None = None) -> Any:
    """The document as gold, and what its export lost."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"out{suffix}"
        lost = exported(path, format_, result, unit=unit)
        if format_ is ExportFormat.LABEL_STUDIO:
            path = reviewed(path)
        return read_gold(str(path)).documents[result.doc_id], lost


def reviewed(folder: Path, *people: int) -> Path:
    """A Label Studio export after people accepted every prediction."""
    tasks = json.loads((folder / "tasks.json").read_text())
    for task in tasks:
        done = task.pop("predictions")[0]["result"]
        task["annotations"] = [{"completed_by": p, "result": done} for p in people or (1,)]
    (path := folder.with_suffix(".json")).write_text(json.dumps(tasks))
    return path


@settings(max_examples=60)
@given(documents())
@pytest.mark.parametrize("unit", UNITS)
def test_jsonl_in_any_unit(unit: OffsetUnit, result: Result) -> None:
    gold, lost = back(result, ExportFormat.JSONL, ".jsonl", unit)
    assert not lost
    assert gold.text == result.text
    assert gold_spans(gold) == spans(result)
    assert statements(gold) == expected(result, decided=True)


@settings(max_examples=60)
@given(documents())
@pytest.mark.parametrize("format_", [ExportFormat.BRAT, ExportFormat.LABEL_STUDIO])
def test_tools_for_annotators(format_: ExportFormat, result: Result) -> None:
    gold, lost = back(result, format_, "")
    assert not lost
    assert gold.text == result.text
    assert gold_spans(gold) == spans(result)
    assert statements(gold) == expected(result)


@settings(max_examples=60)
@given(documents())
def test_docbin(result: Result) -> None:
    pytest.importorskip("spacy")
    gold, lost = back(result, ExportFormat.DOCBIN, "")
    assert not lost
    assert gold.text == result.text
    assert gold_spans(gold) == spans(result)


@settings(max_examples=100)
@given(documents(overlapping=False))
@pytest.mark.parametrize("unit", UNITS)
def test_conll_in_any_unit(unit: OffsetUnit, result: Result) -> None:
    """Its text differs in white space, so the gold is placed on the text of the run."""
    gold, _ = back(result, ExportFormat.CONLL, ".conll", unit)
    assert result.text is not None
    moved = realigned(gold, result.text)
    assert moved is not None
    assert gold_spans(moved) == spans(result)


@settings(max_examples=60)
@given(documents())
def test_conll_counts_what_it_loses(result: Result) -> None:
    gold, lost = back(result, ExportFormat.CONLL, ".conll")
    assert len(gold.entities) + lost["entities that overlap a longer one"] == len(result.entities)


@settings(max_examples=100)
@given(documents(), st.sampled_from(["NFC", "NFD", "lines", "blanks", "mark"]))
def test_a_text_that_a_tool_has_edited(result: Result, edit: str) -> None:
    """The gold of the edited copy is placed where it was in the text of the run."""
    text = result.text
    assert text is not None
    copy, places = edited(text, edit)
    entities = [
        spanning(copy, places[e.start], places[e.end], e.label)  # type: ignore[index]
        for e in result.entities
    ]
    gold, _ = back(document(copy, entities), ExportFormat.JSONL, ".jsonl")
    moved = realigned(gold, text)
    assert moved is not None
    assert moved.text == text
    assert gold_spans(moved) == spans(result)


def edited(text: str, edit: str) -> tuple[str, dict[int, int]]:
    """An edited copy, and where the edges of grapheme clusters went."""
    import regex

    places, copy = {0: 0}, "\ufeff" if edit == "mark" else ""
    places[0] = len(copy)
    for match in regex.finditer(r"\X", text):
        cluster = match.group()
        if edit in ("NFC", "NFD"):
            cluster = unicodedata.normalize(edit, cluster)  # type: ignore[arg-type]
        elif edit == "lines":
            cluster = cluster.replace("\r\n", "\n")
        elif edit == "blanks" and cluster.isspace():
            cluster = "\n\n "
        places[match.start()] = len(copy)
        copy += cluster
        places[match.end()] = len(copy)
    return copy, places


def test_a_different_text_is_no_copy(tmp_path: Path) -> None:
    gold, _ = back(
        document("no fever", [spanning("no fever", 3, 8, "S")]), ExportFormat.JSONL, ".jsonl"
    )
    assert realigned(gold, "No fever") is None
    assert realigned(gold, "no fevers") is None


Said = tuple[set[tuple[int, int, str, frozenset[str]]], set[tuple[Any, ...]]]


def statements(gold: GoldDocument) -> Said:
    return (
        {(s.start, s.end, s.label, s.attributes) for s in gold.statements.status or ()},
        {(r.type, r.head, r.tail) for r in gold.statements.relations or ()},
    )


def expected(result: Result, decided: bool = False) -> Said:
    """``decided``: the format tells an entity without a status from one that is present."""
    status = {
        (e.start, e.end, e.label, attributes_of(e.assertion) if e.assertion else frozenset())
        for e in result.entities
        if e.assertion is not None or not decided
    }
    if not decided and not any(attributes for *_, attributes in status):
        status = set()  # nobody marked any
    e = result.entities
    related = {
        (r.type, (e[r.head].start, e[r.head].end), (e[r.tail].start, e[r.tail].end))
        for r in result.relations
    }
    return status, related  # type: ignore[return-value]


def folder_of(tmp_path: Path, **files: str | bytes) -> str:
    for name, content in files.items():
        path = tmp_path / name.replace("__", ".")
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(tmp_path)


def read_one(path: str, format_: GoldFormat | None = None) -> tuple[GoldDocument, dict[str, int]]:
    gold = read_gold(path, format_)
    (one,) = gold.documents.values()
    return one, dict(gold.notes)


@pytest.mark.parametrize("ann", ["T1\tDrug 11 16\tstent", "T1\tDrug 12 17\tstent"])
def test_brat_of_a_tool_that_counts_line_ends_its_own_way(tmp_path: Path, ann: str) -> None:
    folder_of(tmp_path, a__txt="old\r\nthe of stent".replace("of ", "of\r\n"), a__ann=ann + "\r\n")
    if "12" in ann:  # as stored: CR LF are two characters
        (tmp_path / "a.ann").write_text("T1\tDrug 13 18\tstent\n")
    one, _ = read_one(str(tmp_path))
    ((start, end, label),) = gold_spans(one)
    assert (one.text[start:end], label) == ("stent", "Drug")


def test_brat_discontinuous_attributes_and_lines_that_are_not_read(tmp_path: Path) -> None:
    text = "left and right arm, no\npain"
    ann = (
        "T1\tPart 0 4;15 18\tleft arm\nT2\tPart 9 18\tright arm\nT3\tFinding 20 22;23 27\tno pain\n"
        "A1\tNegated T3\nA2\tExperiencer T1 family\nA3\tColour T1 red\nE1\tPart:T1\nN1\tReference "
        "T1 x:1\tarm\n#1\tAnnotatorNotes T1\tsure\n*\tEquiv T1 T2\nR1\tof Arg1:T3 Arg2:T2\n"
    )
    one, notes = read_one(folder_of(tmp_path, a__txt=text, a__ann=ann, b__txt="not annotated"))
    assert gold_spans(one) == [(0, 18, "Part"), (9, 18, "Part"), (20, 27, "Finding")]
    said, related = statements(one)
    assert {attributes for *_, attributes in said} == {
        frozenset({"negated"}),
        frozenset({"family"}),
        frozenset(),
    }
    assert related == {("of", (20, 27), (9, 18))}
    assert notes == {
        "discontinuous entities, read as the span that covers them": 1,
        "attributes Colour, not read": 1,
        "texts without an .ann file, not read": 1,
    }


@st.composite
def fragments(draw: st.DrawFn, text: str) -> list[tuple[int, int]]:
    """Places of an entity in one or several fragments that do not touch, none of white space."""
    visible = [i for i, c in enumerate(text) if not c.isspace()]
    edges = draw(st.lists(st.sampled_from(visible), min_size=1, max_size=6, unique=True))
    ordered = sorted(edges)
    if len(ordered) == 1:
        return [(ordered[0], ordered[0] + 1)]
    pairs = zip(ordered[::2], ordered[1::2], strict=False)
    return [(start, last + 1) for start, last in pairs]


@settings(max_examples=100)
@given(texts(), st.booleans(), st.data())
def test_brat_fragments_are_covered_however_the_tool_counts_lines(
    stored: str, one_line_end: bool, data: st.DataObject
) -> None:
    """``one_line_end``: the tool counted CR LF as one character of a text that has both."""
    seen = stored.replace("\r\n", "\n") if one_line_end else stored
    marked = data.draw(st.lists(fragments(seen), min_size=1, max_size=4))
    lines = []
    for number, places in enumerate(marked, start=1):
        where = ";".join(f"{start} {end}" for start, end in places)
        words = " ".join(" ".join(seen[start:end].split()) for start, end in places)
        lines.append(f"T{number}\tPart {where}\t{words}\n")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "a.txt").write_bytes(stored.encode())
        (path / "a.ann").write_bytes("".join(lines).encode())
        one, notes = read_one(folder)

    def quoted(text: str, places: list[tuple[int, int]]) -> str:
        return "".join("".join(text[start:end] for start, end in places).split())

    assert one.text in (stored, seen)
    assert [quoted(one.text, places) for places in marked] == [
        quoted(seen, places) for places in marked
    ]
    found = [(e.start, e.end) for e in one.entities]
    assert found == [(places[0][0], places[-1][1]) for places in marked]
    apart = sum(
        any(one.text[end:start].strip() for (_, end), (start, _) in pairwise(places))
        for places in marked
    )
    assert notes.get("discontinuous entities, read as the span that covers them", 0) == apart


@pytest.mark.parametrize(
    ("ann", "error"),
    [
        ("T1\tDrug 0 3\tsecret", "a.ann: the marked words differ"),
        ("T1\tDrug 0 99\tx", "a.ann: the marked words differ"),
        ("T1\tDrug zero\tx", "a.ann, line 1: expected a new id"),
        ("Q1\tDrug 0 1\tx", "a.ann, line 1: not a line of brat"),
        ("R1\tof T1 T2", "a.ann, line 1: expected a type and two arguments"),
    ],
)
def test_brat_errors_name_the_line_and_no_text(tmp_path: Path, ann: str, error: str) -> None:
    folder_of(tmp_path, a__txt="one two", a__ann=ann)
    with pytest.raises(GoldError, match=error) as raised:
        read_gold(str(tmp_path))
    assert "secret" not in str(raised.value)
    assert "one" not in str(raised.value)


def test_a_label_of_several_words_survives_brat(tmp_path: Path) -> None:
    entity = spanning("asthma", 0, 6, "Disease, or Syndrome")
    lost = exported(
        tmp_path / "out", ExportFormat.BRAT, document("asthma", [entity], doc_id="a/b é:1")
    )
    assert list(lost) == ["label 'Disease, or Syndrome', written as 'Disease__or_Syndrome'"]
    one, _ = read_one(str(tmp_path / "out"))
    assert (one.id, gold_spans(one)) == ("a/b é:1", [(0, 6, "Disease, or Syndrome")])


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ("Type NN B-D\n2 CD I-D\n. . O\n", [(0, 6, "D")]),  # BIO, four columns of CoNLL 2003
        ("a\tI-D\nb\tB-D\nc\tI-D\n", [(0, 1, "D"), (2, 5, "D")]),  # IOB1
        ("a B-D\nb L-D\nc U-E\n", [(0, 3, "D"), (4, 5, "E")]),  # BILOU
        ("a S-D\nb B-D\nc E-D\n", [(0, 1, "D"), (2, 5, "D")]),  # BIOES
    ],
)
def test_conll_from_elsewhere(tmp_path: Path, lines: str, found: list[Span]) -> None:
    path = tmp_path / "gold.conll"
    path.write_text(f"-DOCSTART- -X- O\n\n{lines}")
    one, _ = read_one(str(path))
    assert gold_spans(one) == found


def test_conll_without_documents_has_one_per_sentence(tmp_path: Path) -> None:
    path = tmp_path / "gold.bio"
    path.write_bytes(b"a B-D\r\n\r\n\r\nb O\r\n")
    gold = read_gold(str(path)).documents
    assert [(one.id, one.text) for one in gold.values()] == [("gold:1", "a"), ("gold:2", "b")]


@pytest.mark.parametrize("line", ["word", "word X", "word B-", "word O-D"])
def test_conll_errors_name_the_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "gold.conll"
    path.write_text(f"a O\n{line}\n")
    with pytest.raises(GoldError, match="line 2: "):
        read_gold(str(path))


def test_label_studio_counts_utf16_in_old_exports(tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    value = {"start": 3, "end": 9, "text": "asthma", "labels": ["D"]}
    result = [{"id": "x", "type": "labels", "value": value}]
    task = {"id": 7, "data": {"text": "💊 asthma"}, "annotations": [{"result": result}]}
    path.write_text(json.dumps([task, {"id": 8, "data": {"text": "b"}, "annotations": []}]))
    one, notes = read_one(str(path))
    assert (one.id, gold_spans(one)) == ("7", [(2, 8, "D")])
    assert notes == {"tasks that nobody annotated, not read": 1}


def _annotation(person: int, end: int, updated: str, **more: Any) -> dict[str, Any]:
    value = {"start": 0, "end": end, "labels": ["D"]}
    result = [{"id": "x", "type": "labels", "value": value}]
    return {"completed_by": person, "updated_at": updated, "result": result} | more


@pytest.mark.parametrize(("truth", "end"), [(False, 8), (True, 5)])
def test_of_several_annotators_truth_or_the_last_counts(
    tmp_path: Path, truth: bool, end: int
) -> None:
    annotations = [
        _annotation(1, 5, "2026-01-01T00:00:00Z", ground_truth=truth),
        _annotation(2, 8, "2026-01-02T00:00:00Z"),
        _annotation(3, 3, "2026-01-03T00:00:00Z", was_cancelled=True),
    ]
    path = tmp_path / "two.json"
    path.write_text(
        json.dumps([{"id": 1, "data": {"text": "asthma x"}, "annotations": annotations}])
    )
    one, _ = read_one(str(path))
    assert gold_spans(one) == [(0, end, "D")]
    assert {name: len(found) for name, found in one.annotators.items()} == {"1": 1, "2": 1}


def test_one_person_without_regions_does_not_hide_how_the_tool_counts(tmp_path: Path) -> None:
    value = {"start": 2, "end": 8, "text": "asthma", "labels": ["D"]}
    both = [
        {"completed_by": 1, "result": [{"id": "x", "type": "labels", "value": value}]},
        {"completed_by": 2, "result": []},
    ]
    path = tmp_path / "two.json"
    path.write_text(json.dumps([{"id": 1, "data": {"text": "a\r\nasthma"}, "annotations": both}]))
    one, _ = read_one(str(path))
    assert one.text == "a\nasthma"
    assert {name: len(found) for name, found in one.annotators.items()} == {"1": 1, "2": 0}


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("{}", "expected an array of tasks"),
        ("[1]", "expected an array of tasks"),
        ('[{"text": "x"}]', "task 0: no 'data'"),
        ('[{"data": {}, "annotations": [1]}]', "task 0: expected an array of annotations"),
        ('[{"data": {}, "annotations": [{"result": 1}]}]', "expected an array of results"),
        ('[{"data": {}, "annotations": [{}]}]', "no string 'text'"),
        ("[", "not JSON, line 1"),
    ],
)
def test_label_studio_errors_name_the_task(tmp_path: Path, content: str, error: str) -> None:
    (path := tmp_path / "x.json").write_text(content)
    with pytest.raises(GoldError, match=error):
        read_gold(str(path))


@pytest.mark.parametrize(
    ("names", "error"),
    [((), "no file that ends in one of"), (("a.conll", "b.spacy"), "of several formats")],
)
def test_a_folder_of_unknown_format_is_an_error(
    tmp_path: Path, names: Iterable[str], error: str
) -> None:
    for name in names:
        (tmp_path / name).write_text("")
    with pytest.raises(GoldError, match=f"{error}.*--gold-format"):
        read_gold(str(tmp_path))


def test_an_empty_docbin_is_no_gold(tmp_path: Path) -> None:
    pytest.importorskip("spacy")
    (tmp_path / "a.spacy").write_bytes(b"nonsense")
    with pytest.raises(GoldError, match=r"a\.spacy: not a DocBin file"):
        read_gold(str(tmp_path))
