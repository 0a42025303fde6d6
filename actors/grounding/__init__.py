"""Mentions to entities: where in the document are the words that a model said?

A mention is looked for in this order, and the first that succeeds is its grounding:

1. **exact**: the very code points, beginning and ending where a word does (``actors.words``);
2. **normalized**: equal when letter case, Unicode form (NFC, NFD), compatibility forms, white
   space, typographic quotes, dashes and invisible characters are folded, or when a word that a
   hyphen breaks at a line's end is put together; again between word boundaries;
3. **exact inside a word**: "platelet" in "antiplatelet". Never a part of a number: an age of "5"
   is not in "15". Not for folded text: a stage "IV" is not in "given";
4. **fuzzy**: the most similar run of words, if similar enough and with the same numbers: "5 mg" is
   never found at "45 mg", however similar the two;
5. **ungrounded**: kept with the model's words and no offsets.

Mentions keep the order of reading where the text has places for it: "daily" said after the third
drug is the one after the third drug. Repeats: the same label and words said three times take three
successive places. A place that an entity of the same label already covers is taken last ("pain"
beside "chest pain" is the other pain), and a repeat for which the document has no further place is
the entity that is there already, so it comes out once. No match ever cuts a grapheme cluster.
"""

from __future__ import annotations

from actors.grounding.claims import check
from actors.grounding.search import OCCURRENCE, ground, mark_further

__all__ = ["OCCURRENCE", "check", "ground", "mark_further"]
