from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.config.deidentify import Category, ReplacementPolicy
from actors.deidentify import Edit, OffsetMap

_LENGTHS = st.tuples(st.integers(0, 5), st.integers(1, 5), st.text("xyz", min_size=1, max_size=6))


@st.composite
def edited(draw: st.DrawFn) -> tuple[str, str, OffsetMap]:
    """An old text, the new one, and the map between them; kept letters are a to w, in order."""
    old = new = ""
    edits = []
    for kept, taken, made in draw(st.lists(_LENGTHS, max_size=6)):
        gap = "".join(chr(97 + (len(old) + i) % 23) for i in range(kept))
        old, new = old + gap, new + gap
        start, new_start = len(old), len(new)
        old, new = old + "#" * taken, new + made
        edits.append(
            Edit(start, len(old), new_start, len(new), Category.NAME, ReplacementPolicy.MASK)
        )
    return old + "end", new + "end", OffsetMap(edits)


@given(edited(), st.data())
def test_the_map_holds_both_ways(case: tuple[str, str, OffsetMap], data: st.DataObject) -> None:
    old, new, offsets = case
    start = data.draw(st.integers(0, len(old) - 1))
    end = data.draw(st.integers(start + 1, len(old)))
    touched = [e for e in offsets.edits if e.start < end and start < e.end]
    there = offsets.to_new(start, end)
    back = offsets.to_old(*there)
    if not touched:
        assert old[start:end] == new[slice(*there)]
        assert back == (start, end)
    else:
        assert back == (min(start, touched[0].start), max(end, touched[-1].end))
        assert offsets.to_new(*back) == there
    assert 0 <= there[0] < there[1] <= len(new)


@given(edited())
def test_every_edit_maps_to_itself(case: tuple[str, str, OffsetMap]) -> None:
    _, _, offsets = case
    for edit in offsets.edits:
        assert offsets.to_new(edit.start, edit.end) == (edit.new_start, edit.new_end)
        assert offsets.to_old(edit.new_start, edit.new_end) == (edit.start, edit.end)


def test_a_span_that_cuts_an_edit_takes_all_of_it() -> None:
    offsets = OffsetMap([Edit(2, 6, 2, 8, Category.NAME, ReplacementPolicy.MASK)])
    assert offsets.to_new(0, 3) == (0, 8)
    assert offsets.to_new(5, 9) == (2, 11)
    assert offsets.to_new(3, 4) == (2, 8)
    assert offsets.to_new(6, 6) == (8, 8)
