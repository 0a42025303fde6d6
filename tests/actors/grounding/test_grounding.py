from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import product
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.config.prompt import GroundingOptions
from actors.grounding import ground, mark_further
from actors.spans import Entity, Grounding, Mention
from actors.words import clusters


def said(*words: str, label: str = "X") -> list[Mention]:
    return [Mention(label, word) for word in words]


def one(text: str, words: str, **fields: object) -> Entity:
    (entity,) = ground(said(words), text, **fields)  # type: ignore[arg-type]
    return entity


def places(entities: list[Entity]) -> list[tuple[str, int | None, str]]:
    return [(e.text, e.start, e.grounding.value) for e in entities]


def test_exact_comes_before_an_earlier_normalized_place() -> None:
    text = "aspirin and Aspirin"
    assert places(ground(said("Aspirin"), text)) == [("Aspirin", 12, "exact")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("severe CHEST\n  pain today", "chest pain"),
        ("the patient’s mother", "patient's mother"),
        ("a “mild” fever", 'a "mild" fever'),
        ("non–small cell", "non-small cell"),
        ("meta\u00adstatic disease", "metastatic disease"),
        ("5\u00a0mg daily", "5 mg"),
        (unicodedata.normalize("NFD", "đau bụng dữ dội"), "đau bụng dữ dội"),
        ("đau bụng dữ dội", unicodedata.normalize("NFD", "ĐAU BỤNG")),
        ("b\u00ea\u0323nh", "bệnh"),
        ("Straße", "STRASSE"),
        ("Ｍｅｔｆｏｒｍｉｎ ５００ mg", "metformin 500 mg"),
        ("eﬃcacious", "efficacious"),
        ("gave 5㎎ daily", "5mg"),
        ("37.5℃ today", "37.5°C"),
        ("20㎍/㎏", "20μg/kg"),
        ("a dose of １．５ mg", "1.5 mg"),
        ("metfor-\nmin", "metformin"),
        ("on metfor-  \r\n   min again", "Metformin"),
        ("a placebo-\ncontrolled trial", "placebo-controlled"),
        ("met\u00ad\nformin", "metformin"),
        ("stage Ⅳ disease", "stage IV"),
    ],
)
def test_normalized(text: str, words: str) -> None:
    entity = one(text, words)
    assert entity.grounding is Grounding.NORMALIZED
    assert entity.text == text[entity.start : entity.end]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a 15 year old", "5"),
        ("1.5 mg", "5"),
        ("1.5 mg", "1"),
        ("was given", "IV"),
        ("dose of 45 mg daily", "5 mg daily"),
        ("New York, NY 10001", "United States"),
        ("anything", "   "),
        ("", "word"),
        ("10² cells", "102 cells"),
        ("1½ tablets", "11/2 tablets"),
        ("① aspirin", "1 aspirin"),
        ("１．５ mg", "5 mg"),
        ("１．５ mg", "1"),
        ("1㍘", "10点"),
        ("12-\n5 mg", "125 mg"),
        ("IL-\n2", "IL2"),
    ],
)
def test_no_place_is_invented(text: str, words: str) -> None:
    entity = one(text, words)
    assert (entity.grounding, entity.start, entity.text) == (Grounding.UNGROUNDED, None, words)


def test_a_whole_word_comes_before_a_part_of_one() -> None:
    assert one("painful, then pain", "pain").start == 14
    assert one("an antiplatelet drug", "platelet").start == 7
    assert one("80mg", "mg").grounding is Grounding.EXACT


@pytest.mark.parametrize(
    ("text", "words", "starts"),
    [
        ("alpha beta gamma delta", ["alpha", "delta"], [0, 17]),
        ("delta alpha beta delta", ["alpha", "delta"], [6, 17]),
        ("delta alpha delta beta delta", ["alpha", "beta", "delta"], [6, 18, 23]),
        ("b a b a", ["a", "b", "a"], [2, 4, 6]),
        ("a b a b", ["b", "a", "b"], [2, 4, 6]),
        ("a b c", ["c", "b", "a"], [4, 2, 0]),
        ("b a, b", ["a", "b", "b"], [2, 5, 0]),
        ("pain, later chest pain", ["chest pain", "pain"], [12, 0]),
    ],
)
def test_mentions_keep_the_order_of_reading(text: str, words: list[str], starts: list[int]) -> None:
    assert [e.start for e in ground(said(*words), text)] == starts


def test_the_frequency_is_that_of_the_drug_before_it() -> None:
    text = "Aspirin daily. Metformin twice daily. Lisinopril daily."
    mentions = [
        Mention("Drug", "Metformin"),
        Mention("Freq", "twice daily"),
        Mention("Drug", "Lisinopril"),
        Mention("Freq", "daily"),
    ]
    assert [e.start for e in ground(mentions, text)] == [15, 25, 38, 49]
    # Label by label, each label has an order of its own.
    by_label = [mentions[0], mentions[2], mentions[3]]
    assert [e.start for e in ground(by_label, text, in_order=False)] == [15, 38, 8]


WORDS = ["a", "b", "c", "a b"]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from("abc"), max_size=7).map(" ".join),
    st.lists(st.tuples(st.sampled_from("XY"), st.sampled_from(WORDS)), min_size=1, max_size=4),
)
def test_the_order_of_reading_holds_wherever_it_can(
    text: str, mentions: list[tuple[str, str]]
) -> None:
    """By trying: places in order, none of one label overlapping, exist or not."""
    spans = [
        [(m.start(), m.start() + len(words)) for m in re.finditer(rf"(?=\b{words}\b)", text)]
        for _, words in mentions
    ]
    exists = all(spans) and any(_is_ordered(chosen, mentions) for chosen in product(*spans))
    found = ground([Mention(*one) for one in mentions], text)
    if exists:
        assert _is_ordered([(e.start or 0, e.end or 0) for e in found], mentions)


def _is_ordered(chosen: Sequence[tuple[int, int]], mentions: Sequence[tuple[str, str]]) -> bool:
    ends: dict[str, int] = {}
    at = 0
    for (start, end), (label, _) in zip(chosen, mentions, strict=True):
        if start < max(at, ends.get(label, 0)):
            return False
        at, ends[label] = start, end
    return True


@pytest.mark.parametrize("text", ["x👩‍⚕️y", "x🇻🇳y", unicodedata.normalize("NFD", "x환y")])
def test_a_part_of_a_grapheme_cluster_is_not_found(text: str) -> None:
    for part in text[1:-1]:
        entity = one(text, part)
        assert (entity.start, entity.end) in {(None, None), (1, len(text) - 1)}
    assert one(text, text[1:-1]).text == text[1:-1]


def test_three_repeats_take_three_places_and_a_fourth_adds_nothing() -> None:
    text = "pain, pain and more pain"
    entities = ground(said("pain", "pain", "pain", "pain"), text)
    assert [e.start for e in entities] == [0, 6, 20]


def test_a_nested_mention_takes_the_place_of_its_own() -> None:
    text = "chest pain, and pain elsewhere"
    assert [e.start for e in ground(said("pain", "chest pain"), text)] == [16, 0]
    assert [e.start for e in ground(said("pain", "chest pain"), "chest pain")] == [6, 0]


def test_a_repeat_takes_a_covered_place_rather_than_its_own_again() -> None:
    text = "chest pain, pain, pain"
    assert [e.start for e in ground(said("chest pain", *["pain"] * 3), text)] == [0, 12, 18, 6]
    assert len(ground(said("chest pain", *["pain"] * 5), text)) == 4


def test_two_labels_may_share_a_place() -> None:
    mentions = [Mention("CITY", "New York"), Mention("STATE", "New York")]
    assert [e.start for e in ground(mentions, "in New York, New York")] == [3, 3]


def test_mark_all_marks_every_further_occurrence() -> None:
    text = "Aspirin 5 mg. aspirin again, ASPIRINS"
    first, further = mark_further(ground(said("aspirin"), text), text)
    assert (first.start, further.start) == (14, 0)
    assert further.attributes == {"occurrence": "further"}


def test_occurrences_are_marked_beyond_the_window_that_found_them() -> None:
    text = "Aspirin 5 mg. Lost. aspirin again; aspirin plus"
    found = ground(said("aspirin", "lost", "zinc"), text, window=(0, 20))
    found += ground(said("aspirin plus"), text, window=(20, len(text)))
    marked = mark_further(found, text)
    assert [(e.start, e.attributes.get("occurrence")) for e in marked] == [
        (0, None),
        (20, "further"),  # at 35 the longer one covers it
        (14, None),
        (None, None),
        (35, None),
    ]


def test_fuzzy_grounding_of_a_misspelling_is_flagged() -> None:
    entity = one("started on osimertinib 80 mg once daily", "osimertinb 80mg")
    assert (entity.text, entity.grounding) == ("osimertinib 80 mg", Grounding.FUZZY)


@pytest.mark.parametrize("text", ["caf\u00e9", "cafe\u0301"])
def test_a_letter_is_never_cut_from_its_mark(text: str) -> None:
    entity = one(text, "cafe")
    assert (entity.text, entity.grounding) == (text, Grounding.FUZZY)


def test_fuzzy_can_be_turned_off() -> None:
    off = GroundingOptions(fuzzy_threshold=1)
    assert one("osimertinib", "osimertinb", options=off).grounding is Grounding.UNGROUNDED


def test_a_window_limits_the_search_and_keeps_global_offsets() -> None:
    text = "cough, then cough"
    entity = one(text, "cough", window=(6, len(text)), model="m")
    assert (entity.start, entity.model) == (12, "m")


def test_scores_and_attributes_are_carried_and_repeats_keep_the_best() -> None:
    mentions = [
        Mention("X", "cough", 0.2, {"path": "a[0].b"}),
        Mention("X", "cough", 0.6, {"path": "a[0].b"}),
        Mention("X", "fever", 0.4),
        Mention("X", "Fever", 0.3),
    ]
    cough, fever = ground(mentions, "a cough")
    assert (cough.score, dict(cough.attributes)) == (0.6, {"path": "a[0].b"})
    assert (fever.score, fever.grounding) == (0.4, Grounding.UNGROUNDED)


SYLLABLES = ["đau", "bụng", "dữ", "dội", "siêu", "âm", "bệnh", "nhân", "sốt", "ho", "khó", "thở"]
ENGLISH = ["chest", "pain", "cough", "80", "mg", "once", "daily", "patient's", "non-small", "IV"]
Form = Literal["NFC", "NFD"]
FORMS: tuple[Form, ...] = ("NFC", "NFD")
forms = st.sampled_from(FORMS)
gaps = st.sampled_from([" ", "  ", "\n", "\u00a0", "\r\n"])


@st.composite
def planted(draw: st.DrawFn) -> tuple[str, int, int]:
    """A text and the place of some of its words."""
    vocabulary = draw(st.sampled_from([SYLLABLES, ENGLISH]))
    form = draw(forms)
    text, spans = "", []
    for word in draw(st.lists(st.sampled_from(vocabulary), min_size=1, max_size=30)):
        start = len(text)
        text += unicodedata.normalize(form, word)
        spans.append((start, len(text)))
        text += draw(gaps)
    first = draw(st.integers(0, len(spans) - 1))
    last = draw(st.integers(first, min(first + 4, len(spans) - 1)))
    return text, spans[first][0], spans[last][1]


@given(planted())
def test_planted_words_come_back_exactly(plant: tuple[str, int, int]) -> None:
    text, start, end = plant
    entity = one(text, text[start:end])
    assert entity.grounding is Grounding.EXACT
    assert entity.text == text[start:end]


@given(planted(), forms, st.booleans())
def test_perturbed_words_come_back_as_what_the_text_has(
    plant: tuple[str, int, int], form: Form, upper: bool
) -> None:
    text, start, end = plant
    words = unicodedata.normalize(form, " ".join(text[start:end].split())).replace("'", "’")
    entity = one(text, words.upper() if upper else words)
    assert entity.grounding in {Grounding.EXACT, Grounding.NORMALIZED}
    assert entity.start is not None
    assert entity.text == text[entity.start : entity.end]
    assert "".join(_plain(entity.text)) == "".join(_plain(text[start:end]))


def _plain(text: str) -> list[str]:
    return unicodedata.normalize("NFC", text).casefold().split()


@given(planted(), st.integers(1, 6))
def test_repeats_take_successive_places(plant: tuple[str, int, int], times: int) -> None:
    text, start, end = plant
    words = text[start:end]
    entities = ground(said(*[words] * times), text)
    assert len({e.start for e in entities}) == len(entities)
    taken = [i for e in entities for i in range(e.start or 0, e.end or 0)]
    overlapping = len(set(taken)) < len(taken)
    starts = [e.start or 0 for e in entities]
    assert starts == sorted(starts) or overlapping


@given(st.text(max_size=60), st.lists(st.text(max_size=8), max_size=5), st.booleans())
def test_every_entity_is_its_text(text: str, mentions: list[str], mark_all: bool) -> None:
    found = ground(said(*mentions), text)
    for entity in mark_further(found, text) if mark_all else found:
        if entity.start is not None:
            assert text[entity.start : entity.end] == entity.text


@given(st.text(min_size=1, max_size=40).filter(str.strip), st.data())
def test_every_chunk_aligned_substring_is_grounded(text: str, data: st.DataObject) -> None:
    chunks = clusters(text)
    first = data.draw(st.integers(0, len(chunks) - 1))
    last = data.draw(st.integers(first + 1, len(chunks)))
    words = "".join(chunks[first:last]).strip()
    if words:
        assert one(text, words).grounding is not Grounding.UNGROUNDED
