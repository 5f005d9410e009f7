"""Sampling and editing: from a picture or a clip to a new clip."""
