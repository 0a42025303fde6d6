from __future__ import annotations

import pickle
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.marked import attributes, marked

from actors.config import ConfigError
from actors.config.context import Context, CueRule
from actors.context import ContextStage
from actors.context.clauses import MOST_MARKS
from actors.spans import Annotations, Entity, Grounding, spanning

ALL = ContextStage(Context())

ENGLISH = [
    "No evidence of <pneumonia:negated>.",
    "She denies <fever:negated>, <chills:negated> or <cough:negated>.",
    "No <fever:negated>, but <cough> since Monday.",
    "<Pneumonia:negated>: ruled out.",
    "<Ascites:negated> was not seen.",
    "Neg for <melena:negated>. -ve for <HIV:negated>.",
    "Not only <asthma> but <COPD>.",
    "No increase in the size of the <nodule>.",
    "<Pulmonary embolism:uncertain> cannot be excluded.",
    "Possible <pneumonia:uncertain>.",
    "r/o <stroke:uncertain>.",
    "Findings suspicious for <malignancy:uncertain>.",
    "Return if <fever:hypothetical> or <vomiting:hypothetical>.",
    "Call your doctor if there is any <bleeding:hypothetical>.",
    "History of <gout:historical>.",
    "h/o <MI:historical>, s/p <CABG:historical>.",
    "A 60-year-old man with a history of <diabetes:historical> who presents with <chest pain>.",
    "A two-day history of <fever>.",
    "Her mother had <breast cancer:family>.",
    "No family history of <colon cancer:family,historical,negated>.",
    "The mother reports <fever> since Monday.",
    "He lives with his wife and has <COPD>.",
    "<Dyspnea:conditional> on exertion.",
    "Denies:\n- <fever:negated>\n- <chills:negated>\n\nHas <cough>.",
    "No acute <fracture:negated>\nLeft <effusion>",
    "There is no evidence of acute intracranial haemorrhage or of a large\nterritorial "
    "<infarct:negated>.",
    "No <fever:negated>, possible <pneumonia:uncertain>.",
    "The patient denied taking 1 mg p.o. and has no <rash:negated>.",
    "no   evidence\nof <metastasis:negated>",
    "<No fever:negated> today.",
    # A sign belongs to the word before it, not to the list.
    "<CK7> (+), <calponin:negated> (-), <P63> (+).",
    "<Surgery> resulted in resolution of <pain:negated>.",
    # When and why something was done is not denied with it.
    "No <bleeding:negated> during <labour> or after <surgery>.",
    "<Nodes> that were not removed to reduce <bleeding>.",
    "She tested negative to <HIV:negated>. <MRI:negated> was not performed.",
    "No <fever:negated>, normal <reflexes>.",
    # "that may" was a stop, which swallowed the cue in it.
    "An abscess that may <rupture:uncertain>.",
    "This is likely to lead over the coming years to <renal failure:uncertain>.",
    "CT to determine whether there is a <stroke:uncertain>.",
    "The data support the diagnosis of <lupus:uncertain>.",
    "<Three regimens> were considered. Rising troponin, indicating <infarction>.",
    # A prescription states what is taken, and when: no condition, no hypothesis.
    "Take <one tablet> <twice daily>.",
    "<Metformin>: take <one tablet> <twice daily> with meals.",
    "Instructions: Take <one tablet> <twice daily>.",
    "DISCHARGE INSTRUCTIONS:\n<Metformin> <500 mg> <twice daily>. Come back for "
    "<fever:hypothetical>.",
    "Return precautions: <fever:hypothetical>, <chest pain:hypothetical>.",
    "<Nausea:conditional> after meals.",
    # A clause before the main one keeps its negation to itself; so do brackets.
    "Although there was no <fever:negated>, <chills:negated> or <cough:negated>, a <rash> came.",
    "To determine whether there is a <stroke:uncertain>, we performed <MRI>.",
    "<Mass> (no <calcification:negated>) with <oedema>. <Stroke:negated> (ruled out), <migraine>.",
    "A <mass> (possible <lipoma:uncertain>) beside the <kidney>.",
    # What is contrasted ends with its phrase.
    "<Cough> but not <fever:negated>, treated with <codeine>.",
    "<Gout> rather than <sepsis:negated>, which <colchicine> improved.",
    # A long item after a comma is a clause, unless a word joins it.
    "No <fever:negated>, the patient had <chills> on the second day and was then given <aspirin>.",
    "No <fever:negated>, <chills:negated> or <pain:negated> in the right arm since the surgery on "
    "Monday last week.",
    # A negation that is said for each item holds for that item.
    "No <fever:negated>, no <cough:negated>, <diarrhoea> for three days.",
    # Nitric oxide, where the document says so.
    "Nitric oxide (NO) was given. NO <inhalation> lowered the <pressure>.",
    "NO <fever:negated>. NO <cough:negated>.",
    # That-clauses go on over what ends other scopes.
    "This suggests that the <fever:uncertain> is due to <drugs:uncertain>.",
    "He may have <asthma:uncertain>, but no <COPD:negated>.",
]
OTHERS = [
    "El paciente no presenta <fiebre:negated> ni <tos:negated>, pero tiene <disnea>.",
    "Posible <neumonía:uncertain>. Antecedentes de <asma:historical>.",
    "La madre tuvo <cáncer de mama:family> y se descarta <embolia:negated,family>.",
    "Pas de <fièvre:negated> ni de <toux:negated>, mais une <dyspnée>.",
    "Suspicion d'<embolie pulmonaire:uncertain> chez ce patient, sans <fracture:negated>.",
    "Kein Hinweis auf <Pneumonie:negated>. V.a. <Lungenembolie:uncertain> bei dem Patienten.",
    "Der Patient ist stabil. Z.n. <Myokardinfarkt:historical>. <Fieber:negated> wird verneint.",
    "Bệnh nhân không <sốt:negated>, có <đau bụng>. Nghi <viêm ruột thừa:uncertain>.",
    "Tái khám nếu <khó thở:hypothetical>. Mẹ bị <ung thư vú:family> và bệnh nhân có <ho>.",
]


@pytest.mark.parametrize("source", ENGLISH + OTHERS)
def test_status_of_each_entity(source: str) -> None:
    text, annotations, gold = marked(source)
    refined = ALL.refine(text, annotations).entities
    found = [attributes(e.assertion) for e in refined if e.assertion is not None]
    assert found == gold


def test_within_a_cue_a_shorter_one_decides() -> None:
    for text, word, negated in [
        ("No evidence of fever.", "evidence", True),
        ("Fever was not observed.", "observed", True),
        ("The fever has resolved.", "resolved", False),
        ("He denied fever.", "denied", False),
    ]:
        start = text.index(word)
        given = Annotations((spanning(text, start, start + len(word), "EVENT"),))
        assertion = ALL.refine(text, given).entities[0].assertion
        assert assertion is not None
        assert (text, assertion.negated) == (text, negated)


def test_each_attribute_has_a_cue_in_the_text() -> None:
    text, annotations, _ = marked("No family history of <colon cancer>.")
    assertion = ALL.refine(text, annotations).entities[0].assertion
    assert assertion is not None
    assert {cue.attribute for cue in assertion.cues} == {"negated", "historical", "experiencer"}
    assert {text[cue.start : cue.end] for cue in assertion.cues} == {"No family history of"}


def test_decomposed_text_is_read_like_composed() -> None:
    import unicodedata

    text, annotations, _ = marked(unicodedata.normalize("NFD", "Bệnh nhân không <sốt> và có ho."))
    assertion = ALL.refine(text, annotations).entities[0].assertion
    assert assertion is not None
    assert assertion.negated


def test_a_character_that_grows_in_lower_case_moves_no_cue() -> None:
    text, annotations, _ = marked("İİİİ. There is no <fever>.")
    assertion = ALL.refine(text, annotations).entities[0].assertion
    assert assertion is not None
    assert [text[cue.start : cue.end] for cue in assertion.cues] == ["no"]


def test_a_users_rule_and_one_taken_out() -> None:
    rule = CueRule(id="mine", effect="negated", cues=("zero [signs of]",))
    stage = ContextStage(Context(languages=("en",), rules=(rule,), without=("en.neg.no",)))
    text, annotations, gold = marked("Zero signs of <fever:negated>. No <cough>.")
    found = [e.assertion for e in stage.refine(text, annotations).entities]
    assert [attributes(one) for one in found if one] == gold


def test_a_users_phrase_replaces_the_shipped_one() -> None:
    rule = CueRule(id="mine", effect="uncertain", cues=("no evidence of",))
    stage = ContextStage(Context(languages=("en",), rules=(rule,)))
    text, annotations, gold = marked("No evidence of <fever:uncertain>.")
    assertion = stage.refine(text, annotations).entities[0].assertion
    assert assertion is not None
    assert attributes(assertion) == gold[0]


def test_only_the_given_labels_get_a_status() -> None:
    stage = ContextStage(Context(languages=("en",), labels=("PROBLEM",)))
    text = "No fever on aspirin."
    entities = (spanning(text, 3, 8, "PROBLEM"), spanning(text, 12, 19, "DRUG"))
    fever, aspirin = stage.refine(text, Annotations(entities)).entities
    assert fever.assertion is not None
    assert aspirin.assertion is None


def test_an_ungrounded_entity_comes_back_as_it_is() -> None:
    entity = Entity("PROBLEM", "fever", None, None, grounding=Grounding.UNGROUNDED)
    assert ALL.refine("No fever.", Annotations((entity,))).entities == (entity,)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"without": ("en.neg.nothing",)}, "no rule has the id en.neg.nothing"),
        ({"rules": (CueRule(id="en.neg.no", effect="negated", cues=("x",)),)}, "ids are taken"),
        (
            {"rules": (CueRule(id="a", effect="negated", cues=("no (x",)),)},
            "unmatched opening bracket",
        ),
        ({"implied": {"family_hist": ("family",)}}, "no section has the name family_hist"),
    ],
)
def test_a_wrong_configuration_is_named(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ContextStage(Context.model_validate({"languages": ("en",), **changes}))


@pytest.mark.parametrize(
    "fields",
    [
        {"cues": ()},
        {"patterns": ("(a",)},
        {"patterns": ("a*",)},
        {"patterns": ("(a)",)},
        {"cues": ("x",), "ends": ("negated",)},
        {"cues": ("x",), "whole": True, "phrase": True},
    ],
)
def test_a_wrong_rule_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="rule 'mine'"):
        CueRule.model_validate({"id": "mine", "effect": "negated", **fields})


def test_the_configuration_can_be_pickled() -> None:
    assert pickle.loads(pickle.dumps(Context())) == Context()


WORDS = st.sampled_from(
    ["no", "No", "denies", "fever", "cough", "possible", ",", ".", ";", ":", "\n", "\n\n", "  ",
     "mother", "history of", "but", "- ", "1) ", "FAMILY HISTORY:", "PMH", "không", "ß", "İ", "é",
     "if", "?", "(-)", "in 1998", "\t", "|", "\r\n", "unlikely", "ruled out"]
)  # fmt: skip
TEXTS = st.lists(WORDS | st.text(max_size=6), min_size=1, max_size=40).map(" ".join).filter(len)


@given(TEXTS, st.data())
@settings(max_examples=200, deadline=None)
def test_entities_stay_and_cues_lie_in_the_text(text: str, data: st.DataObject) -> None:
    spans = data.draw(
        st.lists(
            st.tuples(st.integers(0, len(text) - 1), st.integers(1, 12)).map(
                lambda one: (one[0], min(len(text), one[0] + one[1]))
            ),
            max_size=6,
        )
    )
    entities = tuple(spanning(text, s, e, "X") for s, e in spans)
    refined = ALL.refine(text, Annotations(entities))
    assert [(e.label, e.start, e.end, e.text) for e in refined.entities] == [
        (e.label, e.start, e.end, e.text) for e in entities
    ]
    for entity in refined.entities:
        assert entity.assertion is not None
        decided = attributes(entity.assertion)
        named = {
            str(entity.assertion.experiencer) if c.attribute == "experiencer" else c.attribute
            for c in entity.assertion.cues
        }
        assert decided == named
        assert all(0 <= c.start < c.end <= len(text) for c in entity.assertion.cues)
    names = [(s.start, s.heading_end, s.end) for s in refined.sections]
    assert all(start < heading <= end <= len(text) for start, heading, end in names)
    assert all(a[2] == b[0] for a, b in pairwise(names))
    assert not names or names[-1][2] == len(text)


def test_a_text_without_any_stop_is_read_in_pieces() -> None:
    text = "no fever " * 20_000
    entities = tuple(spanning(text, i * 9 + 3, i * 9 + 8, "X") for i in range(0, 20_000, 10))
    refined = ALL.refine(text, Annotations(entities)).entities
    for entity in refined:
        assert entity.assertion is not None
        assert entity.assertion.negated
        assert len(entity.assertion.cues) <= MOST_MARKS
