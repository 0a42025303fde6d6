from __future__ import annotations

import io
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from actors.spans import Assertion, Entity, Experiencer, Grounding, spanning
from pipelines.terminal import entity_table, highlighted, run_table

TEXT = "Insulin glargine 10 units\r\nat bedtime 🫀"
ENTITIES = [
    spanning(TEXT, 0, 16, "Drug", score=0.98),
    spanning(TEXT, 8, 25, "Regimen", grounding=Grounding.FUZZY, attributes={"negated": "no"}),
    Entity("Country", "United [red]States", None, None, grounding=Grounding.UNGROUNDED),
]


def printed(thing: RenderableType, width: int = 100, **options: Any) -> str:
    file = io.StringIO()
    Console(file=file, width=width, **options).print(thing)
    return file.getvalue()


def test_without_colour_brackets_distinguish_crossing_entities() -> None:
    shown = highlighted(TEXT, ENTITIES, colour=False).plain
    assert shown.startswith("[Insulin [glargine|Drug] 10 units|Regimen]\nat bedtime 🫀\n")
    assert "not found in the text: United [red]States (Country)" in shown


def test_with_colour_names_follow_what_they_name() -> None:
    shown = highlighted(TEXT, ENTITIES)
    assert shown.plain.startswith("Insulin glargine Drug  10 units Regimen \nat bedtime")
    assert "\x1b[" in printed(shown, force_terminal=True, color_system="truecolor")


def test_the_status_of_an_entity_is_named_and_struck_through() -> None:
    negated = spanning(TEXT, 0, 16, "Drug", assertion=Assertion(negated=True))
    theirs = Assertion(uncertain=True, experiencer=Experiencer.FAMILY)
    entities = [negated, spanning(TEXT, 17, 25, "Dose", assertion=theirs)]
    plain = highlighted(TEXT, entities, colour=False).plain
    assert plain.startswith("[Insulin glargine|Drug, negated] [10 units|Dose, uncertain, family]")
    shown = highlighted(TEXT, entities)
    assert shown.plain.startswith("Insulin glargine Drug, negated ")
    struck, dashed = (str(span.style) for span in (shown.spans[0], shown.spans[2]))
    assert "strike" in struck
    assert "underline" in dashed


@given(st.text(), st.data())
def test_no_character_of_a_note_can_command_the_terminal(text: str, data: st.DataObject) -> None:
    edges = st.integers(0, len(text))
    pairs = data.draw(st.lists(st.tuples(edges, edges).filter(lambda p: p[0] < p[1])))
    entities = [spanning(text, *pair, "\x1b]0;owned\x07") for pair in pairs]
    shown = printed(highlighted(text, entities)) + printed(entity_table(entities))
    assert not any((c < " " and c != "\n" and c != "\t") or "\x7f" <= c < "\xa0" for c in shown)


@given(st.text(alphabet="ab\r\n🫀e\u0301", max_size=30), st.data())
def test_without_entities_text_is_shown_as_it_is(text: str, data: st.DataObject) -> None:
    assert highlighted(text, []).plain == text.replace("\r\n", "\n").replace("\r", "␍")
    if text:
        cut = data.draw(st.integers(1, len(text)))
        marked = highlighted(text, [spanning(text, 0, cut, "L")], colour=False).plain
        assert marked.replace("[", "", 1).replace("|L]", "", 1) == highlighted(text, []).plain


def test_the_table_of_entities_shows_markup_as_text_and_flags_what_is_not_found() -> None:
    shown = printed(entity_table(ENTITIES))
    assert "United [red]States" in shown
    assert "ungrounded" in shown
    assert "0.980" in shown
    assert "negated: no" in shown
    assert "Attributes" not in printed(entity_table(ENTITIES[:1]))


def test_a_label_stays_in_one_line_beside_long_texts_and_details() -> None:
    long = Entity(
        "DisorderOrSyndrome",
        "chronic obstructive pulmonary disease",
        0,
        37,
        score=0.5,
        attributes={"definition": "a lung disease with long words in its description"},
    )
    lines = printed(entity_table([long]), width=80).splitlines()
    assert sum("DisorderOrSyndrome" in line for line in lines) == 1


def test_the_end_of_a_run() -> None:
    shown = printed(
        run_table(
            documents_ok=1200,
            documents_truncated=1,
            documents_failed=2,
            seconds=10.0,
            entity_counts={"Drug": 5, "Dose": 50, "None": 0},
            report="/somewhere/" + "long/" * 30 + "report.html",
            failures={"MissingText": 1, "DuplicateId": 1},
            carried_over=17,
        )
    )
    assert "2   documents failed: 1 MissingText, 1 DuplicateId" in shown
    assert "17   of these unchanged" in shown
    assert "1,200" in shown
    assert "120" in shown
    assert shown.index("Dose") < shown.index("Drug")
    assert "/somewhere/" + "long/" * 30 + "report.html" in shown.replace("\n", "")
    assert "truncated" not in printed(
        run_table(
            documents_ok=0, documents_truncated=0, documents_failed=0, seconds=0, entity_counts={}
        )
    )
