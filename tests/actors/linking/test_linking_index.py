import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.linking import VocabularyError, build_index, gather, read_manifest
from actors.linking.build import TABLES
from actors.linking.index import Lists, VocabularyIndex
from actors.linking.lookup import Lookup
from actors.linking.similar import Similar
from actors.linking.substitutes import learn
from actors.linking.vocabulary import Name, Vocabulary


def test_two_builds_are_equal_to_the_byte(vocabulary: Vocabulary, tmp_path: Path) -> None:
    one, other = build_index(vocabulary, tmp_path / "a"), build_index(vocabulary, tmp_path / "b")

    for path in one.iterdir():
        assert path.read_bytes() == (other / path.name).read_bytes()
    assert {path.name for path in one.iterdir()} == {
        "vocabulary.json",
        *(f"{name}.arrow" for name in TABLES),
    }


def test_the_order_of_rows_does_not_change_the_codes_order(tmp_path: Path) -> None:
    names = [Name(f"C{at}", f"term {at}", "list", at, preferred=True) for at in range(9)]

    one = build_index(gather("x", "1", names), tmp_path / "a")
    other = build_index(gather("x", "1", reversed(names)), tmp_path / "b")

    assert read_manifest(one).digest == read_manifest(other).digest


def test_an_index_never_changes(vocabulary: Vocabulary, tmp_path: Path) -> None:
    build_index(vocabulary, tmp_path)

    with pytest.raises(VocabularyError, match="small-1 exists"):
        build_index(vocabulary, tmp_path)


@pytest.mark.parametrize("version", ["", "..", "a/b", "2026 10"])
def test_a_version_that_is_no_part_of_a_path(version: str, tmp_path: Path) -> None:
    with pytest.raises(VocabularyError, match="a name or version has letters"):
        build_index(gather("x", version, [Name("C", "cold", "list", 1)]), tmp_path)


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    surrogate = gather("x", "1", [Name("C", "bad \ud800", "list", 1)])

    with pytest.raises(UnicodeEncodeError):
        build_index(surrogate, tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_names_without_a_letter_or_digit_are_never_found(tmp_path: Path) -> None:
    names = [Name("A", "!!!", "list", 1), Name("B", "cold", "list", 2), Name("C", "???", "list", 3)]
    index = VocabularyIndex(build_index(gather("x", "1", names), tmp_path))

    assert [hit.concept for hit in Lookup(index, Similar(index)).find("cold", 3, 0.1)] == [1]
    assert Lookup(index, Similar(index)).find("!!!", 3, 0.1) == ()


def test_a_vocabulary_of_nothing_else(tmp_path: Path) -> None:
    index = VocabularyIndex(build_index(gather("x", "1", [Name("A", "!!!", "list", 1)]), tmp_path))

    assert Lookup(index, Similar(index)).find("cold", 3, 0.1) == ()


def test_tables_are_seen_without_a_copy(index: VocabularyIndex) -> None:
    assert not index.concept_of.flags.owndata
    assert not index.word_names.values.flags.writeable


def test_another_format_asks_for_a_new_build(folder: Path, tmp_path: Path) -> None:
    manifest = json.loads((folder / "vocabulary.json").read_text()) | {"format": 0}
    (tmp_path / "vocabulary.json").write_text(json.dumps(manifest))

    with pytest.raises(VocabularyError, match=r"format 0.*build the index again"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 1}'])
def test_a_folder_that_is_no_index(content: str, tmp_path: Path) -> None:
    (tmp_path / "vocabulary.json").write_text(content)

    with pytest.raises(VocabularyError, match="not a vocabulary index"):
        read_manifest(tmp_path)


def test_a_table_that_is_cut_off(vocabulary: Vocabulary, tmp_path: Path) -> None:
    target = build_index(vocabulary, tmp_path)
    path = target / "keys.arrow"
    path.write_bytes(path.read_bytes()[:100])

    with pytest.raises(VocabularyError, match=r"keys\.arrow: not readable"):
        VocabularyIndex(target)


@settings(max_examples=50)
@given(st.lists(st.lists(st.integers(0, 50), max_size=5), min_size=1, max_size=8), st.data())
def test_several_lists_are_each_of_them(lists: list[list[int]], data: st.DataObject) -> None:
    starts = np.cumsum([0, *map(len, lists)]).astype(np.int32)
    flat = np.array([one for some in lists for one in some], dtype=np.int32)
    places = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=6))

    values, begins = Lists(starts, flat).several(np.array(places, dtype=np.int32))

    assert values.tolist() == [one for at in places for one in lists[at]]
    lengths = [len(lists[at]) for at in places]
    assert begins.tolist() == [sum(lengths[:at]) for at in range(len(places))]


def test_words_are_learned_from_names_that_differ_in_one() -> None:
    cancer, neoplasm, one, two, syndrome, *organs = range(9)
    concepts = [[[organ, cancer], [organ, neoplasm], [organ, cancer, syndrome]] for organ in organs]
    concepts += [[[organ, cancer, one], [organ, cancer, two]] for organ in organs]

    learned = learn(concepts, frozenset({one, two}))

    assert [(left, right) for left, right, _ in learned.words] == [
        (cancer, neoplasm),
        (neoplasm, cancer),
    ]
    assert learned.left_out == {syndrome: 100}


def test_kinds_of_a_concept_are_no_substitutes() -> None:
    tactile, thermal = 0, 1
    concepts = [[[at], [tactile, at], [thermal, at]] for at in range(2, 6)]

    assert learn(concepts, frozenset()).words == []


def test_opposites_are_no_substitutes() -> None:
    acute, chronic = 0, 1
    concepts = [[[acute, at], [chronic, at]] for at in range(2, 6)]

    learned = learn(concepts, frozenset(), lambda left, right: {left, right} == {acute, chronic})

    assert learned.words == []


def test_a_word_that_is_rarely_used_for_another_is_worth_less() -> None:
    disorder, hysteria = 0, 1
    rare = [[[disorder, at], [hysteria, at]] for at in range(2, 6)]
    usual = [[[disorder, at]] for at in range(6, 106)]

    learned = learn([*rare, *usual], frozenset())

    assert learned.words == [(disorder, hysteria, 65), (hysteria, disorder, 95)]


def test_terms_of_the_same_stems_are_one_name(tmp_path: Path) -> None:
    terms = (
        "Kidney Diseases",
        "Disease, Kidney",
        "Diseases, Kidney",
        "Kidney Disease",
        "Nephrosis",
    )
    names = [Name("C", term, "list", at, preferred=not at) for at, term in enumerate(terms)]
    index = VocabularyIndex(build_index(gather("x", "1", names), tmp_path))

    assert len(index.concept_of) == 2
    for term in terms:
        assert Lookup(index, Similar(index)).find(term, 1, 0.5)[0].how == "exact"


def test_three_votes_are_too_few() -> None:
    concepts = [[[0, at], [1, at]] for at in range(2, 6)]

    assert learn(concepts, frozenset()).words == [(0, 1, 95), (1, 0, 95)]
    assert learn(concepts[:3], frozenset()).words == []
