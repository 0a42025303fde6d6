"""Settings of all tests, and what many of them need."""

from __future__ import annotations

import pytest
from hypothesis import settings

# A loaded machine is slow at times; how long an example takes is no property of the code.
settings.register_profile("medspan", deadline=None)
settings.load_profile("medspan")


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Exit codes of the process, which goes on."""
    codes: list[int] = []

    def leave(code: int) -> None:
        codes.append(code)
        raise SystemExit(code)

    monkeypatch.setattr("os._exit", leave)
    return codes
