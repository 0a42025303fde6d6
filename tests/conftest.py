"""Settings of all tests, and what many of them need."""

from __future__ import annotations

import pytest
from hypothesis import settings

# A loaded machine is slow at times; how long an example takes is no property of the code.
settings.register_profile("medspan", deadline=None)
settings.load_profile("medspan")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes go by their argument's name: archives hold the time of day, and tests that run in two
    processes must have the same names in both."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Exit codes of the process, which goes on."""
    codes: list[int] = []

    def leave(code: int) -> None:
        codes.append(code)
        raise SystemExit(code)

    monkeypatch.setattr("os._exit", leave)
    return codes
