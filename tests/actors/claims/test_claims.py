"""Prose held against its document: what is not there is flagged, and said of the right drug."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Entity, Grounding
from actors.claims import check

# The page of a prescription, as OCR reads it. Made for the project.
PAGE = """Name: Rukhsana Shaheen\tAge: 56 years\tFemale
Diagnosis: SLE with scleroderma overlap, ILD
Complains of tightness of skin over the fists, ulcers at the pulp of fingers
Rx
Tab. Mycophenolate mofetil 500 mg, 2 tablets twice daily after breakfast
Tab. Prednisolone 5 mg once daily
Tab. Sildenafil citrate 20 mg twice daily
Tab. Clopidogrel 75mg once daily in the morning
Tab. L-methylfolate 400 mcg once daily
Tab. Clonazepam 0.5 mg at night
Seen on 12/03/2024, review after 4 weeks
"""
ANSWER = """The patient, Ms. Rukhsana Shaheen, is 56 years old. On 12/03/2024 the treatment was:

1. Sildenafil Citrate - 0.5 mg twice daily for five days, before switching to Prednisone.
2. Mycophenolate Mofetil - 500mg tablets.
3. Clopidogrel - 75 mg every morning until溃疡 heals, for four weeks.
4. L-Methylfolate 400 µg, and Warfarin 5 mg.

| Medication | Dosage |
| --- | --- |
| Prednisolone | 5 mg |
| Clonazepam | 5 mg |

She is to see Dr Ayesha Khan on 2 April 2024.
"""


def by(entities: list[Entity], label: str) -> dict[tuple[str, str], Entity]:
    found = {(e.text, e.attributes.get("of", "")): e for e in entities if e.label == label}
    assert found
    return found


def test_claims_absent_from_the_page_are_flagged() -> None:
    entities = check(ANSWER, PAGE, model="vlm")
    for entity in entities:
        grounded = entity.grounding is not Grounding.UNGROUNDED
        assert grounded == (entity.start is not None)
        assert not grounded or entity.text == PAGE[entity.start : entity.end]
        assert entity.model == "vlm"
    doses = by(entities, "DOSE")
    wrong = doses["0.5 mg", "Sildenafil Citrate"]
    assert wrong.start is None
    assert wrong.attributes["elsewhere"] == "yes", "0.5 mg is on the page: of another drug"
    assert doses["5 mg", "Clonazepam"].start is None
    assert doses["5 mg", "Prednisolone"].start == PAGE.index("5 mg once")
    assert doses["5 mg", "Warfarin"].start is None
    for said, drug in (("500 mg", "Mycophenolate Mofetil"), ("75mg", "Clopidogrel")):
        assert doses[said, drug].grounding is Grounding.NORMALIZED
    assert doses["400 mcg", "L-Methylfolate"].start == PAGE.index("400 mcg")
    drugs = by(entities, "DRUG")
    assert drugs["Sildenafil citrate", ""].start == PAGE.index("Sildenafil")
    assert drugs["Prednisone", ""].start is None
    assert drugs["Prednisone", ""].attributes["similar"] == "Prednisolone"
    assert drugs["Warfarin", ""].start is None
    [foreign] = by(entities, "SCRIPT").values()
    assert (foreign.text, foreign.start) == ("溃疡", None)
    durations = by(entities, "DURATION")
    assert durations["five days", "Sildenafil Citrate"].start is None
    assert durations["56 years", ""].start == PAGE.index("56 years")
    weeks = durations["four weeks", "Clopidogrel"]
    assert weeks.start is None
    assert weeks.attributes["elsewhere"] == "yes", "the review is after 4 weeks"
    dates = by(entities, "DATE")
    assert dates["12/03/2024", ""].start is not None
    assert dates["2 April 2024", ""].start is None
    names = by(entities, "NAME")
    assert names["Rukhsana Shaheen", ""].start == PAGE.index("Rukhsana")
    assert names["Ayesha Khan", ""].start is None


def test_every_claim_of_a_copy_is_grounded() -> None:
    assert len(check(PAGE, PAGE)) > 15
    assert all(e.start is not None for e in check(PAGE, PAGE))


def test_a_page_in_the_script_of_the_answer_has_its_words() -> None:
    assert check("直到溃疡愈合", "溃疡未愈合，直到复查") == []
    assert [e.label for e in check("ulcer 溃疡", "ulcer")] == ["SCRIPT"]


@pytest.mark.parametrize("text", ["", "\n", "a", "|||\n---", "1. ", "mg 5", "5 mg" * 50])
def test_any_answer_can_be_checked(text: str) -> None:
    for answer in (text, ANSWER, ANSWER[:77]):
        for page in (text, PAGE):
            for entity in check(answer, page):
                assert entity.start is None or entity.text == page[entity.start : entity.end]


TWO_DRUGS = "Amlodipine 5 mg once daily for 7 days\nLosartan 50 mg twice daily for 2 weeks\n"


def said(answer: str, page: str = TWO_DRUGS) -> dict[str, Grounding]:
    return {f"{e.label} {e.text}": e.grounding for e in check(answer, page)}


@pytest.mark.parametrize(
    ("answer", "claim"),
    [
        ("Amlodipine 50 mg", "DOSE 50 mg"),
        ("amlodipine: 50 mg", "DOSE 50 mg"),
        ("50 mg of amlodipine", "DOSE 50 mg"),
        ("Losartan 5 mg", "DOSE 5 mg"),
        ("Amlodipine 5 mg twice daily", "FREQUENCY twice daily"),
        ("Losartan every morning", "FREQUENCY every morning"),
        ("Losartan 50 mg for 7 days", "DURATION 7 days"),
        ("| Losartan | 50 mg | once daily |", "FREQUENCY once daily"),
    ],
)
def test_amount_of_another_drug_is_ungrounded(answer: str, claim: str) -> None:
    assert said(answer)[claim] is Grounding.UNGROUNDED


@pytest.mark.parametrize(
    "answer",
    [
        "Amlodipine 5 mg once daily for 7 days",
        "Amlodipine 5mg OD for one week and Losartan 0.05 g b.i.d. for 14 days.",
        "She takes 5,000 mcg... no: 5 mg of amlodipine; 50 mg of losartan twice a day",
        "| losartan | 50 mg | BID | 2 weeks |\n| amlodipine | 5 mg | daily | 7 days |",
        "losartan potassium 50 mg and amlodipine besylate 5 mg",
    ],
)
def test_paraphrases_of_the_page_are_grounded(answer: str) -> None:
    missing = {one for one, how in said(answer).items() if how is Grounding.UNGROUNDED}
    assert missing <= {
        "DOSE 5,000 mcg",
        "DRUG losartan potassium",
        "DRUG amlodipine besylate",
    }, "a thousand and five are not told apart; the page has no salts"


def test_drugs_in_lower_case_and_invented_ones_are_seen() -> None:
    answer = (
        "It lists aspirin, warfarin 5 mg, zelfibrex 20 mg, and zovastatin; mundri was given at 2 g"
    )
    drugs = {e.text: e.grounding for e in check(answer, TWO_DRUGS) if e.label == "DRUG"}
    assert list(drugs) == ["aspirin", "warfarin", "zelfibrex", "zovastatin", "mundri"]
    assert set(drugs.values()) == {Grounding.UNGROUNDED}


def test_words_beside_a_dose_are_no_drugs() -> None:
    answer = (
        "The total dose of 20 mg was increased to 40 mg daily; the patient takes 5 ml. Water 2 l."
    )
    found = check(answer, "")
    assert [e.text for e in found if e.label == "DRUG"] == ["Water"]


def test_another_name_of_the_drug_is_the_same_drug() -> None:
    entities = check("acetaminophen 500 mg", "Paracetamol 500 mg, codeine 8 mg")
    [drug] = [e for e in entities if e.label == "DRUG"]
    [dose] = [e for e in entities if e.label == "DOSE"]
    assert (drug.start, drug.attributes["similar"]) == (None, "Paracetamol")
    assert (dose.start, dose.attributes["of"]) == (12, "acetaminophen")


def test_a_directions_line_belongs_to_the_drug_above_it() -> None:
    page = "Ranitidine\t250 mg\ntake twice daily\nCarvedilol\t6.25 mg\ntake at bedtime\n"
    assert said("Ranitidine twice a day", page)["FREQUENCY twice daily"] is Grounding.NORMALIZED
    assert said("Carvedilol twice a day", page)["FREQUENCY twice a day"] is Grounding.UNGROUNDED


def test_a_range_is_not_one_of_its_ends() -> None:
    page = "Morphine 5-10 mg every 4 hours"
    assert said("Morphine 5-10 mg", page)["DOSE 5-10 mg"] is Grounding.EXACT
    assert said("Morphine 10 mg", page)["DOSE 10 mg"] is Grounding.UNGROUNDED


DRUGS = st.sampled_from(["amlodipine", "losartan", "metformin", "warfarin", "zelfibrex", "mundri"])
AMOUNTS = st.sampled_from(["5 mg", "50 mg", "0.5 mg", "1 g", "75 mcg", "20 mg"])


@given(
    st.lists(st.tuples(DRUGS, AMOUNTS), min_size=2, max_size=5, unique_by=(lambda p: p[0])),
    st.data(),
)
def test_a_dose_is_grounded_exactly_where_the_page_states_it_of_the_drug(
    orders: list[tuple[str, str]], data: st.DataObject
) -> None:
    page = "\n".join(f"{drug} {dose} once daily" for drug, dose in orders)
    drug, own = data.draw(st.sampled_from(orders))
    dose = data.draw(AMOUNTS)
    [entity] = [e for e in check(f"{drug} {dose}", page) if e.label == "DOSE"]
    assert (entity.start is not None) == (dose == own)
    if entity.start is not None:
        assert page[: entity.start].endswith(f"{drug} ")


@given(st.text(alphabet="abcdeAB 0159.,-\n\tmglx/|ü直", max_size=80))
def test_a_copy_of_a_page_has_no_flags(text: str) -> None:
    for entity in check(text, text):
        if entity.label in ("DOSE", "FREQUENCY", "DURATION", "QUANTITY"):
            assert entity.start is not None
