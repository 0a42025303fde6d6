"""Scores and speed of status and relations on corpora, beside rule-based peers."""
