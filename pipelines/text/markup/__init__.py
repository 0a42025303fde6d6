"""The visible text of documents that are markup: HTML, RTF, C-CDA, FHIR, HL7 v2.

A model sees what a reader would see: block elements as lines, cells apart, entities decoded. The
libraries parse; ``lines`` lays out. Everything here is one walk over the document without
recursion, and no parser fetches or expands anything.
"""

from __future__ import annotations

from pipelines.text.markup.kinds import Markup, kind_of
from pipelines.text.markup.lines import Visible
from pipelines.text.markup.process import visible_text

__all__ = ["Markup", "Visible", "kind_of", "visible_text"]
