from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from actors.config import Decode
from actors.model_folder import ModelFileError
from actors.onnx.packing import pack
from actors.onnx.tokens.label_decoder import LabelDecoder, LogitsPart
from actors.onnx.tokens.labels import Labels, read_labels
from actors.onnx.tokens.viterbi import Viterbi

BIO = ("O", "B-A", "I-A", "B-B", "I-B")
BIOES = ("O", "B-A", "I-A", "E-A", "S-A", "S-B")
TABLES = [
    BIO,
    BIOES,
    ("I-A", "O", "I-B"),
    ("O", "A", "B"),
    ("PAD", *BIO),
    ("O", "B-A", "B-B", "I-B"),
]


def spans(
    names: tuple[str, ...], labels: str, words: list[int] | None = None, **decode: str
) -> list[tuple[int, int, str]]:
    """Decode a document with tokens that clearly have these labels."""
    path = labels.split()
    logits = np.zeros((len(path), len(names)), np.float32)
    for token, name in enumerate(path):
        logits[token, names.index(name)] = 9
    part = LogitsPart(logits, np.array(range(len(path)) if words is None else words, np.int32))
    decoder = LabelDecoder(read_labels(names), Decode.model_validate(decode))
    ((found, settled),) = decoder.decode([part])
    assert settled == len(path)
    return [(span.first, span.last, span.type) for span in found]


@pytest.mark.parametrize("algorithm", ["viterbi", "greedy"])
@pytest.mark.parametrize(
    ("names", "path", "expected"),
    [
        (BIO, "O B-A I-A B-A B-B I-B O", [(1, 2, "A"), (3, 3, "A"), (4, 5, "B")]),
        (BIOES, "S-A B-A I-A E-A O S-A S-A", [(0, 0, "A"), (1, 3, "A"), (5, 5, "A"), (6, 6, "A")]),
        (("O", "I-A", "I-B"), "I-A I-A I-B O I-A", [(0, 1, "A"), (2, 2, "B"), (4, 4, "A")]),
        (
            ("O", "drug", "age"),
            "drug drug age drug",
            [(0, 1, "drug"), (2, 2, "age"), (3, 3, "drug")],
        ),
        (("O", "B_x-y", "I_x-y"), "O B_x-y I_x-y", [(1, 2, "x-y")]),
        (("O", "U-A", "B-A", "L-A", "I-A"), "U-A B-A I-A L-A", [(0, 0, "A"), (1, 3, "A")]),
    ],
    ids=["bio", "bioes", "io", "plain", "underscore", "bilou"],
)
def test_schemes(
    names: tuple[str, ...], path: str, expected: list[tuple[int, int, str]], algorithm: str
) -> None:
    assert spans(names, path, algorithm=algorithm) == expected


def test_greedy_lets_an_orphan_begin_a_span() -> None:
    assert spans(BIO, "I-A I-A I-B O I-B", algorithm="greedy") == [
        (0, 1, "A"),
        (2, 2, "B"),
        (4, 4, "B"),
    ]


def test_pieces_of_a_type_without_inside_label_join_in_a_word() -> None:
    names = ("O", "B-Year", "B-A", "I-A")
    path = "B-Year B-Year B-Year O"
    assert spans(names, path, [0, 0, 1, 2]) == [(0, 1, "Year"), (2, 2, "Year")]


@pytest.mark.parametrize("algorithm", ["viterbi", "greedy"])
@pytest.mark.parametrize(
    ("names", "path", "words", "expected"),
    [
        (BIO, "B-A B-A B-A B-A", [0, 0, 0, 0], [(0, 3)]),
        (BIO, "B-A B-A B-A", [0, 0, 1], [(0, 1), (2, 2)]),
        (BIO, "B-A I-A B-A", [0, 0, 0], [(0, 1), (2, 2)]),
        (BIOES, "S-A S-A S-A", [0, 0, 1], [(0, 1), (2, 2)]),
    ],
    ids=["one word", "two words", "a second entity in a word", "single"],
)
def test_a_beginning_on_every_piece_of_a_word_is_one_entity(
    names: tuple[str, ...],
    path: str,
    words: list[int],
    expected: list[tuple[int, int]],
    algorithm: str,
) -> None:
    found = spans(names, path, words, algorithm=algorithm)
    assert [(first, last) for first, last, _ in found] == expected


@pytest.mark.parametrize(
    ("names", "types", "unfit"),
    [
        (("O", "B-Drug", "I-Drug", "X"), ("Drug", "X"), ("X",)),
        (("o", "b-drug", "i-drug"), ("drug",), ()),
        (("Non-Entity", "B-A", "I-A"), ("A",), ()),
        (("NONE", "B-A", "I-A", "<START>", "<STOP>"), ("A",), ()),
        (("O", "Drug-B", "Drug-I", "Age-B"), ("Drug", "Age"), ()),
        (("O", "B", "I"), ("Entity",), ()),
        (("O", "B:Drug", "I:Drug"), ("Drug",), ()),
        (("O", "E-mail", "Phone", "B-cell"), ("E-mail", "Phone", "B-cell"), ()),
        (("O", "E-mail", "S-curve"), ("E-mail", "S-curve"), ()),
        (("O", "Hepatitis-B", "Vitamin-B"), ("Hepatitis-B", "Vitamin-B"), ()),
        (("O", "A", "B"), ("A", "B"), ()),
    ],
    ids=lambda value: value[-1] if value else "fits",
)
def test_the_scheme_is_what_most_labels_say(
    names: tuple[str, ...], types: tuple[str, ...], unfit: tuple[str, ...]
) -> None:
    labels = read_labels(names)
    assert labels.types == types
    assert labels.unfit == unfit


def test_labels_can_be_mapped_to_no_entity() -> None:
    labels = read_labels(("Nothing", "B-A", "I-A", "X"), "bio", ("Nothing", "X"))
    assert labels.kind.tolist() == [-1, 0, 0, -1]
    assert spans(("<START>", *BIO), "B-A I-A O") == [(0, 1, "A")]


def test_first_piece_decides_the_word() -> None:
    path = "B-A O I-B B-B O"
    words = [0, 0, 0, 1, 2]
    assert spans(BIO, path, words, pieces="first") == [(0, 2, "A"), (3, 3, "B")]


def test_mean_of_the_pieces_decides_the_word() -> None:
    names = ("O", "A")
    path = "A O O A A"
    assert spans(names, path, [0, 0, 0, 1, 1], pieces="mean") == [(3, 4, "A")]


def test_pad_is_never_an_answer() -> None:
    logits = np.array([[9, 1, 2, 0, 0, 0]], np.float32)
    ((found, _),) = LabelDecoder(read_labels(("PAD", *BIO)), Decode()).decode(
        [LogitsPart(logits, np.zeros(1, np.int32))]
    )
    assert [span.type for span in found] == ["A"]
    rest = np.exp(logits[0, 1:])
    assert found[0].score == pytest.approx((rest[1] + rest[2]) / rest.sum())


def test_the_score_is_the_mean_probability_of_the_type() -> None:
    logits = np.log(np.array([[0.1, 0.6, 0.2, 0.1, 0], [0.3, 0.2, 0.5, 0, 0]], np.float32) + 1e-9)
    ((found, _),) = LabelDecoder(read_labels(BIO), Decode()).decode(
        [LogitsPart(logits, np.arange(2, dtype=np.int32))]
    )
    assert [(span.first, span.last) for span in found] == [(0, 1)]
    assert found[0].score == pytest.approx((0.8 + 0.7) / 2, abs=1e-5)


def test_a_scheme_that_the_names_lack_is_an_error() -> None:
    with pytest.raises(ModelFileError, match="'drug'"):
        read_labels(("O", "drug"), "bio")


@pytest.mark.parametrize(
    ("names", "scheme", "constrained"),
    [
        (BIO, "auto", True),
        (BIOES, "auto", True),
        (("I-A", "O"), "auto", False),
        (BIO, "io", False),
        (BIO, "plain", False),
    ],
)
def test_only_schemes_with_order_are_constrained(
    names: tuple[str, ...], scheme: str, constrained: bool
) -> None:
    assert read_labels(names, scheme).constrained is constrained  # type: ignore[arg-type]


def best_by_trying(labels: Labels, scores: NDArray[np.float32]) -> float:
    """The score of the best allowed sequence, by trying all."""
    best = -np.inf
    for path in itertools.product(range(scores.shape[1]), repeat=len(scores)):
        if labels.first[path[0]] and labels.last[path[-1]] and legal(labels, list(path)):
            best = max(best, float(sum(scores[t, label] for t, label in enumerate(path))))
    return best


def legal(labels: Labels, path: list[int]) -> bool:
    return all(labels.allowed[a, b] for a, b in itertools.pairwise(path))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(TABLES), st.integers(0, 2**32 - 1), st.lists(st.integers(1, 5), min_size=1))
def test_viterbi_finds_the_best_allowed_sequences(
    names: tuple[str, ...], seed: int, lengths: list[int]
) -> None:
    rng = np.random.default_rng(seed)
    labels = read_labels(names)
    scores = [rng.normal(size=(length, len(names))).astype(np.float32) for length in lengths[:4]]
    for score, path in zip(scores, Viterbi(labels).decode(scores), strict=True):
        assert labels.first[path[0]]
        assert labels.last[path[-1]]
        assert legal(labels, path.tolist())
        total = float(score[np.arange(len(path)), path].sum())
        assert total == pytest.approx(best_by_trying(labels, score), abs=1e-4)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(TABLES), st.integers(0, 2**32 - 1), st.floats(0, 6))
def test_cutting_a_document_at_quiet_places_changes_nothing(
    names: tuple[str, ...], seed: int, quiet: float
) -> None:
    rng = np.random.default_rng(seed)
    labels = read_labels(names)
    scores = (2 * rng.normal(size=(300, len(names)))).astype(np.float32)
    scores[:, labels.kind < 0] += quiet
    (path,) = Viterbi(labels).decode([scores])
    whole = plain_viterbi(labels, scores)
    rows = np.arange(len(path))
    assert legal(labels, path.tolist())
    assert scores[rows, path].sum() == pytest.approx(scores[rows, whole].sum(), rel=1e-5)


def plain_viterbi(labels: Labels, scores: NDArray[np.float32]) -> NDArray[np.intp]:
    never = np.where(labels.allowed, 0, -1e9)
    best = scores[0] + np.where(labels.first, 0, -1e9)
    back = []
    for row in scores[1:]:
        moves = best[:, None] + never
        back.append(moves.argmax(axis=0))
        best = moves.max(axis=0) + row
    path = [int((best + np.where(labels.last, 0, -1e9)).argmax())]
    for came in reversed(back):
        path.append(int(came[path[-1]]))
    return np.array(path[::-1])


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(TABLES),
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(1, 90), min_size=1),
    st.sampled_from(["each", "first", "mean"]),
    st.sampled_from(["viterbi", "viterbi", "greedy"]),
)
def test_a_document_decoded_in_parts_has_the_same_spans(
    names: tuple[str, ...], seed: int, sizes: list[int], pieces: str, algorithm: str
) -> None:
    rng = np.random.default_rng(seed)
    labels = read_labels(names)
    length = sum(sizes)
    logits = (2 * rng.normal(size=(length, len(names)))).astype(np.float32)
    logits[:, labels.kind < 0] += 3
    words = np.cumsum(rng.random(length) < 0.6).astype(np.int32)
    decoder = LabelDecoder(
        labels, Decode.model_validate({"pieces": pieces, "algorithm": algorithm})
    )
    ((whole, _),) = decoder.decode([LogitsPart(logits, words)])
    parts, settled, read = [], 0, 0
    for size in sizes:
        read += size
        part = LogitsPart(logits[settled:read], words[settled:read], final=read == length)
        ((found, count),) = decoder.decode([part])
        parts += [(s.first + settled, s.last + settled, s.type) for s in found]
        settled += count
    assert settled == length
    assert parts == [(s.first, s.last, s.type) for s in whole]


@given(st.lists(st.integers(1, 30), max_size=60))
def test_packing_without_padding_keeps_lengths_apart(lengths: list[int]) -> None:
    batches = pack(lengths, 40, padded=False)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(len({lengths[index] for index in batch}) == 1 for batch in batches)


@given(
    st.lists(st.integers(1, 64), max_size=60), st.integers(1, 200), st.none() | st.integers(1, 8)
)
def test_packing_keeps_to_the_budget(lengths: list[int], budget: int, rows: int | None) -> None:
    batches = pack(lengths, budget, rows)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) * max(lengths[i] for i in batch) <= budget or len(batch) == 1
        assert rows is None or len(batch) <= rows
