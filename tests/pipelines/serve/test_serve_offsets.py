"""Offsets in the unit that a request asks for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient
from support.serve import make_app, make_client

from pipelines.offset_units import OffsetUnit, code_points, converted

TEXT = "💊 metformin, 𠮷野 insulin; naïve e\u0301 diabetes"
CODECS: dict[OffsetUnit, tuple[str, int]] = {
    "code_points": ("utf-32-le", 4),
    "utf16": ("utf-16-le", 2),
    "bytes": ("utf-8", 1),
}
texts = st.text(st.characters(codec="utf-8"))


@given(texts, st.data())
@pytest.mark.parametrize("unit", CODECS)
def test_each_place_cuts_the_text_where_it_did(
    unit: OffsetUnit, text: str, data: st.DataObject
) -> None:
    offsets = data.draw(st.lists(st.integers(0, len(text)), max_size=8))
    codec, width = CODECS[unit]
    found = converted(text, offsets, unit)
    assert set(found) == set(offsets)
    for offset, place in found.items():
        assert text.encode(codec)[: place * width].decode(codec) == text[:offset]


@given(texts, st.data())
@pytest.mark.parametrize("unit", CODECS)
def test_code_points_are_the_way_back(unit: OffsetUnit, text: str, data: st.DataObject) -> None:
    offsets = data.draw(st.lists(st.integers(0, len(text)), max_size=8))
    there = converted(text, offsets, unit)
    back = code_points(text, there.values(), unit)
    assert {offset: back[place] for offset, place in there.items()} == {o: o for o in offsets}
    with pytest.raises(ValueError, match="outside the text"):
        code_points(text, [4 * len(text) + 1], unit)


def test_no_offset_lies_within_a_character() -> None:
    with pytest.raises(ValueError, match="within a character"):
        code_points("💊x", [1], "utf16")


@pytest.mark.parametrize("unit", CODECS)
def test_entities_are_at_their_offsets(tmp_path: Path, unit: OffsetUnit) -> None:
    client = make_client(tmp_path)
    asked = {"documents": [{"text": TEXT}, {"text": "insulin"}], "offsets": unit}
    codec, width = CODECS[unit]
    whole = client.post("/v1/extract", json=asked).json()
    assert whole["offsets"] == unit
    found = whole["documents"][0]["entities"]
    assert [one["text"] for one in found] == ["metformin", "insulin", "diabetes"]
    for one in found:
        cut = TEXT.encode(codec)[one["start"] * width : one["end"] * width]
        assert cut.decode(codec) == one["text"]
    came = client.post("/v1/extract/stream", json=asked).text
    events = [json.loads(line[6:]) for line in came.splitlines() if line.startswith("data: ")]
    assert events[0]["offsets"] == unit
    assert found in [event.get("entities") for event in events]


def test_the_default_unit_is_code_points_and_the_answer_names_it(tmp_path: Path) -> None:
    client = make_client(tmp_path)
    answer = client.post("/v1/extract", json={"text": TEXT}).json()
    assert answer["offsets"] == "code_points"
    assert answer["documents"][0]["entities"][0]["start"] == 2
    wrong = client.post("/v1/extract", json={"text": TEXT, "offsets": "utf-16"})
    assert wrong.json()["error"]["details"][0]["where"] == "body.offsets"


def test_of_a_file_they_count_what_was_read(tmp_path: Path) -> None:
    app = make_app(tmp_path, ocr=True)
    client = TestClient(app, base_url="http://127.0.0.1")
    answer = client.post(
        "/v1/extract/upload",
        files=[("file", ("a.txt", TEXT.encode()))],
        data={"options": '{"offsets": "bytes"}'},
    )
    [first, *_] = answer.json()["documents"][0]["entities"]
    assert TEXT.encode()[first["start"] : first["end"]] == b"metformin"
