"""Properties of continuous batching, one per test, with a scripted model."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass

import pytest
from support.engine import FakeRunner, ask, echo, notes

from actors.arrays import Int64Array
from actors.engine import (
    PLACEHOLDER,
    Completion,
    Engine,
    EngineLost,
    Logits,
    Request,
    RequestRefused,
    Techniques,
)
from actors.engine.decoder import Choice, Decoder
from actors.engine.fair_queue import FairQueue
from actors.engine.output import OutputBuffer


def run(
    runner: FakeRunner,
    requests: list[Request],
    slots: int = 4,
    techniques: Techniques | None = None,
) -> list[Completion]:
    engine = Engine(runner, slots, techniques)
    try:
        return [f.result(20) for f in [engine.submit(request) for request in requests]]
    finally:
        engine.close()


def asks(count: int, tokens: int = 12, prefixes: int = 1, seed: int = 0) -> list[Request]:
    return [
        ask(f"Instruction {i % prefixes}: ", note, max_tokens=tokens)
        for i, note in enumerate(notes(count, seed))
    ]


def texts(completions: list[Completion]) -> list[tuple[int, ...]]:
    return [completion.tokens for completion in completions]


@pytest.mark.parametrize("capacity", [None, 260])
@pytest.mark.parametrize("techniques", [Techniques(), Techniques(share=False), Techniques(chunk=7)])
def test_together_is_as_alone(capacity: int | None, techniques: Techniques) -> None:
    requests = asks(15, prefixes=2)
    alone = [run(FakeRunner(), [request], slots=1)[0] for request in requests]
    together = run(FakeRunner(capacity=capacity), requests, techniques=techniques)
    assert texts(together) == texts(alone)


def test_order_of_arrival_does_not_matter() -> None:
    requests = asks(12, prefixes=3)
    order = list(range(12))
    random.Random(1).shuffle(order)
    straight = texts(run(FakeRunner(), requests))
    shuffled = texts(run(FakeRunner(), [requests[i] for i in order]))
    assert [shuffled[order.index(i)] for i in range(12)] == straight


def test_a_short_document_overtakes_the_windows_of_a_long_one() -> None:
    book = asks(40, tokens=12)
    engine, done = Engine(FakeRunner(), 2), list[str]()
    try:
        futures = [engine.submit(request, client="book") for request in book]
        for future in futures:
            future.add_done_callback(lambda _: done.append("window"))
        for number in range(2):
            future = engine.submit(ask("", f"note {number}", max_tokens=12))
            future.add_done_callback(lambda _: done.append("note"))
            futures.append(future)
        for future in futures:
            future.result(20)
    finally:
        engine.close()
    assert done.count("note") == 2
    # Two slots, two that wait for one, two that are prepared, and one turn each.
    assert done.index("note", done.index("note") + 1) < 15


def test_askers_take_turns_and_each_keeps_its_order() -> None:
    inbox: FairQueue[int] = FairQueue()
    for request, client in [(1, "a"), (2, "a"), (3, "a"), (4, "b"), (5, "c"), (6, "b")]:
        inbox.put(request, client)
    assert sorted(inbox) == [1, 2, 3, 4, 5, 6]
    assert [inbox.take() for _ in range(3)] == [1, 4, 5]
    inbox.put(7, "c")
    assert [inbox.take() for _ in range(4)] == [2, 6, 7, 3]
    assert not inbox


def test_a_prefix_is_computed_once() -> None:
    runner = FakeRunner()
    completions = run(runner, asks(8))
    shared = len("Instruction 0: ")
    assert [c.shared_tokens for c in completions] == [0] + [shared] * 7
    computed = sum(len(block.tokens) for step in runner.steps for block in step)
    assert computed < sum(c.prompt_tokens + len(c.tokens) for c in completions) - 6 * shared


def test_two_instructions_in_flight_keep_two_prefixes() -> None:
    runner = FakeRunner(sequences=4 + 2)
    completions = run(runner, asks(20, prefixes=2))
    assert sum(c.shared_tokens == 0 for c in completions) == 2


def test_more_instructions_than_sequences_still_finish() -> None:
    completions = run(FakeRunner(sequences=4 + 1), asks(20, prefixes=5))
    assert all(c.finish_reason == "length" for c in completions)


def test_a_retired_slot_is_used_again_while_others_run() -> None:
    runner = FakeRunner(context=400)
    long = ask("", "long", max_tokens=60)
    run(runner, [long, *asks(9, tokens=5)], slots=2)
    beside = {block.sequence for step in runner.steps if len(step) == 2 for block in step}
    assert beside == {0, 1}
    # nine short ones went through one slot while the long one held the other
    assert len(runner.steps) < 60 + 9 * 4


def test_a_long_prompt_does_not_hold_up_decoding() -> None:
    runner = FakeRunner(context=2000, batch=32)
    requests = [ask("", "short", max_tokens=40), ask("", "x" * 900, max_tokens=3)]
    run(runner, requests, techniques=Techniques(chunk=16))
    first = [any(block.sequence == 0 for block in step) for step in runner.steps]
    assert all(first[: first.index(False)] if False in first else first)
    assert first.count(True) == 40


def test_decoding_does_not_hold_up_a_prompt() -> None:
    # sixteen rows of decoding fill a batch of sixteen: prompts keep a quarter of it
    runner = FakeRunner(sequences=20, context=600, batch=16)
    requests = [ask("", f"r{i}", max_tokens=200) for i in range(16)]
    finished: list[int] = []
    engine = Engine(runner, 17, Techniques(chunk=8))
    try:
        futures = [engine.submit(request) for request in requests]
        late = engine.submit(ask("", "y" * 40, max_tokens=1))
        late.add_done_callback(lambda _: finished.append(0))
        for future in futures:
            future.add_done_callback(lambda _: finished.append(1))
        late.result(20)
        for future in futures:
            future.result(20)
    finally:
        engine.close()
    assert finished[0] == 0


def test_a_request_that_cannot_fit_fails_alone() -> None:
    engine = Engine(FakeRunner(context=50), 2)
    try:
        good = engine.submit(ask("", "good", max_tokens=4))
        bad = engine.submit(ask("", "secret " * 20, max_tokens=4))
        after = engine.submit(ask("", "after", max_tokens=4))
        assert len(good.result(20).tokens) == 4
        assert len(after.result(20).tokens) == 4
        with pytest.raises(RequestRefused) as refused:
            bad.result(20)
        assert "secret" not in str(refused.value)
    finally:
        engine.close()


def test_a_grammar_that_does_not_compile_fails_alone() -> None:
    engine = Engine(FakeRunner(), 2)
    try:
        bad = engine.submit(ask("", "bad", grammar='start: "secret', max_tokens=4))
        good = engine.submit(ask("", "good", max_tokens=4))
        assert len(good.result(20).tokens) == 4
        with pytest.raises(RequestRefused) as refused:
            bad.result(20)
        assert "secret" not in str(refused.value)
    finally:
        engine.close()


def test_a_fault_in_choosing_a_token_is_that_requests_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class Panic(BaseException):
        """Stands for a panic in Rust."""

    whole = Decoder.choose

    def broken(
        self: Decoder, row: Logits, allowed: Int64Array | None, output: OutputBuffer
    ) -> Choice | None:
        if self._request.max_tokens == 7 and len(output.ends) == 3:
            raise Panic("secret")
        return whole(self, row, allowed, output)

    monkeypatch.setattr(Decoder, "choose", broken)
    engine = Engine(FakeRunner(), 3)
    try:
        good, bad, after = (engine.submit(ask("", "r", max_tokens=n)) for n in (9, 7, 8))
        assert len(good.result(20).tokens) == 9
        assert len(after.result(20).tokens) == 8
        with pytest.raises(RequestRefused) as refused:
            bad.result(20)
        assert "secret" not in str(refused.value)
    finally:
        engine.close()


def test_room_is_reserved_for_everything_that_may_come() -> None:
    # the fake asserts that it never holds more than its capacity
    runner = FakeRunner(capacity=130, context=130)
    completions = run(runner, asks(12, tokens=30))
    assert all(len(c.tokens) == 30 for c in completions)


def test_a_request_as_large_as_the_model_goes_through_beside_others() -> None:
    runner = FakeRunner(capacity=120, context=120)
    large = ask("Instruction 0: ", "z" * 60, max_tokens=45)
    completions = run(runner, [*asks(5), large, *asks(5, seed=1)])
    assert len(completions[5].tokens) == 45


def test_output_ends_with_the_context() -> None:
    completion = run(FakeRunner(context=40), [ask("", "abc")])[0]
    assert (len(completion.tokens), completion.finish_reason) == (37, "length")


def test_cancel_frees_the_slot_and_nothing_else() -> None:
    runner = FakeRunner(context=100_000)
    engine = Engine(runner, 1)
    try:
        endless = engine.submit(ask("", "endless", max_tokens=90_000))
        waiting = engine.submit(ask("", "waiting", max_tokens=3))
        dropped = engine.submit(ask("", "dropped", max_tokens=3))
        while len(runner.steps) < 5:
            time.sleep(0.001)
        assert dropped.cancel()
        assert endless.cancel()
        assert len(waiting.result(20).tokens) == 3
    finally:
        engine.close()
    assert all(not state for state in runner.state)


def test_cancelling_who_computes_a_prefix_leaves_the_others_whole() -> None:
    runner = FakeRunner(batch=4)
    runner.gate.clear()
    engine = Engine(runner, 4)
    try:
        futures = [engine.submit(request) for request in asks(5)]
        time.sleep(0.05)
        futures[0].cancel()
        runner.gate.set()
        rest = [future.result(20) for future in futures[1:]]
    finally:
        engine.close()
    assert texts(rest) == texts(run(FakeRunner(), asks(5))[1:])


def test_lost_model_fails_all_requests() -> None:
    runner = FakeRunner()
    runner.fail_at = 3
    engine = Engine(runner, 2)
    futures = [engine.submit(request) for request in asks(8)]
    for future in futures:
        with pytest.raises(EngineLost) as lost:
            future.result(20)
        assert "patient" not in str(lost.value)
    with pytest.raises(EngineLost):
        engine.submit(ask("", "late")).result(20)
    engine.close()
    assert runner.closed


def test_close_cancels_what_is_queued() -> None:
    runner = FakeRunner(context=100_000)
    engine = Engine(runner, 1)
    futures = [engine.submit(ask("", "r", max_tokens=90_000)) for _ in range(40)]
    engine.close()
    engine.close()
    assert all(future.cancelled() or future.exception(1) for future in futures)
    assert runner.closed


def test_many_threads_may_submit() -> None:
    engine = Engine(FakeRunner(), 4)
    results: dict[int, tuple[int, ...]] = {}
    requests = asks(24)

    def work(part: range) -> None:
        for i in part:
            results[i] = engine.submit(requests[i]).result(20).tokens

    threads = [threading.Thread(target=work, args=(range(k, 24, 4),)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    engine.close()
    assert [results[i] for i in range(24)] == texts(run(FakeRunner(), requests))


def test_an_end_token_ends_and_is_not_part_of_the_text() -> None:
    completion = run(FakeRunner(script=echo("?", "yes")), [ask("", "well?", max_tokens=20)])[0]
    assert (completion.text, completion.finish_reason) == ("yes", "stop")
    assert completion.ends == (1, 2, 3)


def test_a_stop_string_ends_and_is_cut_off() -> None:
    runner = FakeRunner(script=echo("?", "one two User: three"))
    completion = run(runner, [ask("", "well?", stop=("</s>", "User:"), max_tokens=30)])[0]
    assert (completion.text, completion.finish_reason) == ("one two ", "stop")
    assert len(runner.steps) <= len("one two User:") + 1


def test_broken_utf8_at_the_end_of_output_is_replaced() -> None:
    request = ask("", "well?", max_tokens=2)
    completion = run(FakeRunner(script=echo("?", "aé")), [request])[0]
    assert (completion.text, completion.finish_reason) == ("a\ufffd", "length")


@dataclass(frozen=True)
class Shown:
    """Media of the engine's tests: so many tokens, at once or in parts."""

    tokens: int
    whole: bool = False


@pytest.mark.parametrize("chunk", [3, 10, 512])
@pytest.mark.parametrize("capacity", [None, 600])
def test_a_block_is_tokens_or_a_part_of_one_picture(chunk: int, capacity: int | None) -> None:
    pictures = [Shown(7), Shown(5, whole=True), Shown(1)]
    requests = []
    for number in range(8):
        words, media = list(f"{number}: ".encode()), []
        for picture in pictures[: 1 + number % 3]:
            media.append((4 + len(words), picture))
            words += [PLACEHOLDER] * picture.tokens + list(b"what? ")
        requests.append(Request(tuple(b"ask "), tuple(words), media=tuple(media), max_tokens=6))
    alone = [texts(run(FakeRunner(), [request], slots=1))[0] for request in requests]
    runner = FakeRunner(capacity=capacity)
    together = run(runner, requests, techniques=Techniques(chunk=chunk))
    assert texts(together) == alone
    assert len(set(alone)) == len(alone)
    for block in (block for step in runner.steps for block in step):
        shown = [token == PLACEHOLDER for token in block.tokens]
        assert all(shown) == any(shown) == (block.media is not None)
        if block.media is not None:
            assert block.rows == 0
            assert block.offset + len(block.tokens) <= block.media.tokens
            assert not block.media.whole or len(block.tokens) == block.media.tokens


def test_a_prompt_cannot_end_with_a_picture() -> None:
    request = Request((), (65, PLACEHOLDER), media=((1, Shown(1)),), max_tokens=2)
    engine = Engine(FakeRunner(), 1)
    with pytest.raises(RequestRefused, match="cannot end with an image"):
        engine.submit(request).result(5)
    engine.close()
