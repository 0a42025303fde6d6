"""The vocabularies that ship: they open with this version, and link what the quickstart has."""

from pathlib import Path

import pytest

from actors.config.linking import LinkedVocabulary, Linking, resolve_linking
from actors.config.load import STARTERS
from actors.linking import LinkingStage
from actors.linking.build import TABLES
from actors.spans import Annotations, Entity, Grounding


@pytest.fixture(scope="module")
def stage() -> LinkingStage:
    linking = Linking(
        vocabularies=(
            LinkedVocabulary(index="starter:drugs", labels={"Drug": ()}, drugs=("Drug",)),
            LinkedVocabulary(index="starter:diseases", labels={"DisorderOrSyndrome": ()}),
        )
    )
    return LinkingStage(resolve_linking(linking, Path("lake.yaml")))


@pytest.mark.parametrize(
    ("label", "text", "code"),
    [
        ("Drug", "metformin", "DB00331"),
        ("Drug", "Metformin hydrochloride", "DB00331"),
        ("Drug", "semaglutide", "DB13928"),
        ("DisorderOrSyndrome", "type 2 diabetes", "DOID:9352"),
        ("DisorderOrSyndrome", "asthma", "DOID:2841"),
        ("DisorderOrSyndrome", "heart attack", "DOID:5844"),
    ],
)
def test_quickstart_terms_have_codes(stage: LinkingStage, label: str, text: str, code: str) -> None:
    entity = Entity(label, text, None, None, grounding=Grounding.UNGROUNDED)

    (linked,) = stage.refine("", Annotations((entity,))).entities

    assert [found.code for found in linked.codes] == [code]


@pytest.mark.parametrize("name", ["drugs", "diseases"])
def test_they_come_with_a_card_and_stay_small(name: str) -> None:
    folder = STARTERS / name

    assert "CC0" in (folder / "README.md").read_text()
    assert sum((folder / f"{table}.arrow").stat().st_size for table in TABLES) < 10e6
