import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from actors.config import RESULTS, ConfigError
from actors.config.linking import LinkedVocabulary, Linking, resolve_linking
from actors.linking import LinkingStage, VocabularyError, build_index, gather, read_manifest
from actors.linking.vocabulary import Name
from actors.spans import Annotations, Code, Entity, Grounding, Relation, spanning


@pytest.fixture
def config(folder: Path) -> Linking:
    vocabulary = LinkedVocabulary(
        index=str(folder),
        labels={"Disease": ("disease",), "Drug": ("SCD", "IN", "PIN")},
        drugs=("Drug",),
    )
    return Linking(vocabularies=(vocabulary,))


def marked(text: str, *marks: tuple[str, str]) -> Annotations:
    """Entities at the first places of their words."""
    return Annotations(
        tuple(
            spanning(text, text.index(words), text.index(words) + len(words), label)
            for words, label in marks
        )
    )


def codes(annotations: Annotations) -> list[list[tuple[str, str]]]:
    return [[(code.code, code.how) for code in one.codes] for one in annotations.entities]


def test_entities_get_codes_and_nothing_else_changes(config: Linking) -> None:
    text = "Lung cancer, on metformin; seen by Dr Cold."
    given = marked(text, ("Lung cancer", "Disease"), ("metformin", "Drug"), ("Cold", "Doctor"))

    refined = LinkingStage(config).refine(text, given)

    assert codes(refined) == [[("D3", "exact")], [("R1", "exact")], []]
    assert refined.entities[0].codes == (Code("small", "D3", "Lung Neoplasms", 1.0, "exact"),)
    bare = tuple(replace(entity, codes=()) for entity in refined.entities)
    assert replace(refined, entities=bare) == given


def test_abbreviation_defined_in_the_document_takes_precedence(
    config: Linking,
) -> None:
    text = "Breast cancer (COLD). COLD again, familial COLD-associated."
    given = replace(
        marked(text, ("COLD again"[:4], "Disease"), ("familial COLD", "Disease")),
        abbreviations={"COLD": "Breast cancer"},
    )

    refined = LinkingStage(config).refine(text, given)

    assert codes(refined) == [[("D1", "abbreviation")], [("D2", "abbreviation")]]


def test_a_long_form_that_is_no_name_leaves_the_short_one(config: Linking) -> None:
    given = replace(marked("cold", ("cold", "Disease")), abbreviations={"cold": "zq xv"})

    assert codes(LinkingStage(config).refine("cold", given)) == [[("D7", "exact")]]


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("Breast cancer (QXB) was found. QXB again.", "QXB"),
        ("Breast cancer was found. The BC was large.", "BC"),
        ("Breast cancer was found. The BrCa was large.", "BrCa"),
    ],
)
def test_a_short_form_that_nothing_defines_means_the_mention_that_fits(
    text: str, short: str, config: Linking
) -> None:
    refined = LinkingStage(config).refine(
        text, marked(text, ("Breast cancer", "Disease"), (short, "Disease"))
    )

    assert codes(refined) == [[("D1", "exact")], [("D1", "abbreviation")]]


def test_a_short_form_in_the_vocabulary_has_its_meaning_there(config: Linking) -> None:
    text = "Lung cancer (COLD) was found."
    given = marked(text, ("Lung cancer", "Disease"), ("COLD", "Disease"))

    assert codes(LinkingStage(config).refine(text, given)) == [[("D3", "exact")], [("D7", "exact")]]


def test_a_short_form_in_a_long_one_is_written_out_too(config: Linking) -> None:
    text = "AB"
    given = replace(
        marked(text, ("AB", "Disease")), abbreviations={"AB": "familial BC", "BC": "breast cancer"}
    )

    assert codes(LinkingStage(config).refine(text, given)) == [[("D2", "abbreviation")]]


@pytest.mark.parametrize("defined", ["BC", "BCs"])
@pytest.mark.parametrize("mention", ["BC", "BCs"])
def test_one_short_form_in_singular_and_plural(defined: str, mention: str, config: Linking) -> None:
    given = replace(marked(mention, (mention, "Disease")), abbreviations={defined: "breast cancer"})

    assert codes(LinkingStage(config).refine(mention, given)) == [[("D1", "abbreviation")]]


def test_strength_and_form_choose_the_clinical_drug(config: Linking) -> None:
    text = "metformin 500 mg tablets"
    given = replace(
        marked(text, ("metformin", "Drug"), ("500 mg", "Strength"), ("tablets", "Form")),
        relations=(Relation(0, 1, "strength"), Relation(0, 2, "form")),
    )

    top = LinkingStage(config.model_copy(update={"top_k": 2})).refine(text, given)

    assert codes(top)[0] == [("R2", "relations"), ("R1", "exact")]


def test_a_stage_is_pickled_as_its_configuration(config: Linking) -> None:
    stage = LinkingStage(config)
    given = marked("lung cancer", ("lung cancer", "Disease"))
    before = stage.refine("lung cancer", given)

    copied = pickle.loads(pickle.dumps(stage))

    assert copied.refine("lung cancer", given) == before
    assert len(pickle.dumps(stage)) < 1000


def test_threads_do_not_disturb_each_other(config: Linking) -> None:
    low = config.model_copy(update={"threshold": 0.2, "top_k": 3})
    texts = [f"{one} {other}" for one in ("kidney", "lung", "brest", "pulmonry") for other in
             ("tumor", "canser", "failure", "neoplasm x")]  # fmt: skip
    given = [marked(text, (text, "Disease")) for text in texts]
    expected = [LinkingStage(low).refine("", one) for one in given]
    stage = LinkingStage(low)

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda one: stage.refine("", one), given * 8))

    assert found == expected * 8


def test_parents_on_request(config: Linking) -> None:
    given = marked("breast cancer", ("breast cancer", "Disease"))
    stage = LinkingStage(config.model_copy(update={"parents": True}))

    assert stage.refine("breast cancer", given).entities[0].codes[0].parents == ("D0",)


def test_an_entity_without_a_place_is_linked_too(config: Linking) -> None:
    entity = Entity("Disease", "lung cancer", None, None, grounding=Grounding.UNGROUNDED)

    refined = LinkingStage(config).refine("", Annotations((entity,)))

    assert codes(refined) == [[("D3", "exact")]]


def test_identity_is_what_can_change_a_code(config: Linking, tmp_path: Path) -> None:
    same = identity(config)
    other = build_index(gather("small", "1", [Name("C", "cold", "list", 1)]), tmp_path)
    vocabulary = config.vocabularies[0].model_copy(update={"index": str(other)})

    assert identity(config) == same
    for change in ({"top_k": 2}, {"threshold": 0.8}, {"parents": True}):
        assert identity(config.model_copy(update=change)) != same
    changed = config.model_copy(update={"vocabularies": (vocabulary,)})
    assert identity(changed) != same
    assert str(tmp_path) not in str(identity(changed))


def identity(config: Linking) -> list[object]:
    """All of a configuration and its indexes that can change a code."""
    digests = [read_manifest(Path(one.index)).digest for one in config.vocabularies]
    return [config.identity(), digests]


def test_answers_are_the_golden_ones(config: Linking) -> None:
    # A change here needs another RESULTS number.
    text = "brest cancer and pulmonary tumors, metformin HCl"
    given = marked(
        text,
        ("brest cancer", "Disease"),
        ("pulmonary tumors", "Disease"),
        ("metformin HCl", "Drug"),
    )
    low = config.model_copy(update={"threshold": 0.3, "top_k": 2})

    refined = LinkingStage(low).refine(text, given)

    found = [[(code.code, code.score) for code in one.codes] for one in refined.entities]
    assert (RESULTS["linking"], found) == (
        6,
        [[("D1", 0.7654), ("D2", 0.5985)], [("D3", 0.8236), ("D1", 0.4671)], [("R1", 0.9)]],
    )


def test_the_error_for_a_missing_index_has_advice(tmp_path: Path) -> None:
    vocabulary = LinkedVocabulary(index=str(tmp_path / "none"), labels={"Drug": ()})

    with pytest.raises(VocabularyError, match="medspan vocabulary build"):
        LinkingStage(Linking(vocabularies=(vocabulary,)))


def test_paths_are_relative_to_the_file_that_holds_them(tmp_path: Path) -> None:
    vocabulary = LinkedVocabulary(index="indexes/x-1", labels={"Drug": ()})

    resolved = resolve_linking(Linking(vocabularies=(vocabulary,)), tmp_path / "lake.yaml")

    assert resolved.vocabularies[0].index == str(tmp_path / "indexes" / "x-1")


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        ({"index": "starter:none", "labels": {"A": ()}}, "no starter vocabulary 'none'"),
        ({"index": "x", "labels": {"A": ()}, "drugs": ("B",)}, "drugs: B: not among its labels"),
    ],
)
def test_a_wrong_configuration(vocabulary: dict[str, object], message: str) -> None:
    linking = Linking.model_validate({"vocabularies": [vocabulary]})

    with pytest.raises(ConfigError, match=message):
        resolve_linking(linking, Path("lake.yaml"))
