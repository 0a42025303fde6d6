from pathlib import Path

import pytest

from actors.linking import build_index, gather
from actors.linking.index import VocabularyIndex
from actors.linking.lookup import Hit, Lookup
from actors.linking.similar import Similar
from actors.linking.strengths import in_milligrams
from actors.linking.vocabulary import Name


def looked_up(
    index: VocabularyIndex,
    text: str,
    *,
    most: int = 1,
    threshold: float = 0.6,
    types: tuple[str, ...] = (),
    drugs: bool = False,
) -> list[tuple[str, str]]:
    lookup = Lookup(index, Similar(index), types=types, drugs=drugs)
    return [(index.code(hit.concept), hit.how) for hit in lookup.find(text, most, threshold)]


@pytest.mark.parametrize(
    ("text", "code", "how"),
    [
        ("breast cancer", "D1", "exact"),
        ("BREAST-CANCER", "D1", "exact"),
        ("cancer of the breast", "D1", "folded"),
        ("breast tumours", "D1", "folded"),
        ("breast canser", "D1", "similar"),
        ("kidney tumor", "D4", "similar"),
        ("pulmonary cancer", "D3", "similar"),
        ("sporadic breast cancer", "D1", "similar"),
        ("ciprofloxacine", "R5", "folded"),
        ("ciprofloxacn", "R5", "similar"),
    ],
)
def test_the_best_concept(index: VocabularyIndex, text: str, code: str, how: str) -> None:
    assert looked_up(index, text, threshold=0.5) == [(code, how)]


@pytest.mark.parametrize("text", ["", "...", "the", "zebra crossing", "42"])
def test_nothing_like_it_is_nil(index: VocabularyIndex, text: str) -> None:
    assert looked_up(index, text) == []


def test_the_threshold_decides_what_is_nil(index: VocabularyIndex) -> None:
    (hit,) = Lookup(index, Similar(index)).find("breast canser", 1, 0.5)

    assert 0.5 < hit.score < 0.89
    assert Lookup(index, Similar(index)).find("breast canser", 1, hit.score + 0.01) == ()


def test_preferred_names_go_first(index: VocabularyIndex) -> None:
    assert looked_up(index, "cold", most=2) == [("D7", "exact"), ("F1", "exact")]


def test_types_restrict_and_rank(index: VocabularyIndex) -> None:
    assert looked_up(index, "cold", types=("finding",)) == [("F1", "exact")]
    assert looked_up(index, "cold", types=("finding", "disease")) == [("F1", "exact")]
    assert looked_up(index, "breast cancer", types=("finding",)) == []
    assert looked_up(index, "breast cancer", types=("no such type",)) == []


def test_salts_and_forms_of_drugs(index: VocabularyIndex) -> None:
    assert looked_up(index, "metformin HCl", drugs=True) == [("R1", "folded")]
    assert looked_up(index, "metoprolol tartrate", drugs=True) == [("R4", "folded")]
    assert looked_up(index, "metoprolol", drugs=True) == [("R4", "folded")]
    assert looked_up(index, "metoprolol", threshold=0.8) == []
    assert looked_up(index, "metoprolol", drugs=True, threshold=0.95) == []


def test_more_than_one_code_is_best_first_and_distinct(index: VocabularyIndex) -> None:
    found = looked_up(index, "breast cancer", most=5, threshold=0.3)

    assert found[:2] == [("D1", "exact"), ("D2", "similar")]
    assert len({code for code, _ in found}) == len(found) <= 5


def test_scores_fall_with_the_rank(index: VocabularyIndex) -> None:
    scores = [hit.score for hit in Lookup(index, Similar(index)).find("breast cancer", 5, 0.3)]

    assert scores == sorted(scores, reverse=True)
    assert scores[0] == 1.0


def test_strength_and_form_choose_the_product(index: VocabularyIndex) -> None:
    lookup = Lookup(index, Similar(index), drugs=True)

    def product(*details: str) -> str | None:
        hit = lookup.product("metformin", details)
        return None if hit is None else index.code(hit.concept)

    assert product("500mg", "tablet") == "R2"
    assert product("850 mg") == "R3"
    assert product("250 mg") is None


@pytest.fixture(scope="module")
def rxnorm(tmp_path_factory: pytest.TempPathFactory) -> VocabularyIndex:
    """Names and term types as RxNorm has them."""
    concepts = (
        ("IN", "digoxin"),
        ("BN", "Lanoxin"),
        ("SCD", "digoxin 0.125 MG Oral Tablet"),
        ("SCD", "digoxin 0.25 MG Oral Tablet"),
        ("SCD", "digoxin 0.05 MG/ML Oral Solution"),
        ("SBD", "digoxin 0.125 MG Oral Tablet [Lanoxin]"),
        ("SBD", "digoxin 0.25 MG Oral Tablet [Lanoxin]"),
    )
    names = [
        Name(term, term, "list", row, preferred=True, types=(kind,))
        for row, (kind, term) in enumerate(concepts, start=1)
    ]
    return VocabularyIndex(build_index(gather("rx", "1", names), tmp_path_factory.mktemp("rx")))


@pytest.mark.parametrize(
    ("drug", "details", "product"),
    [
        ("digoxin", ("0.25 mg", "tablet"), "digoxin 0.25 MG Oral Tablet"),
        ("Lanoxin", ("0.25 mg", "tablet"), "digoxin 0.25 MG Oral Tablet [Lanoxin]"),
        ("Lanoxin", ("125 mcg",), "digoxin 0.125 MG Oral Tablet [Lanoxin]"),
        ("digoxin", ("250 \N{MICRO SIGN}g",), "digoxin 0.25 MG Oral Tablet"),
        ("digoxin", ("solution",), "digoxin 0.05 MG/ML Oral Solution"),
        ("digoxin", ("0.5 mg", "tablet"), None),
        ("digoxin", ("25 mg", "tablet"), None),
        ("warfarin", ("0.25 mg", "tablet"), None),
    ],
)
def test_the_clinical_drug_among_ingredient_brand_and_product(
    rxnorm: VocabularyIndex, drug: str, details: tuple[str, ...], product: str | None
) -> None:
    lookup = Lookup(rxnorm, Similar(rxnorm), types=("SCD", "SBD", "IN", "BN"), drugs=True)

    hit = lookup.product(drug, details)

    assert (hit and rxnorm.term(hit.concept)) == product


@pytest.mark.parametrize(
    ("strength", "converted"),
    [
        ("500 mcg", "0.5 mg"),
        ("1 g", "1000 mg"),
        ("0.5g", "500 mg"),
        ("100 ug/ml", "0.1 mg/ml"),
        ("5 mg", "5 mg"),
        ("10 units", "10 units"),
    ],
)
def test_masses_are_in_milligrams(strength: str, converted: str) -> None:
    assert in_milligrams(strength) == converted


def test_answers_do_not_depend_on_what_came_before(index: VocabularyIndex) -> None:
    texts = ["breast canser", "kidney tumor", "cold", "lung cancr", "metformn"]
    used = Lookup(index, Similar(index))

    def fresh(text: str) -> tuple[Hit, ...]:
        return Lookup(index, Similar(index)).find(text, 3, 0.3)

    for text in [*texts, *reversed(texts)]:
        assert used.find(text, 3, 0.3) == fresh(text)


def index_of(names: list[tuple[str, str]], folder: Path) -> VocabularyIndex:
    """An index of (code, name); the first name of a code is its preferred one."""
    seen: set[str] = set()
    rows = []
    for at, (code, term) in enumerate(names, start=1):
        rows.append(Name(code, term, "list", at, preferred=code not in seen))
        seen.add(code)
    return VocabularyIndex(build_index(gather("own", "1", rows), folder))


@pytest.mark.parametrize("text", ["FRDA", "the FRDA"])
def test_a_name_of_numbered_kinds_means_what_they_are_kinds_of(text: str, tmp_path: Path) -> None:
    index = index_of(
        [
            ("A", "Friedreich Ataxia 1"),
            ("A", "FRDA"),
            ("B", "Friedreich Ataxia II"),
            ("B", "FRDA"),
            ("C", "Friedreich Ataxia"),
        ],
        tmp_path,
    )

    assert [code for code, _ in looked_up(index, text, most=3)] == ["C", "A", "B"]
    assert [code for code, _ in looked_up(index, text)] == ["C"]
    assert [code for code, _ in looked_up(index, "Friedreich ataxia 2")] == ["B"]


def test_numbered_kinds_of_nothing_stay_as_they_are(tmp_path: Path) -> None:
    index = index_of([("A", "Ataxia 1"), ("A", "ATX"), ("B", "Ataxia 2"), ("B", "ATX")], tmp_path)

    assert [code for code, _ in looked_up(index, "ATX", most=2)] == ["A", "B"]


@pytest.mark.parametrize(
    ("first", "second", "best"),
    [
        ("Albinism deafness syndrome", "Adrenoleukodystrophy", "B"),
        ("Myofibrillar 1", "Desmin related myopathy of adults", "B"),
        ("Adrenoleukodystrophy", "Albinism", "A"),  # equal in that, too: the lower code
    ],
)
def test_of_equally_good_concepts_the_general_one_goes_first(
    first: str, second: str, best: str, tmp_path: Path
) -> None:
    index = index_of([("A", first), ("A", "ALD"), ("B", second), ("B", "ALD")], tmp_path)

    for text in ("ALD", "cerebral ALD"):
        assert looked_up(index, text, threshold=0.3)[0][0] == best
