"""Ground mentions in the document: find the span of each mention and turn it into an entity.

A mention is searched in this order; the first method that succeeds is its grounding:

1. **exact**: the same code points, starting and ending at word boundaries (``actors.words``);
2. **normalized**: equal after folding letter case, Unicode form (NFC, NFD), compatibility forms,
   whitespace, typographic quotes, dashes and invisible characters, or after joining a word that a
   hyphen breaks at a line end; again between word boundaries;
3. **exact inside a word**: "platelet" in "antiplatelet". Never part of a number: an age of "5" is
   not in "15". Not for folded text: a stage "IV" is not in "given";
4. **fuzzy**: the most similar run of words, if it is similar enough and has the same numbers:
   "5 mg" is never found at "45 mg", however similar the two are;
5. **ungrounded**: kept with the model's text and without offsets.

Mentions keep reading order if the text has places for it: "daily" mentioned after the third drug is
the one after the third drug. A label and text mentioned three times take three successive places. A
place already covered by an entity of the same label is taken last ("pain" next to "chest pain" is
the other pain). A repeat without a further place in the document is the entity that already exists,
so it is returned once. No match ever splits a grapheme cluster.
"""

from __future__ import annotations

from actors.grounding.search import OCCURRENCE, ground, mark_further

__all__ = ["OCCURRENCE", "ground", "mark_further"]
