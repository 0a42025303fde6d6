"""Accuracy and speed of reading pages."""
