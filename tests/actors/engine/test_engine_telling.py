"""Output as it comes: joined it is the Completion's text, and nothing is told too early."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from support.engine import FakeRunner, ask, echo

from actors.engine import Completion, Engine
from actors.engine.text_stream import TextStream


def _said(words: str, **fields: Any) -> tuple[list[str], Completion]:
    told: list[str] = []
    engine = Engine(FakeRunner(script=echo(">", words)), slots=2)
    try:
        completion = engine.submit(ask("read >", "", **fields), told.append).result(20)
    finally:
        engine.close()
    return told, completion


def test_each_token_is_streamed_immediately() -> None:
    told, completion = _said("no fever", max_tokens=50)
    assert told == list("no fever")
    assert completion.text == "no fever"


def test_character_of_several_tokens_is_streamed_whole() -> None:
    told, completion = _said("đau 💊", max_tokens=50)
    assert told == ["đ", "a", "u", " ", "💊"]
    assert "".join(told) == completion.text


def test_possible_start_of_a_stop_string_is_held_back() -> None:
    told, completion = _said("one\n\ntwo###three", max_tokens=50, stop=("###", "\n\n\n"))
    assert "".join(told) == completion.text == "one\n\ntwo"
    assert not any("#" in text for text in told)


def test_an_output_cut_inside_a_character_is_streamed_as_it_is_kept() -> None:
    told, completion = _said("a💊", max_tokens=3)
    assert completion.finish_reason == "length"
    assert "".join(told) == completion.text


def test_forced_tokens_are_streamed() -> None:
    told, completion = _said("x", grammar='start: "forced"', max_tokens=50)
    assert "".join(told) == completion.text == "forced"


def test_a_listener_that_fails_loses_only_its_own_ears() -> None:
    engine = Engine(FakeRunner(script=echo(">", "no fever")), slots=2)

    def broken(_: str) -> None:
        raise RuntimeError("patient")

    try:
        asked = engine.submit(ask("read >", "", max_tokens=50), broken)
        assert asked.result(20).text == "no fever"
        assert engine.submit(ask("read >", "", max_tokens=50)).result(20).text == "no fever"
    finally:
        engine.close()


@given(
    output=st.binary(max_size=24),
    stops=st.lists(st.binary(min_size=1, max_size=4), max_size=3),
    steps=st.lists(st.integers(1, 5), min_size=24, max_size=24),
)
def test_whatever_the_bytes_and_stops_the_parts_make_the_whole(
    output: bytes, stops: list[bytes], steps: list[int]
) -> None:
    told: list[str] = []
    explain_run_errors = TextStream(told.append, stops)
    grown, end = b"", len(output)
    for step in steps:
        grown = output[: len(grown) + step]
        places = [place for stop in stops if (place := grown.find(stop)) >= 0]
        if places or len(grown) == len(output):
            end = min([*places, len(grown)])
            break
        explain_run_errors.update(grown, len(grown), final=False)
    explain_run_errors.update(grown, end, final=True)
    assert "".join(told) == grown[:end].decode("utf-8", "replace")
