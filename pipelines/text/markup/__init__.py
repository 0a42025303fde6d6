"""The visible text of documents that are markup: HTML, RTF, C-CDA, FHIR, HL7 v2, Word.

A model sees what a reader would see: block elements as lines, cells apart, entities decoded. The
libraries parse; ``lines`` lays out. Everything here is one walk over the document without
recursion, and no parser fetches or expands anything. ``process`` bounds the time; ``detect`` and
``lines`` need none of the libraries.
"""
