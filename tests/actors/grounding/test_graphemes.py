from __future__ import annotations

import unicodedata

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from actors.graphemes import inner_places, is_break, whole

pieces = st.lists(
    st.sampled_from(
        [
            "a",
            " ",
            "\r\n",
            "\u0301",
            "한",
            "\u1112\u1161\u11ab",
            "👩\u200d⚕\ufe0f",
            "🇻",
            "🇳",
            "👍🏽",
            "न",
            "\u094d",
            "\u0600",
        ]
    )
    | st.characters(exclude_categories=["Cs"]),
    max_size=30,
).map("".join)


@given(pieces)
def test_every_place_is_a_break_or_lies_inside_a_cluster(text: str) -> None:
    inside = set(inner_places(text))
    assert {at for at in range(len(text) + 1) if not is_break(text, at)} == inside
    edges = {0, *(match.end() for match in regex.finditer(r"\X", text))}
    for at in set(range(len(text) + 1)) - edges:
        touches = text[at - 1].isspace() or text[at].isspace()
        assert (at in inside) or (touches and text[at - 1 : at + 1] != "\r\n")
    assert not inside & edges


@given(pieces, st.data())
def test_whole_takes_in_what_it_has_a_part_of(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    first, last = whole(text, start, end)
    assert first <= start <= end <= last
    assert is_break(text, first)
    assert is_break(text, last)
    assert not set(range(first + 1, start)) - set(inner_places(text))


@pytest.mark.parametrize(
    ("text", "at", "expected"),
    [
        (unicodedata.normalize("NFD", "한국"), 1, (0, 3)),
        ("e\u0301e", 1, (0, 2)),
        ("🇻🇳🇻🇳", 3, (2, 4)),
        ("a👩\u200d⚕\ufe0fb", 2, (1, 5)),
        ("abc", 1, (1, 1)),
    ],
)
def test_clusters(text: str, at: int, expected: tuple[int, int]) -> None:
    assert whole(text, at, at) == expected
