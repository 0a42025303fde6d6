"""Which words of a vocabulary stand for a word of a mention."""

import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.linking import build_index, gather
from actors.linking.index import VocabularyIndex
from actors.linking.neighbours import VocabularyWords, _counted
from actors.linking.opposites import opposite
from actors.linking.sums_by_id import SumsById
from actors.linking.term_keys import stem
from actors.linking.vocabulary import Name
from actors.linking.wordclasses import alike, compound


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> VocabularyWords:
    terms = (
        "Kidney Diseases", "Neurotoxicity", "Muscle Rigidity", "Frigidity", "Hypertension",
        "Cerebellar Ataxia", "Familial Cancer", "Bridged Sella", "Angioma", "Poisoning", "Angina",
        "Autosome Abnormality", "Steatitis", "Steatosis", "Deficiency of Immune Cells",
        "Hitchhiker Thumb", "Neurological Disorder", "Inflammation", "Gastritis", "Scleroderma",
        "Sclerosis", "Gastric Ulcer",
    )  # fmt: skip
    names = [Name(f"C{at}", term, "list", at) for at, term in enumerate(terms)]
    return VocabularyWords(
        VocabularyIndex(build_index(gather("x", "1", names), tmp_path_factory.mktemp("words")))
    )


def spelled(words: VocabularyWords, stem: str) -> set[str]:
    return {words.index.spelling(one) for one in words.neighbours(stem).words.tolist()}


@pytest.mark.parametrize(
    ("stem", "neighbours"),
    [
        ("rigidity", {"rigidity"}),  # A known word is no misspelling of another.
        ("rigidty", {"rigidity", "frigidity"}),
        ("cerebel", {"cerebelar"}),
        ("bridging", {"bridged"}),
        ("hypotension", set()),
        ("nephropathy", {"kidney", "diseas", "disorder"}),
        ("steatos", {"steatos"}),
        ("immunodeficiency", {"immun", "deficiency"}),
        ("nephrotoxicity", {"kidney"}),
        ("autosomal", {"familial"}),
        ("tumor", {"cancer"}),
        ("angin", {"angin"}),
        ("inflammatory", {"inflammation"}),
        ("gastric", {"gastric"}),  # What is wrong with the stomach, its name does not say.
        ("sclerotic", {"scleros"}),
    ],
)
def test_the_words_that_stand_for_a_word(
    words: VocabularyWords, stem: str, neighbours: set[str]
) -> None:
    assert spelled(words, stem) == neighbours


@pytest.mark.parametrize(
    ("mention", "joined"),
    [
        ("neuro logical disorder", ["neurological", "disorder"]),
        ("hitch hiker thumb", ["hitchhiker", "thumb"]),
        ("kidney diseases", ["kidney", "diseases"]),
        ("the rapist", ["the", "rapist"]),
        ("hitch and hiker", ["hitch", "and", "hiker"]),
        ("", []),
    ],
)
def test_two_words_are_one_that_the_vocabulary_has(
    words: VocabularyWords, mention: str, joined: list[str]
) -> None:
    assert words.joined(mention.split()) == joined


@given(st.lists(st.lists(st.integers(0, 9), max_size=6, unique=True), min_size=1, max_size=6))
def test_ids_are_counted_over_lists(lists: list[list[int]]) -> None:
    arrays = [np.array(sorted(one), np.int32) for one in lists]
    if not sum(map(len, lists)):
        return

    ids, counts = _counted(arrays)

    expected = Counter(at for one in lists for at in one)
    assert dict(zip(ids.tolist(), counts.tolist(), strict=True)) == expected
    assert ids.tolist() == sorted(expected)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("acute", "chronic"),
        ("left", "right"),
        ("benign", "malignant"),
        ("complete", "incomplete"),
        ("hypertension", "hypotension"),
        ("familial", "nonfamilial"),
    ],
)
def test_opposites(one: str, other: str) -> None:
    one, other = stem(one), stem(other)

    assert opposite(one, other)
    assert opposite(other, one)
    assert not opposite(one, one)


@pytest.mark.parametrize(("one", "other"), [("renal", "kidney"), ("cancer", "neoplasm")])
def test_words_of_like_meaning_are_no_opposites(one: str, other: str) -> None:
    assert not opposite(stem(one), stem(other))


@pytest.mark.parametrize("mention", ["acute bronchitis", "left pneumonia", "benign lymphoma"])
def test_a_mention_is_never_linked_by_its_opposite(mention: str, tmp_path: Path) -> None:
    names = [
        Name(f"{organ}{at}", f"{word} {organ}".strip(), "list", at)
        for organ in ("bronchitis", "gastritis", "pneumonia", "effusion", "lymphoma", "glioma")
        for at, words in enumerate(("", "acute chronic", "left right", "benign malignant"))
        for word in words.split() or [""]
    ]
    index = VocabularyIndex(build_index(gather("x", "1", names), tmp_path))

    found = VocabularyWords(index).neighbours(stem(mention.split()[0])).words

    assert [index.spelling(one) for one in found.tolist()] == [stem(mention.split()[0])]


@pytest.mark.parametrize(
    ("word", "part"),
    [("nephropathy", "renal"), ("cardiotoxicity", "heart"), ("arthralgi", "joint")],
)
def test_compounds_have_parts(word: str, part: str) -> None:
    assert part in compound(word)


def test_a_part_of_the_body_stands_for_the_whole_and_not_the_other_way_round() -> None:
    assert "vascular" in alike("arterial")
    assert "arterial" not in alike("vascular")


@pytest.mark.parametrize("word", ["pathy", "sympathy", "kidney", "", "toxicity"])
def test_other_words_have_none(word: str) -> None:
    assert compound(word) == {}


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 9)), max_size=40))
def test_a_tally_is_the_sum_by_id(pairs: list[tuple[int, int]]) -> None:
    sums_by_id = SumsById(21)
    ids = np.array([one for one, _ in pairs], dtype=np.int32)
    worths = np.array([worth for _, worth in pairs], dtype=np.int32)

    for _ in range(2):
        distinct, sums = sums_by_id.add(ids, worths)
        found = dict(zip(distinct.tolist(), sums.tolist(), strict=True))
        assert found == {at: int(worths[ids == at].sum()) for at in set(ids.tolist())}


def test_threads_share_the_sums() -> None:
    sums_by_id = SumsById(100)
    ids = np.arange(100, dtype=np.int32)
    wrong: list[int] = []

    def add() -> None:
        for _ in range(200):
            _, sums = sums_by_id.add(ids, 3)
            wrong.extend(sums[sums != 3].tolist())

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
