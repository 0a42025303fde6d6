"""Tables and lists of a markdown answer as rows."""

from __future__ import annotations

import json

import pytest

from actors.prompts.markdown import rows_of

ANSWER = """# Summary

2. Medication and reasoning
---------------------------------------------
| Medication      | Dosage     | Reason        |
| :-------------- | :--------- | :------------ |
| **Metformin**   | 500 mg BID | Diabetes      |
| Aspirin \\| ASA  |            | Heart attack  |
---------------------------------------------

Follow-up:
* Check HbA1c
  - in 3 months
* Stop if `eGFR` < 30
"""


def test_tables_and_lists_are_rows() -> None:
    found = json.loads(rows_of(ANSWER) or "")
    [table] = found["tables"]
    assert table["under"] == "Medication and reasoning"
    assert table["rows"] == [
        {"Medication": "Metformin", "Dosage": "500 mg BID", "Reason": "Diabetes"},
        {"Medication": "Aspirin | ASA", "Dosage": "", "Reason": "Heart attack"},
    ]
    listed = {one["under"]: one["items"] for one in found["lists"]}
    assert listed["Follow-up:"] == ["Check HbA1c", "Stop if eGFR < 30"]
    assert listed["Check HbA1c"] == ["in 3 months"]


def test_rows_keep_their_cells_whatever_the_header() -> None:
    [table] = json.loads(rows_of("| A | A | |\n|---|---|---|\n| 1 | 2 | 3 | 4 |\n| 5 |") or "")[
        "tables"
    ]
    assert table["rows"] == [
        {"A": "1", "A 2": "2", "column 3": "3"},
        {"A": "5", "A 2": "", "column 3": ""},
    ]


@pytest.mark.parametrize("answer", ["", "Prose alone.", "a | b", "# heading", "<b>*", "|"])
def test_without_either_there_is_nothing(answer: str) -> None:
    assert rows_of(answer) is None
