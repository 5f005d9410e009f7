"""Training: one loop, and a module for each method."""
