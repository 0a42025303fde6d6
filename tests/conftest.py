"""Settings of all tests."""

from __future__ import annotations

from hypothesis import settings

# A loaded machine is slow at times; how long an example takes is no property of the code.
settings.register_profile("medspan", deadline=None)
settings.load_profile("medspan")
