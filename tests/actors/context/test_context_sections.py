from __future__ import annotations

import pytest
from support.marked import attributes, marked

from actors.config import ConfigError
from actors.config.context import Context, EntityFilter, LexiconLanguage
from actors.context import ContextStage
from actors.context.filters import apply_filters
from actors.context.lexicon import lexicon_file, read_lexicon, sections_file
from actors.context.sections import compile_headings, find_sections, with_stated
from actors.spans import Annotations, Entity, Grounding, Relation, Section, spanning

EN = compile_headings("en", Context())


def found(text: str, language: LexiconLanguage = "en") -> list[tuple[str, str]]:
    headings = EN if language == "en" else compile_headings(language, Context())
    return [(s.name, text[s.start : s.heading_end]) for s in find_sections(text, headings)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FAMILY HISTORY: Mother well.", [("family_history", "FAMILY HISTORY:")]),
        ("Family history\nMother well.", [("family_history", "Family history")]),
        ("## Allergies\nNone.", [("allergies", "## Allergies")]),
        ("**Past Medical History:** gout", [("past_medical_history", "**Past Medical History:")]),
        ("2. Medications:\naspirin", [("medications", "2. Medications:")]),
        ("PMH - gout", [("past_medical_history", "PMH")]),
        (
            "HPI: cough. PMH: gout. MEDICATIONS: none",
            [
                ("history_of_present_illness", "HPI:"),
                ("past_medical_history", "PMH:"),
                ("medications", "MEDICATIONS:"),
            ],
        ),
        ("Seen today.\n\nSEDATION RECORD\nMidazolam", [("other", "SEDATION RECORD")]),
        ("DIAGNOSIS(ES): gout", [("problem_list", "DIAGNOSIS(ES):")]),
        ("She has a family history of gout.", []),
        ("The plan: to go home with her family.", []),
        ("Blood pressure: 120/80", []),
        ("", []),
    ],
)
def test_headings(text: str, expected: list[tuple[str, str]]) -> None:
    assert found(text) == expected


@pytest.mark.parametrize(
    ("title", "loinc", "name", "code"),
    [
        ("Home meds today", "10160-0", "medications", "10160-0"),
        ("Allergies", None, "allergies", "48765-2"),
        ("Allergies", "10160-0", "medications", "10160-0"),  # a code says more than a title
        ("Past surgical history", "47519-4", "past_surgical_history", "47519-4"),
        ("Operations", "47519-4", "procedures", "47519-4"),
        ("Weather", "99999-9", "other", "99999-9"),
    ],
)
def test_a_stated_section_is_named_by_its_code_or_its_title(
    title: str, loinc: str | None, name: str, code: str | None
) -> None:
    text = f"Note\n{title}\nrash\nASSESSMENT: gout"
    stated = [Section("other", 5, len(text), 5 + len(title), loinc)]
    headings = find_sections(text, EN)
    first, second = with_stated(text, stated, headings, EN)
    assert (first.name, first.loinc, first.start) == (name, code, 5)
    assert (second.name, second.end) == ("assessment", len(text))
    assert first.end == second.start == text.index("ASSESSMENT")


def test_stated_sections_give_entities_their_section_and_what_it_implies() -> None:
    text = "Erkrankungen der Sippe\nGicht"
    gout = spanning(text, 23, 28, "Disease")
    given = Annotations((gout,), (Section("other", 0, len(text), 22, "10157-6"),))
    (entity,) = ContextStage(Context()).refine(text, given).entities
    assert entity.section == "family_history"
    assert entity.assertion is not None
    assert entity.assertion.experiencer == "family"


@pytest.mark.parametrize(
    ("language", "text", "name"),
    [
        ("vi", "TIỀN SỬ GIA ĐÌNH:\nMẹ khỏe", "family_history"),
        ("es", "Antecedentes familiares: madre sana", "family_history"),
        ("fr", "ANTECEDENTS FAMILIAUX\nmère saine", "family_history"),
        ("de", "Familienanamnese: unauffällig", "family_history"),
        ("de", "Entlassmedikation:\nASS 100", "discharge_medications"),
        ("vi", "Lý do vào viện: ho", "chief_complaint"),
    ],
)
def test_headings_of_other_languages(language: LexiconLanguage, text: str, name: str) -> None:
    assert [one for one, _ in found(text, language)] == [name]


def test_a_section_reaches_to_the_next_heading_and_has_its_code() -> None:
    text = "Title\nFamily history: gout\nAllergies: none"
    first, second = find_sections(text, EN)
    assert text[first.start : first.end] == "Family history: gout\n"
    assert first.loinc == "10157-6"
    assert second.end == len(text)


def test_a_section_is_evidence_and_its_heading_the_cue() -> None:
    source = (
        "HPI: <Cough>.\nPMH:\n- <Gout:historical>\n- No <asthma:historical,negated>\n"
        "FHx: <Cancer:family> of the lung.\nInstructions: Come back for <fever:hypothetical>."
    )
    text, annotations, gold = marked(source)
    refined = ContextStage(Context(languages=("en",))).refine(text, annotations).entities
    assert [attributes(e.assertion) for e in refined if e.assertion] == gold
    assert [e.section for e in refined] == [
        "history_of_present_illness",
        "past_medical_history",
        "past_medical_history",
        "family_history",
        "instructions",
    ]
    gout = refined[1].assertion
    assert gout is not None
    assert [(c.rule, text[c.start : c.end]) for c in gout.cues] == [
        ("section.past_medical_history", "PMH:")
    ]


def test_status_implied_by_sections_is_configurable() -> None:
    stage = ContextStage(Context(languages=("en",), implied={"plan": ("hypothetical",)}))
    text, annotations, gold = marked("PMH: <gout>\nPlan: <aspirin:hypothetical>")
    refined = stage.refine(text, annotations).entities
    assert [attributes(e.assertion) for e in refined if e.assertion] == gold


def test_headings_of_the_users_own() -> None:
    config = Context(languages=("en",), headings={"sedation": ("sedation [record]", "plan")})
    sections = find_sections("Sedation record:\nx\nPlan: y", compile_headings("en", config))
    assert [(s.name, s.loinc) for s in sections] == [("sedation", None), ("sedation", None)]


def test_a_heading_ends_the_scope_before_it() -> None:
    text, annotations, gold = marked("ROS: No <fever:negated>, <chills:negated>\nPE: <rash>")
    refined = ContextStage(Context(languages=("en",))).refine(text, annotations).entities
    assert [attributes(e.assertion) for e in refined if e.assertion] == gold


def test_a_heading_with_two_colons_is_one_section() -> None:
    """Both colons end the same words: the first section was empty."""
    text, annotations, _ = marked("FAMILY HISTORY: : <gout>")
    (section,) = ContextStage(Context()).refine(text, annotations).sections
    assert (section.start, section.heading_end, section.end) == (0, 15, len(text))


def test_filters_drop_entities_and_their_relations() -> None:
    text = "aspirin 5 mg daily"
    entities = (
        spanning(text, 0, 7, "DRUG", section="plan"),
        spanning(text, 8, 12, "DOSE", section="plan"),
        spanning(text, 13, 18, "FREQUENCY", section="allergies"),
        spanning(text, 8, 9, "DRUG"),
        Entity("DRUG", "x", None, None, grounding=Grounding.UNGROUNDED),
    )
    relations = (Relation(0, 2, "frequency"), Relation(0, 1, "dose"), Relation(4, 1, "dose"))
    annotations = Annotations(entities, relations=relations)
    never = EntityFilter(labels=("FREQUENCY",), never=("allergies",))
    only = EntityFilter(labels=("DRUG",), only=("plan",))
    kept = apply_filters(annotations, (never, only))
    assert [e.text for e in kept.entities] == ["aspirin", "5 mg", "x"]
    assert kept.relations == (Relation(0, 1, "dose"), Relation(2, 1, "dose"))
    assert apply_filters(annotations, ()) is annotations


def test_the_shipped_lexicons_are_valid_and_their_headings_differ() -> None:
    languages: tuple[LexiconLanguage, ...] = ("en", "vi", "es", "fr", "de")
    for language in languages:
        assert lexicon_file(language).language == language
        effects = {rule.effect for rule in lexicon_file(language).rules}
        assert effects >= {"negated", "uncertain", "hypothetical", "historical", "family", "stop"}
        assert len(compile_headings(language, Context()).names) > 60
    assert all(entry.headings for entry in sections_file().sections.values())


def test_a_wrong_lexicon_names_file_and_key(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("lexicon") / "xx.yaml"
    path.write_text("language: en\nfunction_words: [a]\nrules: [{id: x, effect: nonsense}]\n")
    with pytest.raises(ConfigError, match=r"xx\.yaml:\n.*function_words") as caught:
        read_lexicon(path)
    assert "rules.0.effect" in str(caught.value)
