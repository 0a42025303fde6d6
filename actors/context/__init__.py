"""Sections of a document, and the status of the entities in it, by rules over the text."""

from __future__ import annotations

from actors.context.stage import ContextStage

__all__ = ["ContextStage"]
