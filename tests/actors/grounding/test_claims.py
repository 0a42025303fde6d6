"""Prose held against its document: what is not there is flagged, and said of the right drug."""

from __future__ import annotations

import pytest

from actors import Entity, Grounding
from actors.grounding import check

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


def test_what_the_page_does_not_have_is_flagged() -> None:
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
    assert durations["five days", ""].start is None
    assert durations["4 weeks", ""].start == PAGE.index("4 weeks"), "four weeks is 4 weeks"
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
