"""A small world rendered by code: seeded, exact, and its truth known."""
