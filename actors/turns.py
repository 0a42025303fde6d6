"""How much of one document a model reads before it turns to another.

Models that read documents side by side take turns of this length, a document of one turn waits for
no long one, and whoever estimates such a wait (admission, online) reckons with the same number.
"""

from __future__ import annotations

CHARACTERS_PER_TOKEN = 4
"""About; of English clinical text in the vocabularies of token classifiers."""

TURN_CHARACTERS = 4_000
TURN_TOKENS = TURN_CHARACTERS // CHARACTERS_PER_TOKEN
