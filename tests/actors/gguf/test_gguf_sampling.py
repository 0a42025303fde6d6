"""Our sampling against llama.cpp's own sampler chain, number by number."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import llama_cpp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.engine import Sampling
from actors.engine.sampling import Sampler

SIZE = 200


def chain(sampling: Sampling, history: Sequence[int]) -> Any:
    """llama.cpp's samplers in the order of its own default chain, without the draw."""
    made = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    keep = sampling.min_keep
    last = len(history) if sampling.repeat_last_n < 0 else sampling.repeat_last_n
    for one in (
        llama_cpp.llama_sampler_init_penalties(
            SIZE,
            last,
            sampling.repeat_penalty,
            sampling.frequency_penalty,
            sampling.presence_penalty,
        ),
        llama_cpp.llama_sampler_init_top_k(sampling.top_k),
        llama_cpp.llama_sampler_init_typical(sampling.typical_p, keep),
        llama_cpp.llama_sampler_init_top_p(sampling.top_p, keep),
        llama_cpp.llama_sampler_init_min_p(sampling.min_p, keep),
        llama_cpp.llama_sampler_init_temp_ext(
            sampling.temperature, sampling.dynatemp_range, sampling.dynatemp_exponent
        ),
    ):
        llama_cpp.llama_sampler_chain_add(made, one)
    for token in history:
        llama_cpp.llama_sampler_accept(made, token)
    return made


def llama_cpps(sampling: Sampling, logits: np.ndarray, history: Sequence[int]) -> dict[int, float]:
    """The tokens that llama.cpp would draw from, with their probabilities."""
    data = (llama_cpp.llama_token_data * len(logits))()
    for token, logit in enumerate(logits):
        data[token].id, data[token].logit, data[token].p = token, float(logit), 0.0
    candidates = llama_cpp.llama_token_data_array(
        data=data, size=len(logits), selected=-1, sorted=False
    )
    made = chain(sampling, history)
    llama_cpp.llama_sampler_apply(made, ctypes.byref(candidates))
    left = [(candidates.data[i].id, candidates.data[i].logit) for i in range(candidates.size)]
    llama_cpp.llama_sampler_free(made)
    weights = np.exp(np.array([logit for _, logit in left]) - max(logit for _, logit in left))
    return dict(zip((t for t, _ in left), weights / weights.sum(), strict=True))


def ours(sampling: Sampling, logits: np.ndarray, history: list[int]) -> dict[int, float]:
    places, probabilities = Sampler(sampling, history).distribution(logits, None)
    return dict(zip(map(int, places), map(float, probabilities), strict=True))


def assert_equal(sampling: Sampling, logits: np.ndarray, history: list[int]) -> None:
    one, other = ours(sampling, logits, history), llama_cpps(sampling, logits, history)
    # At the very edge of a mass the sums of single and of double precision may fall apart by a
    # token. What both keep must have the same probabilities relative to each other.
    common = {*one} & {*other}
    assert len({*one} ^ {*other}) <= 1
    assert common
    share, its = (sum(found[token] for token in common) for found in (one, other))
    for token in common:
        assert one[token] / share == pytest.approx(other[token] / its, abs=1e-4)


def random_logits(seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return (draw.standard_normal(SIZE) * draw.uniform(0.5, 6)).astype(np.float32)


CARDS = {
    "jsl_meds_ner_2b": Sampling(temperature=0.1, top_k=40, top_p=0.9, min_p=0.05),
    "jsl_meds_vlm_3b": Sampling(
        temperature=0.05, top_k=40, top_p=0.95, min_p=0.05, repeat_penalty=1.18, repeat_last_n=256
    ),
}


@pytest.mark.parametrize("card", CARDS)
def test_the_cards_sampling_is_llama_cpps(card: str) -> None:
    history = [int(t) for t in np.random.default_rng(1).integers(0, SIZE, 300)]
    for seed in range(40):
        assert_equal(CARDS[card], random_logits(seed), history)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 10_000),
    st.builds(
        Sampling,
        temperature=st.floats(0.05, 3),
        top_k=st.integers(0, SIZE),
        top_p=st.floats(0.05, 1),
        min_p=st.floats(0, 1),
        typical_p=st.floats(0.05, 1),
        min_keep=st.integers(0, 20),
        repeat_penalty=st.floats(0.5, 2),
        repeat_last_n=st.integers(-1, 80),
        frequency_penalty=st.floats(-1, 1),
        presence_penalty=st.floats(-1, 1),
        dynatemp_range=st.just(0.0) | st.floats(0, 2),
        dynatemp_exponent=st.floats(0.25, 3),
    ),
    st.lists(st.integers(0, SIZE - 1), max_size=100),
)
def test_any_chain_is_llama_cpps(seed: int, sampling: Sampling, history: list[int]) -> None:
    assert_equal(sampling, random_logits(seed), history)
