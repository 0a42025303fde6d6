"""Enrichment: only what is new, changed, stale or failed since the latest commit.

``decide`` compares a listing with what is live in the sink, ``passes`` does what was decided,
``schedule`` does it again and again.
"""

from __future__ import annotations

from pipelines.enrich.decide import Decision, decide, decide_retry
from pipelines.enrich.passes import Pass, enrich_once

__all__ = ["Decision", "Pass", "decide", "decide_retry", "enrich_once"]
