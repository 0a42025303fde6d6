from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.config.relations import DEFAULT_RULES, RelationRule, Relations
from actors.relations import RelationStage
from actors.relations.abbreviations import find_abbreviations
from actors.relations.quantities import read_per_day, read_quantity, read_tail, ucum_unit
from actors.relations.rules import RelationFinder
from actors.spans import Annotations, Cell, Entity, Grounding, PageTable, spanning

STAGE = RelationStage(Relations())
_MARK = re.compile(r"<([\w-]+) ([^<>]+)>")


def marked(source: str) -> tuple[str, tuple[Entity, ...]]:
    """A text with marks such as ``<DRUG aspirin>``, without them, and the entities."""
    text, spans, at = "", [], 0
    for match in _MARK.finditer(source):
        text += source[at : match.start()]
        spans.append((len(text), len(text) + len(match.group(2)), match.group(1)))
        text += match.group(2)
        at = match.end()
    text += source[at:]
    return text, tuple(spanning(text, s, e, label) for s, e, label in spans)


def relations(source: str, stage: RelationStage = STAGE) -> set[tuple[str, str, str]]:
    """(head, type, tail) of a text with marks."""
    text, entities = marked(source)
    refined = (
        STAGE.refine(text, Annotations(entities))
        if stage is STAGE
        else stage.refine(text, Annotations(entities))
    )
    assert refined.entities == entities
    return {(entities[r.head].text, r.type, entities[r.tail].text) for r in refined.relations}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            "<DRUG Aspirin> <STRENGTH 81 mg> <ROUTE PO> <FREQUENCY daily>",
            {
                ("Aspirin", "strength", "81 mg"),
                ("Aspirin", "route", "PO"),
                ("Aspirin", "frequency", "daily"),
            },
        ),
        (
            "<DRUG semaglutide> <STRENGTH 1 mg> <FREQUENCY once weekly> or <DRUG liraglutide> "
            "<STRENGTH 1.8 mg> <FREQUENCY once daily>",
            {
                ("semaglutide", "strength", "1 mg"),
                ("semaglutide", "frequency", "once weekly"),
                ("liraglutide", "strength", "1.8 mg"),
                ("liraglutide", "frequency", "once daily"),
            },
        ),
        # A result without a number is that of each test that an enumeration joins; a number is not.
        (
            "<TEST ANA>, <TEST ANCA> and <TEST RF> were all <VALUE negative>.",
            {
                ("ANA", "value", "negative"),
                ("ANCA", "value", "negative"),
                ("RF", "value", "negative"),
            },
        ),
        (
            "<VALUE Positive> for <TEST S-100> (Fig. 5), <TEST CD68> and <TEST CD1a>; <TEST CK> no",
            {
                ("S-100", "value", "Positive"),
                ("CD68", "value", "Positive"),
                ("CD1a", "value", "Positive"),
            },
        ),
        (
            "<VALUE Positive> <TEST ANA>, <TEST ANCA> <VALUE negative>",
            {("ANA", "value", "Positive"), ("ANCA", "value", "negative")},
        ),
        (
            "<TEST Glucose> and <TEST urea> <VALUE 5.2>",
            {("urea", "value", "5.2")},
        ),
        (
            "<TEST Ejection fraction> (<TEST EF>) of <VALUE 30%>, <TEST EF> later <VALUE 35%>",
            {("Ejection fraction", "value", "30%"), ("EF", "value", "35%")},
        ),
        (
            "<TEST Sodium>\t<VALUE 139>\t<UNIT mmol/L>\t<REFERENCE-RANGE 135 - 145>\n"
            "<TEST Potassium>\t<VALUE 4.6>\t<UNIT mmol/L>\t<REFERENCE-RANGE 3.5 - 5.1>\n",
            {
                ("Sodium", "value", "139"),
                ("139", "unit", "mmol/L"),
                ("Sodium", "reference_range", "135 - 145"),
                ("Potassium", "value", "4.6"),
                ("4.6", "unit", "mmol/L"),
                ("Potassium", "reference_range", "3.5 - 5.1"),
            },
        ),
        (
            "<FREQUENCY once-weekly> <DRUG semaglutide> versus <FREQUENCY once-daily> "
            "<DRUG liraglutide>",
            {
                ("semaglutide", "frequency", "once-weekly"),
                ("liraglutide", "frequency", "once-daily"),
            },
        ),
        (
            "<DRUG metformin> and <STRENGTH 10 mg> of <DRUG lisinopril>",
            {("lisinopril", "strength", "10 mg")},
        ),
        (
            "<DRUG Metformin> tablets\nTake one <FREQUENCY twice daily> with meals\n\n"
            "<DRUG Lisinopril> tablets\nTake one <FREQUENCY every morning>",
            {
                ("Metformin", "frequency", "twice daily"),
                ("Lisinopril", "frequency", "every morning"),
            },
        ),
        ("- <DRUG Metformin>\n- <FREQUENCY daily> weights", set()),
        (
            "<DRUG Empagliflozin> <STRENGTH 10 mg> for <PROBLEM heart failure>",
            {
                ("Empagliflozin", "strength", "10 mg"),
                ("Empagliflozin", "reason", "heart failure"),
            },
        ),
        ("<DRUG Empagliflozin> worsened the <PROBLEM ketosis>", set()),
        (
            "<TEST HbA1c> 8.1, <TEST LDL> of <VALUE 88>",
            {("LDL", "value", "88")},
        ),
        (
            "<TEST Na> <VALUE 138>\n<TEST K> <VALUE 4.1>",
            {("Na", "value", "138"), ("K", "value", "4.1")},
        ),
        (
            "<Symptom pain> in the left <BodyPart knee>; <Symptom swelling> of the "
            "<BodyPart wrist>",
            {("pain", "body_part", "knee"), ("swelling", "body_part", "wrist")},
        ),
    ],
)
def test_relations_of_the_shipped_rules(source: str, expected: set[tuple[str, str, str]]) -> None:
    assert relations(source) == expected


def test_the_repeated_word_belongs_to_its_own_drug() -> None:
    found = relations(
        "<DRUG Aspirin> <FREQUENCY daily>. <DRUG Atorvastatin> nightly. "
        "<DRUG Lisinopril> <FREQUENCY daily>."
    )
    assert found == {("Aspirin", "frequency", "daily"), ("Lisinopril", "frequency", "daily")}


def test_labels_of_any_model_by_rules_of_the_users() -> None:
    rule = RelationRule(
        type="cause", head=("Chemical_Name",), tail=("ADE",), pick="all", within="sentence"
    )
    stage = RelationStage(Relations(rules=(rule,)))
    source = "<chemical-name A> and <chemical-name B> gave <ade rash>. <ade itch> was older."
    assert relations(source, stage) == {("A", "cause", "rash"), ("B", "cause", "rash")}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"side": "before"}, set()),
        ({"side": "after"}, {("aspirin", "t", "x")}),
        ({"reach": 1}, set()),
        ({"link": ("for",)}, {("aspirin", "t", "x")}),
        ({"link": ("against",)}, set()),
        ({"within": "line"}, set()),
    ],
)
def test_each_option_of_a_rule(changes: dict[str, object], expected: set[object]) -> None:
    fields = {"type": "t", "head": ("DRUG",), "tail": ("X",), **changes}
    stage = RelationStage(Relations(rules=(RelationRule.model_validate(fields),)))
    assert relations("<DRUG aspirin> taken <B b>\nmainly for <X x>", stage) == expected


def test_a_label_cannot_be_head_and_tail() -> None:
    with pytest.raises(ValueError, match="share a label"):
        RelationRule(type="t", head=("Body_Part",), tail=("bodypart",))


def test_readings_stand_beside_the_words() -> None:
    text = "torsemide 40 mg BID"
    entities = (
        spanning(text, 0, 9, "DRUG"),
        spanning(text, 10, 12, "DoseValue"),
        spanning(text, 16, 19, "DrugTime"),
    )
    found = STAGE.refine(text, Annotations(entities)).relations
    assert [(r.type, r.attributes) for r in found] == [
        ("strength", {"value": "40", "unit": "mg"}),
        ("frequency", {"per_day": "2"}),
    ]
    bare = RelationFinder(DEFAULT_RULES, readings=False)
    assert [r.attributes for r in bare(text, entities)] == [{}, {}]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("500 mg", {"value": "500", "unit": "mg"}),
        ("500mg", {"value": "500", "unit": "mg"}),
        ("2,5 mg", {"value": "2.5", "unit": "mg"}),
        ("0.125 mg", {"value": "0.125", "unit": "mg"}),
        ("50 mcg", {"value": "50", "unit": "ug"}),
        ("26-week", {"value": "26", "unit": "wk"}),
        ("120 mm Hg", {"value": "120", "unit": "mm[Hg]"}),
        ("27.5 kg/m2", {"value": "27.5", "unit": "kg/m2"}),
        ("8.4", {"value": "8.4"}),
        ("1,000 mg", {}),
        ("1.000 mg", {}),
        ("10-20 mg", {}),
        ("<5 mg", {}),
        ("5 units", {}),
        ("24/26", {}),
        ("one tablet", {}),
        ("", {}),
    ],
)
def test_quantities(words: str, expected: dict[str, str]) -> None:
    assert read_quantity(words) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("twice daily", "2"),
        ("BID", "2"),
        ("q6h", "4"),
        ("every 8 hours", "3"),
        ("Q 36 h", "0.6667"),
        ("once weekly", "0.1429"),
        ("3 times a day", "3"),
        ("cada 12 horas", "2"),
        ("2 fois par jour", "2"),
        ("ngày 2 lần", "2"),
        ("dreimal täglich", "3"),
        ("daily as needed", None),
        ("1-2 times daily", None),
        ("q0h", None),
        ("", None),
    ],
)
def test_times_a_day(words: str, expected: str | None) -> None:
    assert read_per_day(words) == expected


def test_a_unit_after_a_bare_number_is_read_with_it() -> None:
    assert read_tail("HbA1c 8.1% today", 6, 9) == {"value": "8.1", "unit": "%"}
    assert read_tail("INR 2.5 and", 4, 7) == {"value": "2.5"}
    assert ucum_unit("mL") == "mL"
    assert ucum_unit("units") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "He has non-small cell lung cancer (NSCLC).",
            {"NSCLC": "non-small cell lung cancer"},
        ),
        ("with type 2 diabetes (T2D) and obesity", {"T2D": "type 2 diabetes"}),
        (
            "Treated for NSCLC (non-small cell lung cancer).",
            {"NSCLC": "non-small cell lung cancer"},
        ),
        ("chronic kidney disease (CKD; stage 3)", {"CKD": "chronic kidney disease"}),
        ("It was cold. Blood pressure (BP) was high", {"BP": "Blood pressure"}),
        ("seen twice (see above)", {}),
        ("aspirin (5 mg)", {}),
        ("the patient (Dr Smith)", {}),
        ("heart failure (CKD)", {}),
        ("HIV (HIV)", {}),
        # Initials before the shortest end that has the letters, which is one word here.
        (
            "experimental autoimmune encephalomyelitis (EAE)",
            {"EAE": "experimental autoimmune encephalomyelitis"},
        ),
        ("carcinoma of the lung (CL)", {"CL": "carcinoma of the lung"}),
        (
            "warfarin-associated intracerebral hemorrhage (W-ICH)",
            {
                "W-ICH": "warfarin-associated intracerebral hemorrhage",
                "ICH": "intracerebral hemorrhage",
            },
        ),
        ("5-hydroxytryptamine (5-HT)", {"5-HT": "5-hydroxytryptamine"}),
    ],
)
def test_abbreviations(text: str, expected: dict[str, str]) -> None:
    assert find_abbreviations(text) == expected


def test_the_first_definition_counts() -> None:
    text = "multiple sclerosis (MS) and mitral stenosis (MS)"
    assert STAGE.refine(text, Annotations()).abbreviations == {"MS": "multiple sclerosis"}


LABELS = sorted({label for rule in DEFAULT_RULES for label in (*rule.head, *rule.tail)})
TEXTS = st.text(st.sampled_from("ab1 .,\n-()é"), min_size=1, max_size=60)


@given(TEXTS, st.data())
@settings(max_examples=200, deadline=None)
def test_entities_stay_and_relations_hold(text: str, data: st.DataObject) -> None:
    place = st.tuples(st.integers(0, len(text) - 1), st.integers(1, 9), st.sampled_from(LABELS))
    spans = data.draw(st.lists(place, max_size=12))
    entities = (
        *(spanning(text, s, min(len(text), s + n), label) for s, n, label in spans),
        Entity("Drug", "x", None, None, grounding=Grounding.UNGROUNDED),
    )
    refined = RelationStage(Relations()).refine(text, Annotations(entities))
    assert refined.entities == entities
    keys = [(r.head, r.tail, r.type) for r in refined.relations]
    assert keys == sorted(set(keys))
    for relation in refined.relations:
        head, tail = entities[relation.head], entities[relation.tail]
        assert head.start is not None
        assert tail.start is not None
        assert head.label != tail.label
        assert relation.score is not None
        assert 0 < relation.score <= 1
    for short, long in refined.abbreviations.items():
        assert short in text
        assert long in text


def table_of(text: str, header: bool = True) -> PageTable:
    """A text as a table: its lines are rows, and tabs part cells."""
    cells, at = [], 0
    lines = text.split("\n")
    for row, line in enumerate(lines):
        for column, words in enumerate(line.split("\t")):
            if words:
                cells.append(Cell(row, column, at, at + len(words)))
            at += len(words) + 1
    columns = 1 + max(cell.column for cell in cells)
    return PageTable(0, len(lines), columns, header, tuple(cells))


def in_table(source: str, header: bool = True) -> list[tuple[str, str, str, dict[str, str]]]:
    text, entities = marked(source)
    annotations = Annotations(entities, tables=(table_of(text, header),))
    return [
        (entities[r.head].text, r.type, entities[r.tail].text, dict(r.attributes))
        for r in STAGE.refine(text, annotations).relations
    ]


def test_a_row_of_a_table_completes_a_value() -> None:
    source = (
        "Test\tResult\tFlag\tUnits\tReference range\n"
        "<TEST Potassium>\t<VALUE 5.9>\tH\tmmol/L\t3.5 - 5.1\n"
        "<TEST Creatinine>\t<VALUE 88>\t\tumol/L\t60 - 110"
    )
    potassium = {"value": "5.9", "unit": "mmol/L", "reference_range": "3.5 - 5.1"}
    creatinine = {"value": "88", "unit": "umol/L", "reference_range": "60 - 110"}
    named = {"column": "Result"}
    assert in_table(source) == [
        ("Potassium", "value", "5.9", potassium | named),
        ("Creatinine", "value", "88", creatinine | named),
    ]


def test_values_of_several_days_belong_to_the_test_of_their_row() -> None:
    source = (
        "Test (method)\t3 May (mg/L)\t4 May (mg/L)\n"
        "<TEST CRP>, by turbidimetry on the analyser of the night laboratory\t"
        "<VALUE 80>\t<VALUE 41>\n"
        "<TEST Ferritin>\t<VALUE 12>\t"
    )
    first, second = {"unit": "mg/L", "column": "3 May (mg/L)"}, {"column": "4 May (mg/L)"}
    assert in_table(source) == [
        ("CRP", "value", "80", {"value": "80"} | first),
        ("CRP", "value", "41", {"value": "41", "unit": "mg/L"} | second),
        ("Ferritin", "value", "12", {"value": "12"} | first),
    ]


def test_a_dose_is_not_of_the_drug_in_another_row() -> None:
    source = (
        "<DRUG metformin>\t<DOSE 500 mg>\t<FREQUENCY twice daily>\n"
        "Xarelta\t<DOSE 20 mg>\t<FREQUENCY at night>\n"
        "<DRUG bisoprolol>\t<DOSE 5 mg>\tdaily,\n\t\t<FREQUENCY in the morning>"
    )
    found = {pair[:3] for pair in in_table(source, header=False)}
    assert found == {
        ("metformin", "dose", "500 mg"),
        ("metformin", "frequency", "twice daily"),
        ("bisoprolol", "dose", "5 mg"),
        ("bisoprolol", "frequency", "in the morning"),
    }
