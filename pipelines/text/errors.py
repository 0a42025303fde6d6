"""Errors of a file or its text. Messages quote nothing of it."""

from __future__ import annotations


class BadFileError(Exception):
    """A file that cannot be read, or no longer is what was planned."""


class BadMarkupError(ValueError):
    """Markup that cannot be read, or that is beyond the limits."""
