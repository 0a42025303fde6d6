"""Formats of other tools, out and in: one module per format, one protocol for all exporters."""
