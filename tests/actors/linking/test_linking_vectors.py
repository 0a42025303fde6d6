"""Names found by their vectors, with an encoder that the tests define."""

import json
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from actors.arrays import Float32Array
from actors.config.linking import LinkedVocabulary, Linking, NameEmbedding, Pooling
from actors.config.onnx import FolderWeights
from actors.linking import LinkingStage, VocabularyError, build_index, read_manifest
from actors.linking.index import VocabularyIndex
from actors.linking.lookup import Embedded, Lookup
from actors.linking.similar import Similar
from actors.linking.vectors import MILLION, MOST_NEAREST, Encoder, NameVectors
from actors.linking.vocabulary import Vocabulary
from actors.spans import Annotations, Entity

WEIGHTS = FolderWeights(model="models/names")


class Letters:
    """A vector of a text is how often it has each letter: enough to find other spellings."""

    pooling: Pooling = "mean"
    dimensions = 26

    def __init__(self, digest: str = "letters") -> None:
        self.digest = digest

    def encode(self, texts: Sequence[str]) -> Float32Array:
        rows = [[text.lower().count(chr(97 + at)) for at in range(26)] for text in texts]
        counts = np.array(rows, np.float32)
        lengths = np.linalg.norm(counts, axis=1, keepdims=True)
        found: Float32Array = (counts / np.maximum(lengths, 1)).astype(np.float32)
        return found


def load_letters(weights: FolderWeights, pooling: Pooling) -> Encoder:
    assert (weights, pooling) == (WEIGHTS, "mean")
    return Letters()


@pytest.fixture(scope="module")
def embedded(vocabulary: Vocabulary, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_index(vocabulary, tmp_path_factory.mktemp("embedded"), Letters())


def linking(folder: Path, threshold: float = 0.9, **more: object) -> Linking:
    vocabulary = LinkedVocabulary(
        index=str(folder),
        labels={"Disease": ("disease",), "Anything": ()},
        embedding=NameEmbedding(weights=WEIGHTS, threshold=threshold),
    )
    return Linking.model_validate({"vocabularies": (vocabulary,), **more})


def codes(stage: LinkingStage, text: str, label: str = "Disease") -> list[tuple[str, str]]:
    refined = stage.refine(text, Annotations((Entity(label, text, 0, len(text)),)))
    return [(code.code, code.how) for code in refined.entities[0].codes]


def test_a_name_that_nothing_else_finds(embedded: Path) -> None:
    stage = LinkingStage(linking(embedded), load_letters)

    assert codes(stage, "failure, renal") == [("D5", "folded")]
    assert codes(stage, "lufraile narel") == [("D5", "embedding")]
    assert codes(stage, "qqq") == []


def test_the_score_is_below_that_of_every_key(embedded: Path) -> None:
    entity = Entity("Disease", "lufraile narel", 0, 14)

    refined = LinkingStage(linking(embedded), load_letters).refine("", Annotations((entity,)))

    (code,) = refined.entities[0].codes
    assert 0.88 < code.score <= 0.89


def test_a_cosine_below_the_threshold_is_no_code(embedded: Path) -> None:
    near = "lufraile narelxxx"

    assert codes(LinkingStage(linking(embedded, 0.7), load_letters), near) == [("D5", "embedding")]
    assert codes(LinkingStage(linking(embedded, 0.99), load_letters), near) == []


def test_only_names_of_the_semantic_types(embedded: Path) -> None:
    stage = LinkingStage(linking(embedded, 0.5, top_k=20), load_letters)

    anything = {code for code, _ in codes(stage, "tinmorfem", "Anything")}
    diseases = {code for code, _ in codes(stage, "tinmorfem")}

    assert "R1" in anything
    assert diseases
    assert all(code.startswith("D") for code in diseases)


def test_similar_names_go_before_near_vectors(embedded: Path) -> None:
    stage = LinkingStage(linking(embedded), load_letters)

    assert codes(stage, "breast canser") == [("D1", "similar")]


def test_without_the_setting_the_vectors_are_not_used(embedded: Path) -> None:
    config = linking(embedded)
    plain = config.vocabularies[0].model_copy(update={"embedding": None})

    assert codes(LinkingStage(Linking(vocabularies=(plain,))), "lufraile narel") == []


def test_vectors_do_not_change_the_tables(
    embedded: Path, folder: Path, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    made, plain = read_manifest(embedded), read_manifest(folder)
    again = build_index(vocabulary, tmp_path, Letters())

    assert (made.digest, plain.embedding) == (plain.digest, None)
    assert made.embedding is not None
    assert (made.embedding.model, made.embedding.dimensions) == ("letters", 26)
    assert {one.name: one.read_bytes() for one in again.iterdir()} == {
        one.name: one.read_bytes() for one in embedded.iterdir()
    }


def test_vectors_of_another_model_are_refused(vocabulary: Vocabulary, tmp_path: Path) -> None:
    other = build_index(vocabulary, tmp_path, Letters("another"))

    with pytest.raises(VocabularyError, match=r"of another model \(digest another\) than models/n"):
        LinkingStage(linking(other), load_letters)


def test_an_index_without_vectors_says_what_to_do(folder: Path) -> None:
    with pytest.raises(VocabularyError, match="vocabulary build --embedding"):
        LinkingStage(linking(folder), load_letters)


def test_a_stage_with_an_encoder_is_pickled(embedded: Path) -> None:
    copied = pickle.loads(pickle.dumps(LinkingStage(linking(embedded), load_letters)))

    assert codes(copied, "lufraile narel") == [("D5", "embedding")]


def test_the_threshold_is_part_of_identity_and_the_path_is_not(embedded: Path) -> None:
    config = linking(embedded)

    assert config.identity() != linking(embedded, 0.8).identity()
    assert "models/names" not in json.dumps(config.identity())


def test_the_nearest_are_those_of_whole_numbers(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(9_000, 300))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    query = (rows[17] + 0.05 * rng.normal(size=300)).astype(np.float32)
    query /= np.linalg.norm(query)
    scale = int(127 / np.abs(rows).max())
    stored = np.rint(rows * scale).astype(np.int8)
    whole = stored.astype(np.int64) @ np.rint(query * np.float32(scale)).astype(np.int64)
    expected = np.minimum(whole * MILLION // scale**2, MILLION)
    order = np.lexsort((np.arange(len(rows)), -expected))

    names, cosines = vectors(stored, scale).nearest(query, -MILLION)

    assert names.tolist() == order[:MOST_NEAREST].tolist()
    assert cosines.tolist() == expected[order[:MOST_NEAREST]].tolist()
    assert names[0] == 17
    assert abs(cosines[0] / MILLION - float(rows[17] @ query)) < 0.005

    allowed = np.arange(1, 9_000, 4, dtype=np.int32)
    some, _ = vectors(stored, scale).nearest(query, 100_000, allowed)
    kept = [at for at in order.tolist() if at % 4 == 1 and expected[at] >= 100_000]
    assert some.tolist() == kept[:MOST_NEAREST]


def test_a_vector_that_is_not_finite_finds_nothing() -> None:
    names, cosines = vectors(np.full((6, 4), 50, np.int8), 100).nearest(
        np.array([0.5, np.nan, 0.5, 0.5], np.float32), 0
    )

    assert (names.tolist(), cosines.tolist()) == ([], [])


def test_a_model_with_vectors_that_are_not_finite_builds_no_index(
    vocabulary: Vocabulary, tmp_path: Path
) -> None:
    class Broken(Letters):
        def encode(self, texts: Sequence[str]) -> Float32Array:
            return super().encode(texts) * np.float32(np.nan)

    with pytest.raises(VocabularyError, match="not finite"):
        build_index(vocabulary, tmp_path, Broken())
    assert list(tmp_path.iterdir()) == []


def test_equal_vectors_are_in_the_order_of_the_vocabulary() -> None:
    stored = np.full((600, 4), 50, np.int8)
    names, _ = vectors(stored, 100).nearest(np.full(4, 0.5, np.float32), 0)

    assert names.tolist() == list(range(MOST_NEAREST))


def test_no_name_may_be_allowed(index: VocabularyIndex) -> None:
    stored = np.full((len(index.concept_of), 4), 50, np.int8)
    asked = Embedded(vectors(stored, 100), lambda _: np.full(4, 0.5, np.float32), 0)
    lookup = Lookup(index, Similar(index), types=("no such type",), embedded=asked)

    assert lookup.find("qqq", 1, 0.5) == ()


def vectors(stored: np.ndarray, scale: int) -> NameVectors:
    import pyarrow as pa

    values = pa.array(stored.reshape(-1))
    return NameVectors(pa.FixedSizeListArray.from_arrays(values, stored.shape[1]), scale)
