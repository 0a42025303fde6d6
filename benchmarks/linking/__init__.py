"""Accuracy and speed of linking entities to codes."""
