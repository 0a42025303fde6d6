"""Windows over words, who decides a span, prompts, and GLiNER's rules of decoding."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.config import GlinerPrompt
from actors.guideline import Guideline
from actors.onnx.gliner.prompts import Asked, LabelTooLong, names_of, share_out, tokens_of
from actors.onnx.gliner.span_decoding import Candidate, select, span_candidates, token_candidates
from actors.onnx.gliner.word_splitter import split
from actors.onnx.gliner.word_windows import owner, word_windows

WORDS = st.lists(st.integers(1, 9), max_size=60)


@given(WORDS, st.integers(1, 40), st.integers(1, 20), st.integers(0, 20), st.integers(0, 6))
def test_windows_cover_every_word_within_their_bounds(
    sizes: list[int], room: int, most: int, overlap: int, shared: int
) -> None:
    pieces = np.array(sizes, np.int32)
    windows = word_windows(pieces, room, most, min(overlap, room // 2), shared)
    assert {word for w in windows for word in range(w.start, w.end)} == set(range(len(sizes)))
    for window in windows:
        count = window.end - window.start
        assert 1 <= count <= most
        assert pieces[window.start : window.end].sum() <= room or count == 1
    for one, other in pairwise(windows):
        assert one.start < other.start <= one.end < other.end


@given(WORDS, st.integers(12, 40), st.integers(0, 5))
def test_every_short_span_is_whole_in_the_one_window_that_decides_it(
    sizes: list[int], room: int, width: int
) -> None:
    """Windows of single pieces a word, so that half of one has room for what is shared."""
    pieces = np.ones(len(sizes), np.int32)
    windows = word_windows(pieces, room, 1000, room // 4, width)
    for first in range(len(sizes)):
        for last in range(first, min(first + width, len(sizes))):
            holding = [i for i, w in enumerate(windows) if w.start <= first and last < w.end]
            assert holding
            decided = {owner(windows, i, first, last, len(sizes)) for i in holding}
            assert len(decided) == 1
            assert decided <= set(holding)


def test_a_span_is_decided_where_it_is_farthest_from_an_edge() -> None:
    windows = word_windows(np.ones(30, np.int32), 20, 1000, 10, 0)
    assert [(w.start, w.end) for w in windows] == [(0, 20), (10, 30)]
    assert owner(windows, 0, 12, 12, 30) == owner(windows, 1, 12, 12, 30) == 0
    assert owner(windows, 0, 17, 18, 30) == owner(windows, 1, 17, 18, 30) == 1


SPANS = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 4), st.integers(0, 2), st.integers(0, 9)),
    max_size=25,
    unique_by=lambda one: one[:3],
).map(lambda found: [Candidate(a, a + w, label, s / 10) for a, w, label, s in found])


def conflict(a: Candidate, b: Candidate, nested: bool, multi_label: bool) -> bool:
    """The rules, word by word, as gliner's documentation states them."""
    if (a.first, a.last) == (b.first, b.last):
        return not multi_label
    if a.first > b.last or b.first > a.last:
        return False
    inside = (a.first <= b.first and b.last <= a.last) or (b.first <= a.first and a.last <= b.last)
    return not (nested and inside)


@given(SPANS, st.booleans(), st.booleans())
def test_selection_is_greedy_from_the_best_score_down(
    spans: list[Candidate], nested: bool, multi_label: bool
) -> None:
    expected: list[Candidate] = []
    for one in sorted(spans, key=lambda c: (-c.score, c.first, c.last, c.label)):
        if not any(conflict(one, other, nested, multi_label) for other in expected):
            expected.append(one)
    taken = select(spans, nested, multi_label)
    assert set(taken) == set(expected)
    assert taken == sorted(taken, key=lambda c: (c.first, c.last, c.label))
    assert not any(conflict(a, b, nested, multi_label) for a, b in combinations(taken, 2))


def test_spans_of_a_window_end_within_it() -> None:
    logits = np.full((4, 3, 1), 2.0, np.float32)
    found = span_candidates(logits, 3, np.array([0.5], np.float32))
    assert [(c.first, c.last) for c in found] == [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]


@given(st.integers(1, 8), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_token_level_spans_start_end_and_are_covered(words: int, labels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = (3 * rng.normal(size=(words, labels, 3))).astype(np.float32)
    floors = rng.uniform(0.3, 0.7, labels).astype(np.float32)
    scores = 1 / (1 + np.exp(-logits))
    expected = {}
    for label in range(labels):
        for first in range(words):
            for last in range(first, words):
                covered = scores[first : last + 1, label, 2]
                least = min(scores[first, label, 0], scores[last, label, 1], covered.min())
                if least >= floors[label]:
                    expected[first, last, label] = least
    found = token_candidates(logits, words, floors)
    assert {(c.first, c.last, c.label): pytest.approx(c.score) for c in found} == expected


def test_words() -> None:
    text = "Anti-TNF: 1.5mg/d (x_2),\n«été»"
    for splitter, expected in {
        "whitespace": ["Anti-TNF", ":", "1", ".", "5mg", "/", "d", "(", "x_2", ")", ","],
        "punctuation": ["Anti", "-", "TNF", ":", "1.5", "mg", "/", "d", "(", "x_2", ")", ","],
    }.items():
        places = split(text, splitter)  # type: ignore[arg-type]
        found = [text[a:b] for a, b in zip(places.starts, places.ends, strict=True)]
        assert found == [*expected, "«", "été", "»"]
    assert len(split(" \n", "whitespace")) == 0


def test_a_name_is_asked_for_once() -> None:
    guideline = Guideline.model_validate(
        {"name": "g", "labels": {"A": {"synonyms": ["a", "c"]}, "B": "a  thing"}}
    )
    settings = GlinerPrompt(guideline=guideline, synonyms=True)
    assert list(names_of(guideline, settings)) == [(0, "A"), (0, "a"), (0, "c"), (1, "B")]
    both = GlinerPrompt(guideline=guideline, ask="both")
    assert list(names_of(guideline, both)) == [(0, "A"), (1, "B: a thing")]


@given(st.lists(st.integers(1, 6), min_size=1, max_size=20), st.integers(8, 40), st.integers(1, 9))
def test_prompts_hold_every_name_once_within_their_room(
    lengths: list[int], room: int, most: int
) -> None:
    asked = [Asked(i, str(i), (0,) * n) for i, n in enumerate(lengths)]
    groups = share_out(asked, room, most)
    assert [one for group in groups for one in group] == asked
    for group in groups:
        assert len(group) <= most
        assert len(tokens_of(group, 1, 2)) <= room
    sizes = [len(group) for group in groups]
    assert max(sizes) - min(sizes) <= 1


def test_a_name_longer_than_a_prompt_is_refused() -> None:
    with pytest.raises(LabelTooLong, match="label 'long' is 7 tokens long"):
        share_out([Asked(0, "long", (0,) * 7)], 8, None)
