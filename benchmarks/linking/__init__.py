"""How well and how fast entities are linked to codes."""
