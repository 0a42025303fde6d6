"""The status of an entity by a sequence classifier, in place of rules."""

from __future__ import annotations

from actors.assertion.assertion_classifier import AssertionModel

__all__ = ["AssertionModel"]
