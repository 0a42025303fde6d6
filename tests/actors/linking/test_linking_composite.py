from pathlib import Path

import pytest

from actors.config.linking import LinkedVocabulary, Linking
from actors.linking import LinkingStage, build_index, gather
from actors.linking.composite import readings
from actors.linking.index import VocabularyIndex
from actors.linking.lookup import Lookup
from actors.linking.similar import Similar
from actors.linking.vocabulary import Name
from actors.spans import Annotations, Entity


def found(index: VocabularyIndex, text: str, most: int = 1) -> list[tuple[str, str]]:
    hits = Lookup(index, Similar(index)).find(text, most, 0.65)
    return [(index.code(hit.concept), hit.how) for hit in hits]


@pytest.mark.parametrize(
    ("mention", "names"),
    [
        ("breast and ovarian cancer", ("breast cancer", "ovarian cancer")),
        ("types 1 and 2 diabetes", ("types 1 diabetes", "types 2 diabetes")),
        ("HNPCC/Lynch syndrome", ("HNPCC", "Lynch syndrome")),
        ("cancer of the breast and/or lung", ("cancer of the breast", "cancer of the lung")),
        ("colon, breast, and lung cancer", ("colon cancer", "breast cancer", "lung cancer")),
        ("cáncer de mama y ovario", ("cáncer de mama", "cáncer de ovario")),
        ("asthma as well as eczema", ("asthma", "eczema")),
    ],
)
def test_the_right_reading_is_offered(mention: str, names: tuple[str, ...]) -> None:
    assert names in readings(mention)


@pytest.mark.parametrize(
    "mention",
    [
        "",
        "and",
        "breast cancer",
        "diabetes mellitus, type 2",
        "asthma and eczema, chronic",
        "candidosis of hand",
        "A and B",
        "asthma and ",
        ", ".join(f"disease {at}" for at in range(20)) + " and others",
    ],
)
def test_a_mention_that_joins_no_names(mention: str) -> None:
    assert list(readings(mention)) == []


def test_more_shared_words_come_first() -> None:
    assert list(readings("liver cirrhosis and cancer")) == [
        ("liver cirrhosis", "liver cancer"),
        ("liver cirrhosis", "cancer"),
    ]


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("breast and lung cancer", ["D1", "D3"]),
        ("lung/kidney cancers", ["D3", "D4"]),
        ("renal failure and calculi", ["D5", "D6"]),
        ("Breast, lung or kidney tumours", ["D1", "D3", "D4"]),
    ],
)
def test_each_name_gets_its_code(index: VocabularyIndex, text: str, codes: list[str]) -> None:
    concepts = {code for code, how in found(index, text) if how == "composite"}

    assert concepts <= set(codes)
    if "tumours" not in text:  # the vocabulary has no kidney tumour
        assert concepts == set(codes)


def test_a_name_that_no_key_finds_leaves_the_mention_whole(index: VocabularyIndex) -> None:
    assert [how for _, how in found(index, "breast and lunk cancer")] == ["similar"]


def test_the_codes_of_the_names_go_before_similar_ones(index: VocabularyIndex) -> None:
    hits = Lookup(index, Similar(index)).find("breast and lung cancer", 5, 0.3)

    assert [hit.how for hit in hits[:2]] == ["composite", "composite"]
    assert {hit.how for hit in hits[2:]} == {"similar"}
    assert len({hit.concept for hit in hits}) == len(hits)


@pytest.fixture
def syndrome(tmp_path: Path) -> Path:
    names = (
        ("A", "Breast Neoplasms"),
        ("A", "breast cancer"),
        ("B", "Ovarian Neoplasms"),
        ("B", "ovarian cancer"),
        ("C", "Breast and Ovarian Cancer Syndrome"),
        ("D", "fallopian tube cancer"),
        ("E", "Down syndrome"),
        ("F", "Marfan syndrome"),
    )
    rows = [Name(code, term, "list", row) for row, (code, term) in enumerate(names, start=1)]
    return build_index(gather("own", "1", rows), tmp_path)


def test_one_name_with_all_words_stays_first(syndrome: Path) -> None:
    assert found(VocabularyIndex(syndrome), "breast and ovarian cancer") == [
        ("C", "similar"),
        ("A", "composite"),
        ("B", "composite"),
    ]


@pytest.mark.parametrize(
    "mention",
    ["breast or ovarian cancer", "breast and/or ovarian cancer", "breast and ovarian cancers"],
)
def test_several_names_are_no_syndrome(syndrome: Path, mention: str) -> None:
    assert found(VocabularyIndex(syndrome), mention) == [("A", "composite"), ("B", "composite")]


def test_a_defined_short_form_that_joins_names(syndrome: Path) -> None:
    vocabulary = LinkedVocabulary(index=str(syndrome), labels={"Disease": ()})
    given = Annotations(
        (Entity("Disease", "BFC", 0, 3),),
        abbreviations={"BFC": "breast and fallopian tube cancer"},
    )

    refined = LinkingStage(Linking(vocabularies=(vocabulary,))).refine("BFC", given)

    codes = [(code.code, code.how) for code in refined.entities[0].codes]
    assert sorted(codes) == [("A", "composite"), ("D", "composite")]
