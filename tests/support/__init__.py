"""What several tests share: fakes, small models, servers, and where the project is."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The project's folder."""
FIXTURES = ROOT / "tests" / "fixtures"
SAMPLES = ROOT / "configs" / "samples"
