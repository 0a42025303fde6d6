"""Shared by tests: fakes, small models, servers, and paths of the project."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from actors.memory import cores

ROOT = Path(__file__).resolve().parents[2]
"""The project's folder."""
FIXTURES = ROOT / "tests" / "fixtures"
SAMPLES = ROOT / "configs" / "samples"
PATHS = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
"""PYTHONPATH of processes that import the project and this package."""
TWO_CORES = pytest.mark.skipif(cores() < 2, reason="actors of two models need two cores")
