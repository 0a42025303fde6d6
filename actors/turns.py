"""The size of a round-robin turn: how much of one document a model processes before the next.

Models that process documents concurrently alternate in turns of this size, so a one-turn document
never waits for a whole long one. Anything that estimates such a wait (online admission) uses the
same number.
"""

from __future__ import annotations

CHARACTERS_PER_TOKEN = 4
"""Approximate, for English clinical text in the vocabularies of token classifiers."""

TURN_CHARACTERS = 4_000
TURN_TOKENS = TURN_CHARACTERS // CHARACTERS_PER_TOKEN
