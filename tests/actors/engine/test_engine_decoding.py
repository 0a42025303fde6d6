"""Choosing tokens: grammars, forced tokens, speculation, sampling, probabilities."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.engine import END, FakeRunner, ask, notes
from test_engine_scheduling import run, texts

from actors.engine import Engine, Request, Sampling, Techniques, Thinking
from actors.engine.sampling import Sampler, log_probability


def verbatim(document: str) -> str:
    """A grammar of a JSON list of up to four non-empty substrings of the document."""
    pieces = [json.dumps(c, ensure_ascii=False)[1:-1] for c in document]
    return (
        'start: "{\\"drug\\":[" (item ("," item){0,3})? "]}"\n'
        'item: "\\"" SPAN "\\""\n'
        f"PIECES: %regex {json.dumps({'substring_chunks': pieces}, ensure_ascii=False)}\n"
        "SPAN: PIECES & /(?s:.+)/\n"
    )


def constrained(count: int = 10, **fields: Any) -> list[Request]:
    return [ask("Read: ", note, grammar=verbatim(note), **fields) for note in notes(count)]


def test_output_under_a_grammar_parses_and_is_verbatim() -> None:
    requests = constrained(20, max_tokens=150)
    for request, completion in zip(requests, run(FakeRunner(context=400), requests), strict=True):
        if completion.finish_reason == "stop":
            for said in json.loads(completion.text)["drug"]:
                assert said
                assert said in bytes(request.suffix).decode()
        else:
            assert completion.finish_reason == "length"


def test_forced_tokens_go_in_as_a_block_and_change_nothing() -> None:
    requests = constrained(max_tokens=100)
    with_forced, without = FakeRunner(context=300), FakeRunner(context=300)
    one = run(with_forced, requests)
    other = run(without, requests, techniques=Techniques(forced=False))
    assert texts(one) == texts(other)
    assert all(c.forced_tokens >= len('{"drug":[') for c in one)
    rows = [sum(b.rows for step in r.steps for b in step) for r in (with_forced, without)]
    assert rows[0] <= rows[1] - 10 * len('{"drug":[')


def together(runner: FakeRunner, requests: list[Request]) -> None:
    """Run requests that are all admitted in one step, however their preparation goes."""
    engine = Engine(runner, len(requests), Techniques(share=False))
    try:
        runner.gate.clear()
        ahead = engine.submit(ask("", "first", max_tokens=1))
        while not engine._scheduler.active:
            time.sleep(0.001)
        futures = [engine.submit(request) for request in requests]
        while len(engine._ready) < len(requests):  # the step of the first one waits for the gate
            time.sleep(0.001)
        runner.gate.set()
        for future in [ahead, *futures]:
            future.result(20)
    finally:
        runner.gate.set()
        engine.close()


def test_separate_kv_caches_get_steps_of_equal_length() -> None:
    runner = FakeRunner(context=300, batch=400)
    together(runner, constrained(6, max_tokens=60))
    decoding = [step for step in runner.steps if all(len(block.tokens) < 9 for block in step)]
    assert len(decoding) > 15
    for step in decoding:
        assert [block.sequence for block in step] == sorted(block.sequence for block in step)
        short = [block for block in step if 1 < len(block.tokens) < len(step)]
        assert not short, "a short run of forced tokens goes in one by one"


def test_an_output_without_any_choice_needs_no_model() -> None:
    runner = FakeRunner()
    completion = run(runner, [ask("", "say", grammar='start: "{\\"a\\":[]}"')])[0]
    assert (completion.text, completion.finish_reason) == ('{"a":[]}', "stop")
    assert completion.logprobs == (0.0,) * 8
    assert not runner.steps


def test_draws_depend_on_the_seed_and_on_nothing_else() -> None:
    requests = [
        ask("", note, max_tokens=20, sampling=Sampling(temperature=0.9, top_k=50, seed=i))
        for i, note in enumerate(notes(8))
    ]
    together = texts(run(FakeRunner(), requests))
    assert together == [texts(run(FakeRunner(), [request]))[0] for request in requests]
    reseeded = [
        dataclasses.replace(r, sampling=dataclasses.replace(r.sampling, seed=99)) for r in requests
    ]
    assert texts(run(FakeRunner(), reseeded)) != together


def test_probability_is_among_the_allowed() -> None:
    grammar = 'start: ("a" | "b") "!" '
    completion = run(FakeRunner(), [ask("", "say", grammar=grammar)])[0]
    row = FakeRunner()._logits(list(b"say"))
    both = np.exp(row[[97, 98]].astype(np.float64))
    assert math.exp(completion.logprobs[0]) == pytest.approx(both.max() / both.sum(), rel=1e-5)
    assert completion.logprobs[1] == 0.0  # "!" is forced
    assert completion.forced_tokens == 1


def test_the_likeliest_tokens_are_those_of_the_model_under_the_grammar() -> None:
    grammar = 'start: ("a" | "b" | "c") "!" '
    asked = ask("", "say", grammar=grammar, n_probs=2)
    completion = run(FakeRunner(), [asked])[0]
    row = FakeRunner()._logits(list(b"say")).astype(np.float64)
    some = {token: row[token] for token in b"abc"}
    best = sorted(some, key=some.__getitem__, reverse=True)[:2]
    total = math.log(sum(map(math.exp, some.values())))
    first, forced = completion.likeliest
    assert [token for token, _ in first] == best
    assert [chance for _, chance in first] == pytest.approx([some[t] - total for t in best])
    assert forced == ((ord("!"), 0.0),)


def test_the_likeliest_tokens_without_a_grammar_are_of_the_whole_vocabulary() -> None:
    completion = run(FakeRunner(), [ask("", "say", max_tokens=5, n_probs=300)])[0]
    assert len(completion.likeliest) == 5
    for token, logprob, likeliest in zip(
        completion.tokens, completion.logprobs, completion.likeliest, strict=True
    ):
        assert len(likeliest) == 257
        assert likeliest[0] == (token, logprob)
        assert sum(math.exp(chance) for _, chance in likeliest) == pytest.approx(1)


def test_ignore_eos_goes_on() -> None:
    runner = FakeRunner(script=lambda _: END)
    request = ask("", "say", max_tokens=7, sampling=Sampling(ignore_eos=True))
    assert len(run(runner, [request])[0].tokens) == 7


LOGITS = np.array([2.0, 1.0, 0.5, 0.0, -1.0, -3.0], dtype=np.float32)


def drawn(sampling: Sampling, history: list[int] | None = None, times: int = 4000) -> Counter[int]:
    sampler = Sampler(sampling, history or [])
    return Counter(sampler.choose(LOGITS, None) for _ in range(times))


def softmax(values: np.ndarray) -> list[float]:
    weights = np.exp(values - values.max())
    return list(weights / weights.sum())


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.0])
def test_draws_follow_the_probabilities(temperature: float) -> None:
    counts = drawn(Sampling(temperature=temperature))
    for token, probability in enumerate(softmax(LOGITS / temperature)):
        assert counts[token] / 4000 == pytest.approx(probability, abs=0.03)


def test_truncation_keeps_what_llama_cpp_keeps() -> None:
    # softmax: .562 .207 .125 .076 .028 .004
    assert set(drawn(Sampling(temperature=1, top_k=2))) == {0, 1}
    assert set(drawn(Sampling(temperature=1, top_p=0.76))) == {0, 1}
    assert set(drawn(Sampling(temperature=1, top_p=0.78))) == {0, 1, 2}
    assert set(drawn(Sampling(temperature=1, min_p=0.2))) == {0, 1, 2}
    assert set(drawn(Sampling(temperature=1, top_p=0.1, min_keep=3))) == {0, 1, 2}
    # entropy 1.23: surprises .58 1.58 2.08 2.58: token 1 is nearest, then 0
    assert set(drawn(Sampling(temperature=1, typical_p=0.2))) == {1}
    assert set(drawn(Sampling(temperature=1, typical_p=0.5))) == {0, 1}


def test_penalties_are_llama_cpps() -> None:
    def greedy(history: list[int], **fields: float) -> int:
        return Sampler(Sampling(**fields), history).choose(LOGITS, None)  # type: ignore[arg-type]

    assert greedy([0], repeat_penalty=1.9) == 0
    assert greedy([0], repeat_penalty=2.1) == 1
    assert greedy([0, 0], frequency_penalty=0.6) == 1
    assert greedy([0, 0], presence_penalty=0.6) == 0
    assert greedy([0, 5, 5], repeat_penalty=2.1, repeat_last_n=2) == 0
    assert greedy([0, 5, 5], repeat_penalty=2.1, repeat_last_n=0) == 0
    assert greedy([0, 5, 5], repeat_penalty=2.1, repeat_last_n=-1) == 1


def test_penalties_reach_the_right_candidates_under_a_mask() -> None:
    ids = np.array([3, 10, 20], dtype=np.int64)
    sampler = Sampler(Sampling(repeat_penalty=10.0), [10, 4, 99])
    assert sampler.choose(np.array([1.0, 5.0, 2.0], dtype=np.float32), ids) == 2


@given(st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=50), st.data())
def test_log_probabilities_are_a_distribution(values: list[float], data: st.DataObject) -> None:
    logits = np.array(values, dtype=np.float32)
    place = data.draw(st.integers(0, len(values) - 1))
    assert log_probability(logits, place) <= 0
    total = sum(math.exp(log_probability(logits, i)) for i in range(len(values)))
    assert total == pytest.approx(1, abs=1e-4)


@settings(max_examples=30, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=40))
def test_any_text_can_be_a_verbatim_document(document: str) -> None:
    request = ask("", "x", grammar=verbatim(document), max_tokens=300)
    completion = run(FakeRunner(context=400), [request])[0]
    if completion.finish_reason == "stop":
        for said in json.loads(completion.text)["drug"]:
            assert said in document


@pytest.mark.parametrize(
    ("printed", "bound", "opened"),
    [
        ("<think>" + "hmm " * 30, "<think>hmm hmm hmm </think>yes", "<think>"),
        ("<think>ok</think>no", "<think>ok</think>no", "<think>"),
        ("an answer that does not think", "an answer that does not think", "<think>"),
        ("hmm " * 30, "hmm hmm hmm hmm hmm</think>yes", ""),
    ],
    ids=["endless", "short", "none", "opened by the prompt"],
)
def test_thinking_ends_with_its_budget(printed: str, bound: str, opened: str) -> None:
    def script(state: list[int]) -> int:
        said = bytes(state).decode().partition("!")[2]
        if "</think>" in said:
            rest = said.partition("</think>")[2]
            answer = "no" if printed.endswith("no") else "yes"
            return answer.encode()[len(rest)] if len(rest) < len(answer) else END
        return printed.encode()[len(said)] if len(said) < len(printed) else END

    thinking = Thinking(19, opened, "</think>", tuple(b"</think>"))
    requests = [ask("", f"Think {i}!", thinking=thinking) for i in range(3)]
    said = [completion.text for completion in run(FakeRunner(script=script), requests)]
    assert said == [bound] * 3


@pytest.mark.parametrize(
    ("printed", "answered", "opened", "budget"),
    [
        ("<think>ok</think>", "<think>ok</think>[1]", "<think>", 19),
        ("<think>" + "hmm " * 30, "<think>hmm hmm hmm </think>[1]", "<think>", 19),
        ("[1]", "[1]", "<think>", 19),
        ("so be it</think>", "so be it</think>[1]", "", 19),
        ("hmm " * 30, "</think>[1]", "", 0),
    ],
    ids=["closed", "endless", "none", "opened by the prompt", "no budget"],
)
def test_a_grammar_holds_after_the_thinking(
    printed: str, answered: str, opened: str, budget: int
) -> None:
    def script(state: list[int]) -> int:
        said = bytes(state).decode().partition("!")[2]
        return printed.encode()[len(said)] if len(said) < len(printed) else END

    thinking = Thinking(budget, opened, "</think>", tuple(b"</think>"))
    request = ask("", "Think!", grammar='start: "[" /[0-9]/ "]"', thinking=thinking)
    (completion,) = run(FakeRunner(script=script), [request])
    assert completion.finish_reason == "stop"
    before, bracket, rest = completion.text.rpartition("[")
    assert (before + bracket, rest[1:]) == (answered[: answered.rindex("[") + 1], "]")
