"""A small procedural world: clips rendered by code, with the truth about them."""
