"""The hunt for poison: it ends, finds exactly the culprits, and accidents make none."""

from __future__ import annotations

import asyncio
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.batch.bisection import CrashBisection
from pipelines.batch.shared_gate import SharedGate

MOST = 2


def _process(
    state: bytes, bad: set[int], accident: bool, dice: random.Random
) -> tuple[bytes, bool]:
    """One process over a unit: what it left in storage, and whether it ended the unit."""
    hunt = CrashBisection.from_json(state)
    hunt.begin(MOST)
    if not hunt.bisecting:
        rows = {row for low, high in hunt.groups for row in range(low, high)}
        return hunt.as_json(), not (rows & bad) and not accident
    groups = hunt.order()
    fatal = dice.randrange(len(groups)) if accident and groups else -1
    for number, (low, high) in enumerate(groups):
        hunt.running = (low, high)
        state = hunt.as_json()
        if bad & set(range(low, high)) or number == fatal:
            return state, False
    hunt.running = None
    return hunt.as_json(), True


@settings(max_examples=200)
@given(st.integers(1, 600), st.sets(st.integers(0, 599), max_size=4), st.integers(0, 2**16))
def test_exactly_the_culprits_are_set_aside(rows: int, bad: set[int], seed: int) -> None:
    bad = {row for row in bad if row < rows}
    state, ended, processes = CrashBisection.of(rows).as_json(), False, 0
    while not ended:
        state, ended = _process(state, bad, False, random.Random(seed))
        processes += 1
    assert set(CrashBisection.from_json(state).poison) == bad
    # two whole tries, three cuts of eight from 600 to 1 (four where sizes are uneven), two strikes
    assert processes <= 3 + len(bad) * (4 + MOST)


@settings(max_examples=100)
@given(st.integers(1, 600), st.integers(1, 8), st.integers(0, 2**16))
def test_accidents_cost_time_and_no_document(rows: int, accidents: int, seed: int) -> None:
    dice = random.Random(seed)
    state, ended = CrashBisection.of(rows).as_json(), False
    for number in range(100):
        state, ended = _process(state, set(), number < accidents and rows > 8, dice)
        if ended:
            break
    hunt = CrashBisection.from_json(state)
    covered = sorted(row for low, high in hunt.groups for row in range(low, high))
    assert ended
    assert sorted(covered + hunt.poison) == list(range(rows))
    assert all(hunt.strikes[row] >= MOST for row in hunt.poison)


def test_alone_means_alone() -> None:
    async def scene() -> list[str]:
        gate, seen, inside = SharedGate(), list[str](), set[str]()

        async def passing(name: str, alone: bool) -> None:
            async with gate.exclusive() if alone else gate.shared():
                inside.add(name)
                seen.append(",".join(sorted(inside)))
                await asyncio.sleep(0.01)
                inside.discard(name)

        names = [("a", False), ("b", False), ("X", True), ("c", False), ("Y", True)]
        await asyncio.gather(*(passing(name, alone) for name, alone in names))
        return seen

    seen = asyncio.run(scene())
    assert "a,b" in seen
    assert all("," not in inside for inside in seen if "X" in inside or "Y" in inside)
