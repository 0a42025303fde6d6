from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.config.merge import Merge, OverlapPolicy
from actors.merge import merge, merge_windows
from actors.spans import Entity, Grounding, spanning

TEXT = "abcdefghijklmnopqrst"
POLICIES: tuple[OverlapPolicy, ...] = ("longest", "score", "priority", "all")


def at(
    start: int, end: int, label: str = "DRUG", score: float | None = None, model: str = "a"
) -> Entity:
    return spanning(TEXT, start, end, label, score=score, model=model)


def lost(text: str, label: str = "DRUG", score: float | None = None, model: str = "a") -> Entity:
    return Entity(label, text, None, None, score, Grounding.UNGROUNDED, model=model)


def spans(entities: list[Entity]) -> list[tuple[int | None, int | None, str]]:
    return [(e.start, e.end, e.label) for e in entities]


@st.composite
def placed(draw: st.DrawFn) -> Entity:
    start = draw(st.integers(0, 18))
    entity = at(
        start,
        draw(st.integers(start + 1, 20)),
        draw(st.sampled_from(["DRUG", "DOSE", "TEST"])),
        draw(st.none() | st.sampled_from([0.25, 0.5, 0.75])),
        draw(st.sampled_from(["a", "b", "c"])),
    )
    return replace(
        entity,
        grounding=draw(st.sampled_from([Grounding.EXACT, Grounding.NORMALIZED, Grounding.FUZZY])),
    )


unplaced = st.builds(
    lost,
    st.sampled_from(["x", "X", "y"]),
    st.sampled_from(["DRUG", "TEST"]),
    st.none() | st.just(0.5),
    st.sampled_from(["a", "b"]),
)
lists = st.lists(st.lists(placed() | unplaced, max_size=8), max_size=4)
policies = st.sampled_from(POLICIES)


def test_longest_wins_over_a_higher_score_and_a_nested_entity() -> None:
    short, long = at(0, 3, score=0.9), at(0, 7, "TEST", score=0.1, model="b")
    assert merge([[short], [long]], "longest") == [long]


def test_score_wins_over_length() -> None:
    short, long = at(0, 3, score=0.9), at(0, 7, "TEST", score=0.1, model="b")
    assert merge([[short], [long]], "score") == [short]


def test_an_entity_without_score_loses_to_one_with() -> None:
    assert merge([[at(0, 5)], [at(1, 4, score=0.0, model="b")]], "score") == [
        at(1, 4, score=0.0, model="b")
    ]


def test_priority_is_the_order_named_then_the_order_given() -> None:
    a, b = at(0, 3, model="a"), at(2, 9, model="b")
    assert merge([[a], [b]], "priority") == [a]
    assert merge([[a], [b]], "priority", ["b"]) == [b]


def test_all_keeps_nested_spans_and_two_labels_on_one_span() -> None:
    entities = [at(0, 5, "CITY"), at(0, 5, "STATE"), at(1, 3, "CITY")]
    assert merge([entities], "all") == entities


def test_two_labels_on_one_span_compete_under_the_other_policies() -> None:
    assert spans(merge([[at(0, 5, "STATE"), at(0, 5, "CITY")]], "longest")) == [(0, 5, "CITY")]


def test_neighbours_that_touch_do_not_overlap() -> None:
    assert spans(merge([[at(0, 3), at(3, 5)]], "longest")) == [(0, 3, "DRUG"), (3, 5, "DRUG")]


@pytest.mark.parametrize("policy", POLICIES)
def test_agreement_names_the_models_and_takes_the_highest_score(policy: OverlapPolicy) -> None:
    (one,) = merge(
        [[at(0, 3, score=0.4)], [at(0, 3, score=0.8, model="b")], [at(0, 3, model="c")]],
        policy,
        ["b"],
    )
    assert one.model == "b"
    assert one.attributes == {"agreement": "b,a,c"}
    assert one.score == 0.8


def test_the_same_model_twice_is_no_agreement() -> None:
    (one,) = merge([[at(0, 3, score=0.4)], [at(0, 3, score=0.6)]])
    assert one == at(0, 3, score=0.6)


def test_ungrounded_entities_are_kept_per_model() -> None:
    said = [lost("Aspirin"), lost("aspirin", score=0.5), lost("aspirin", model="b")]
    merged = merge([said, [at(0, 20, "TEST")]], "longest")
    assert spans(merged)[0] == (0, 20, "TEST")
    assert [(e.text, e.model) for e in merged[1:]] == [("aspirin", "a"), ("aspirin", "b")]


def test_windows_let_the_whole_entity_replace_the_one_cut_at_the_edge() -> None:
    first = [at(0, 4), at(8, 10, "TEST"), at(9, 10)]
    second = [at(8, 14, "TEST"), at(9, 10)]
    merged = merge_windows([first, second], [(0, 11), (7, 18)])
    assert merged == [at(0, 4), at(8, 14, "TEST"), at(9, 10)]


def test_windows_leave_nested_entities_of_one_window_alone() -> None:
    window = [at(0, 4), at(1, 3)]
    assert merge_windows([window], [(0, 10)]) == window


def test_nested_entities_of_several_windows_are_kept() -> None:
    both = [at(6, 10), at(8, 10)]
    assert merge_windows([both, both], [(0, 12), (5, 17)]) == both
    # The first window's edge cut the longer one; the second said both.
    assert merge_windows([[at(8, 10)], [at(8, 10), at(8, 13)]], [(0, 11), (5, 17)]) == [
        at(8, 10),
        at(8, 13),
    ]


def test_of_two_windows_that_disagree_the_longer_entity_stays() -> None:
    assert merge_windows([[at(8, 10)], [at(6, 10)]], [(0, 12), (5, 17)]) == [at(6, 10)]


def test_a_score_is_the_mean_over_the_windows_that_saw_the_place() -> None:
    once, twice, alone = at(8, 10, score=0.6), at(6, 7, score=0.8), at(1, 3, score=0.4)
    first, second = [alone, once, twice], [at(6, 7, score=0.2), at(6, 7, "TEST"), lost("x")]
    merged = merge_windows([first, second, []], [(0, 12), (5, 20), (15, 30)])
    scores = {(e.start, e.label): e.score for e in merged}
    assert scores[1, alone.label] == 0.4
    assert scores[6, alone.label] == pytest.approx(0.5)
    assert scores[8, alone.label] == pytest.approx(0.3)
    assert scores[6, "TEST"] is None


def test_windows_that_overlap_more_than_their_neighbours_make_no_score_over_1() -> None:
    windows = [[at(8, 10, score=0.9)]] * 3
    (one,) = merge_windows(windows, [(0, 11), (5, 16), (8, 20)])
    assert one.score == pytest.approx(0.9)
    (out,) = merge_windows([[at(8, 10, score=0.9)], []], [(0, 9), (9, 20)])
    assert out.score == 0.9


def test_configuration_refuses_an_unknown_policy() -> None:
    with pytest.raises(ValueError, match="overlaps"):
        Merge.model_validate({"overlaps": "shortest"})


@given(lists, policies, st.permutations(["a", "b", "c"]))
def test_merging_again_changes_nothing(
    entities: list[list[Entity]], policy: OverlapPolicy, priority: list[str]
) -> None:
    once = merge(entities, policy, priority)
    assert merge([once], policy, priority) == once


@given(lists, policies, st.permutations(["a", "b", "c"]))
def test_the_order_of_the_lists_does_not_matter_where_priority_names_all(
    entities: list[list[Entity]], policy: OverlapPolicy, priority: list[str]
) -> None:
    shuffled = list(reversed([list(reversed(one)) for one in entities]))
    assert spans(merge(shuffled, policy, priority)) == spans(merge(entities, policy, priority))


@given(lists, policies)
def test_output_is_sorted_and_nothing_is_invented(
    entities: list[list[Entity]], policy: OverlapPolicy
) -> None:
    merged = merge(entities, policy)
    given_spans = {(e.start, e.end, e.label) for one in entities for e in one}
    assert {(e.start, e.end, e.label) for e in merged} <= given_spans
    grounded = [e for e in merged if e.start is not None]
    assert merged[: len(grounded)] == grounded
    positions = [(e.start, e.end, e.label) for e in grounded]
    assert positions == sorted(positions)
    assert len(set(positions)) == len(positions)


@given(lists, st.sampled_from(["longest", "score", "priority"]))
def test_kept_entities_are_disjoint_and_dropped_ones_overlap_them(
    entities: list[list[Entity]], policy: OverlapPolicy
) -> None:
    kept = [(e.start, e.end) for e in merge(entities, policy) if e.start is not None and e.end]
    for before, after in pairwise(kept):
        assert before[1] <= after[0]
    for entity in (e for one in entities for e in one):
        if entity.start is not None and entity.end is not None:
            assert any(s < entity.end and entity.start < e for s, e in kept)


@given(lists, policies)
def test_every_ungrounded_word_stays(entities: list[list[Entity]], policy: OverlapPolicy) -> None:
    def words(of: list[Entity]) -> set[tuple[str, str, str]]:
        return {(e.model, e.label, e.text.casefold()) for e in of if e.start is None}

    assert words(merge(entities, policy)) == words([e for one in entities for e in one])
