"""Rendering of texts with marked spans: the HTML reader of report and evaluate, and colours.

Imports nothing here: the terminal needs only colours and layers, and should not load a template
engine.
"""
