"""Text with marked spans, drawn: the reader page of report and evaluate, and its colours.

Imports nothing here: the terminal needs colours and layers, and should not wait for a template
engine.
"""
