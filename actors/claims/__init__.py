"""Fact-check free-text answers: extract verifiable claims and ground each in the document.

Claims are found by form, without a model: drugs, doses, frequencies, durations, quantities, dates,
names (capitalised words inside a sentence) and words in a script the document does not use. A dose,
frequency or duration that the answer states of a drug is grounded only where the document states it
of that drug; which belongs to which is decided by the rules of ``actors.relations``, on both sides
alike.

Importing this package needs pyarrow, which reads the vocabulary of drug names (extra ``lake``).

Nothing is matched by similarity: prednisone is another drug than prednisolone, so similar words are
only reported.
"""

from __future__ import annotations

from actors.claims.check import check

__all__ = ["check"]
