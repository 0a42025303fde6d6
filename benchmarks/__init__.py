"""Measurements against peers; each script prints one JSON document as its last line."""
