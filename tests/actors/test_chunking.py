from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.windows import Window, windows


@st.composite
def cases(draw: st.DrawFn) -> tuple[int, int, int, list[int] | None]:
    length = draw(st.integers(0, 300))
    size = draw(st.integers(1, 80))
    overlap = draw(st.integers(0, size // 2))
    if draw(st.booleans()):
        return length, size, overlap, None
    fresh = draw(st.lists(st.booleans(), min_size=length, max_size=length))
    words, word = [], 0
    for new in fresh:
        word += new
        words.append(word)
    return length, size, overlap, words


@given(cases())
def test_every_token_is_decided_exactly_once(case: tuple[int, int, int, list[int] | None]) -> None:
    length, size, overlap, words = case
    cut = list(windows(length, size, overlap, words))
    assert [i for w in cut for i in range(w.first, w.last)] == list(range(length))
    for w in cut:
        assert w.start <= w.first < w.last <= w.end
        assert w.end - w.start <= size
    for one, two in itertools.pairwise(cut):
        assert one.end - two.start >= overlap
        assert one.start < two.start
        assert one.end < two.end


@given(cases())
def test_each_token_is_decided_where_it_is_farthest_from_an_edge(
    case: tuple[int, int, int, list[int] | None],
) -> None:
    length, size, overlap, words = case
    cut = list(windows(length, size, overlap, words))

    def depth(token: int, window: Window) -> int:
        left = length if window.start == 0 else token - window.start
        right = length if window.end == length else window.end - 1 - token
        return min(left, right)

    for window in cut:
        for token in range(window.first, window.last):
            seen = [depth(token, other) for other in cut if other.start <= token < other.end]
            assert depth(token, window) == max(seen)


def test_a_document_that_fits_is_one_window() -> None:
    assert list(windows(128, 128, 32)) == [Window(0, 128, 0, 128)]
    assert list(windows(0, 128, 32)) == []


def test_windows_are_about_equally_long() -> None:
    lengths = [w.end - w.start for w in windows(300, 256, 64)]
    assert lengths == [182, 182]


def test_windows_begin_and_end_between_words() -> None:
    words = [token // 3 for token in range(1_000)]
    cut = list(windows(1_000, 100, 25, words))
    assert all(w.start % 3 == 0 and (w.end % 3 == 0 or w.end == 1_000) for w in cut)


def test_a_word_longer_than_a_window_is_cut() -> None:
    cut = list(windows(500, 100, 25, [0] * 500))
    assert cut[-1].last == 500
    assert all(w.end - w.start <= 100 for w in cut)


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (10, 6), (10, -1)])
def test_an_overlap_beyond_half_is_refused(size: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="exceeds half"):
        list(windows(50, size, overlap))
